"""The backward kernels: dQ over the keys of a tile of queries, dK and dV over the queries of keys.

With P = exp(S - lse) recomputed and dP = dO V^T, both from products of 16-bit operands,

    dS = P (dP - delta),    dQ = scale dS K,    dK = scale dS^T Q,    dV = P^T dO

The second kernel computes the transposes S^T = K Q^T and dP^T = V dO^T, so rows are keys in it and
the interval of a row is the inverse window; it runs over the query heads of its head, one after
another, and adds in registers: nothing is atomic and the order of sums is fixed. P and dS are
rounded to 16 bits as operands. The mask acts on the columns of the first kernel; in the second a
masked key is a row of its own, which the caller clears.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.neighborhood_attention import mosaic_gpu_stages as st
from kernels_pallas.neighborhood_attention.mosaic_gpu_forward import LOG2_E
from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import BLOCK, Problem, Tables


def dq_scratch(problem: Problem, has_mask: bool) -> dict[str, Any]:
    """Shared memory and barriers of the dQ kernel."""
    static, (_, warpgroups, stages) = problem.static, problem.plan
    d, dv, dtype = static.head_dim, static.value_dim, static.dtype
    numbers = plgpu.SMEM((warpgroups, BLOCK), jnp.float32)
    found = {
        "q": st.tiled((warpgroups,), BLOCK, d, dtype, d),
        "do": st.tiled((warpgroups,), BLOCK, dv, dtype, dv),
        "ds": st.tiled((warpgroups,), BLOCK, BLOCK, dtype, d),
        "lse": numbers,
        "delta": numbers,
        "k": st.tiled((stages,), BLOCK, d, dtype, d),
        "v": st.tiled((stages,), BLOCK, dv, dtype, dv),
        "rows_ready": plgpu.Barrier(num_arrivals=2 * problem.runs + 2, num_barriers=warpgroups),
        "ready": plgpu.Barrier(num_arrivals=2 * problem.runs + has_mask, num_barriers=stages),
    }
    if has_mask:
        found["mask"] = plgpu.SMEM((stages, BLOCK), jnp.float32)
    return found | _consumed(problem)


def dq(problem: Problem, tables: Tables, arrays: dict[str, Array], mask: Array | None) -> Array:
    """dQ, in the form of `mosaic_gpu_arrays.rows` as are q, k, v and do of `arrays`.

    Its lse (in base 2, +inf where no key is attended) and delta, and `mask`, are in that of
    `spread`.
    """
    static = problem.static
    heads, kv_heads, d = static.heads, static.kv_heads, static.head_dim
    operands = {**arrays, **tables._asdict()}
    if mask is not None:
        operands["mask"] = mask

    def body(*refs, **smem):
        gmem = dict(zip([*operands, "dq"], refs, strict=True))
        at = st.here(problem, gmem["boxes"])
        kv_head = lax.div(at.head, jnp.int32(heads // kv_heads))
        own = ("q", "do", "ds", "lse", "delta", "rows_ready")
        mine = {name: smem[name].at[at.warpgroup] for name in own}
        ready = mine["rows_ready"]
        for name in ("q", "do"):
            st.fetch(problem, at, at.rows, gmem[name], mine[name], at.head, heads, ready)
        for name in ("lse", "delta"):
            st.fetch_numbers(problem, at, at.rows, gmem[name], mine[name], at.head, ready)

        def start(index, slot):
            block, ready = st.block_at(problem, at, index), smem["ready"].at[slot]
            for name in ("k", "v"):
                target = smem[name].at[slot]
                st.fetch(problem, at, block, gmem[name], target, kv_head, kv_heads, ready)
            if mask is not None:
                source, target = gmem["mask"], smem["mask"].at[slot]
                st.fetch_numbers(problem, at, block, source, target, jnp.int32(0), ready)

        def accumulate(total):
            def step(index, slot, refill, carry):
                block = st.block_at(problem, at, index)
                k, v = smem["k"].at[slot], smem["v"].at[slot]
                plgpu.barrier_wait(smem["ready"].at[slot])
                (s,) = st.products(BLOCK, (mine["q"], st.turned(k)))
                s = s * (static.scale * LOG2_E)
                if mask is not None:
                    s = s + st.across(st.load(smem["mask"].at[slot], st.COLUMNS))
                s = st.masked(problem, at, gmem, block, s)
                p = jnp.exp2(s - st.down(lse_rows))
                (dp,) = st.products(BLOCK, (mine["do"], st.turned(v)))
                ds = p * (dp - st.down(delta_rows))
                mine["ds"][...] = ds.astype(static.dtype)
                plgpu.commit_smem()
                refill()
                plgpu.wgmma(total, mine["ds"], k)
                plgpu.wgmma_wait(0)
                return carry

            st.stream(problem, at, at.total, start, step, smem.get("consumed"), ())
            return total[...]

        plgpu.barrier_wait(ready)
        lse_rows, delta_rows = (st.load(mine[name], st.ROWS) for name in ("lse", "delta"))
        found = pl.run_scoped(accumulate, plgpu.ACC((BLOCK, d), jnp.float32))
        mine["q"][...] = (found * static.scale).astype(static.dtype)
        plgpu.commit_smem()
        st.send(problem, at, at.rows, mine["q"], gmem["dq"], at.head, heads)
        plgpu.wait_smem_to_gmem(0)

    return st.launch(
        problem,
        body,
        out_type=st.shape(arrays["q"].shape, static.dtype),
        scratch=dq_scratch(problem, mask is not None),
        heads=heads,
    )(*operands.values())


def dkv_scratch(problem: Problem) -> dict[str, Any]:
    """Shared memory and barriers of the dK and dV kernel."""
    static, (_, warpgroups, stages) = problem.static, problem.plan
    d, dv, dtype = static.head_dim, static.value_dim, static.dtype
    numbers = plgpu.SMEM((stages, BLOCK), jnp.float32)
    found = {
        "k": st.tiled((warpgroups,), BLOCK, d, dtype, d),
        "v": st.tiled((warpgroups,), BLOCK, dv, dtype, dv),
        "p": st.tiled((warpgroups,), BLOCK, BLOCK, dtype, dv),
        "q": st.tiled((stages,), BLOCK, d, dtype, d),
        "do": st.tiled((stages,), BLOCK, dv, dtype, dv),
        "lse": numbers,
        "delta": numbers,
        "rows_ready": plgpu.Barrier(num_arrivals=2 * problem.runs, num_barriers=warpgroups),
        "ready": plgpu.Barrier(num_arrivals=2 * problem.runs + 2, num_barriers=stages),
    }
    if dv != d:  # dS goes where P was when both have the swizzle of their other operand
        found["ds"] = st.tiled((warpgroups,), BLOCK, BLOCK, dtype, d)
    return found | _consumed(problem)


def dkv(problem: Problem, tables: Tables, arrays: dict[str, Array]) -> tuple[Array, Array]:
    """(dK, dV) for a problem with inverse intervals; arguments as `dq`."""
    static = problem.static
    heads, kv_heads, d, dv = static.heads, static.kv_heads, static.head_dim, static.value_dim
    sharing = heads // kv_heads
    operands = {**arrays, **tables._asdict()}

    def body(*refs, **smem):
        gmem = dict(zip([*operands, "dk", "dv"], refs, strict=True))
        at = st.here(problem, gmem["boxes"])
        own = ("k", "v", "p", "ds", "rows_ready")
        mine = {name: smem[name].at[at.warpgroup] for name in own if name in smem}
        ds_smem = mine.get("ds", mine["p"])
        for name in ("k", "v"):
            source, ready = gmem[name], mine["rows_ready"]
            st.fetch(problem, at, at.rows, source, mine[name], at.head, kv_heads, ready)

        def start(index, slot):
            head = at.head * sharing + lax.div(index, at.total)
            block = st.block_at(problem, at, lax.rem(index, at.total))
            ready = smem["ready"].at[slot]
            for name in ("q", "do"):
                target = smem[name].at[slot]
                st.fetch(problem, at, block, gmem[name], target, head, heads, ready)
            for name in ("lse", "delta"):
                target = smem[name].at[slot]
                st.fetch_numbers(problem, at, block, gmem[name], target, head, ready)

        def accumulate(total_k, total_v):
            def step(index, slot, refill, carry):
                block = st.block_at(problem, at, lax.rem(index, at.total))
                q, do = smem["q"].at[slot], smem["do"].at[slot]
                plgpu.barrier_wait(smem["ready"].at[slot])
                (s,) = st.products(BLOCK, (mine["k"], st.turned(q)))
                s = st.masked(problem, at, gmem, block, s * (static.scale * LOG2_E))
                p = jnp.exp2(s - st.across(st.load(smem["lse"].at[slot], st.COLUMNS)))
                mine["p"][...] = p.astype(static.dtype)
                plgpu.commit_smem()
                refill()
                plgpu.wgmma(total_v, mine["p"], do)
                (dp,) = st.products(BLOCK, (mine["v"], st.turned(do)))
                ds = p * (dp - st.across(st.load(smem["delta"].at[slot], st.COLUMNS)))
                ds_smem[...] = ds.astype(static.dtype)
                plgpu.commit_smem()
                plgpu.wgmma(total_k, ds_smem, q)
                plgpu.wgmma_wait(0)
                return carry

            steps = at.total * sharing
            st.stream(problem, at, steps, start, step, smem.get("consumed"), ())
            return total_k[...], total_v[...]

        plgpu.barrier_wait(mine["rows_ready"])
        accumulators = (plgpu.ACC((BLOCK, size), jnp.float32) for size in (d, dv))
        found_k, found_v = pl.run_scoped(accumulate, *accumulators)
        mine["k"][...] = (found_k * static.scale).astype(static.dtype)
        mine["v"][...] = found_v.astype(static.dtype)
        plgpu.commit_smem()
        st.send(problem, at, at.rows, mine["k"], gmem["dk"], at.head, kv_heads)
        st.send(problem, at, at.rows, mine["v"], gmem["dv"], at.head, kv_heads)
        plgpu.wait_smem_to_gmem(0)

    out_type = [st.shape(arrays[name].shape, static.dtype) for name in ("k", "v")]
    dk, dv_ = st.launch(
        problem, body, out_type=out_type, scratch=dkv_scratch(problem), heads=kv_heads
    )(*operands.values())
    return dk, dv_


def _consumed(problem: Problem) -> dict[str, Any]:
    warpgroups, stages = problem.plan.warpgroups, problem.plan.stages
    if warpgroups == 1:
        return {}
    return {"consumed": plgpu.Barrier(num_arrivals=warpgroups, num_barriers=stages)}


__all__ = ["dkv", "dkv_scratch", "dq", "dq_scratch"]
