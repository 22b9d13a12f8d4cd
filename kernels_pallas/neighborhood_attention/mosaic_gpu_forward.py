"""The forward kernel: online softmax over the blocks of the box of a tile of queries.

For each block of 64 keys: S = scale log2(e) Q K^T, masked where the block is not inside every
window; m' = max(m, rowmax S); P = 2^(S - m'); O = 2^(m - m') O + P V, P rounded into shared memory
as the operand of a product. m begins at a finite number below every score, so a row that has seen
no key yet multiplies zeros and never makes a NaN.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.neighborhood_attention import mosaic_gpu_stages as st
from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import BLOCK, Problem, Tables

LOG2_E = math.log2(math.e)
LOWEST = -1e30  # below every score of a real key


def scratch(problem: Problem, has_mask: bool) -> dict[str, Any]:
    """Shared memory and barriers."""
    static, (_, warpgroups, stages) = problem.static, problem.plan
    d, dv, dtype = static.head_dim, static.value_dim, static.dtype
    found = {
        "q": st.tiled((warpgroups,), BLOCK, d, dtype, d),
        "k": st.tiled((stages,), BLOCK, d, dtype, d),
        "v": st.tiled((stages,), BLOCK, dv, dtype, dv),
        "p": st.tiled((warpgroups,), BLOCK, BLOCK, dtype, dv),
        "q_ready": plgpu.Barrier(num_arrivals=problem.runs, num_barriers=warpgroups),
        "k_ready": plgpu.Barrier(num_arrivals=problem.runs + has_mask, num_barriers=stages),
        "v_ready": plgpu.Barrier(num_arrivals=problem.runs, num_barriers=stages),
    }
    if dv != d:  # the result goes where q was when it fits
        found["o"] = st.tiled((warpgroups,), BLOCK, dv, dtype, dv)
    if has_mask:
        found["mask"] = plgpu.SMEM((stages, BLOCK), jnp.float32)
    if warpgroups > 1:
        found["consumed"] = plgpu.Barrier(num_arrivals=warpgroups, num_barriers=stages)
    return found


def forward(
    problem: Problem, tables: Tables, q: Array, k: Array, v: Array, mask: Array | None
) -> tuple[Array, Array]:
    """(o, lse): o in the form of `mosaic_gpu_arrays.rows`, lse by tiles, natural log.

    `q`, `k` and `v` are in the form of `rows`; `mask` is 0 or -inf in that of `spread`.
    """
    static, warpgroups = problem.static, problem.plan.warpgroups
    heads, kv_heads = static.heads, static.kv_heads
    operands = {"q": q, "k": k, "v": v, **tables._asdict()}
    if mask is not None:
        operands["mask"] = mask

    def body(*refs, **smem):
        gmem = dict(zip([*operands, "o", "lse"], refs, strict=True))
        at = st.here(problem, gmem["boxes"])
        kv_head = lax.div(at.head, jnp.int32(heads // kv_heads))
        own = ("q", "o", "p", "q_ready")
        mine = {name: smem[name].at[at.warpgroup] for name in own if name in smem}
        result = mine.get("o", mine["q"])
        st.fetch(problem, at, at.rows, gmem["q"], mine["q"], at.head, heads, mine["q_ready"])

        def start(index, slot):
            block = st.block_at(problem, at, index)
            ready = smem["k_ready"].at[slot]
            st.fetch(problem, at, block, gmem["k"], smem["k"].at[slot], kv_head, kv_heads, ready)
            if mask is not None:
                source, target = gmem["mask"], smem["mask"].at[slot]
                st.fetch_numbers(problem, at, block, source, target, jnp.int32(0), ready)
            ready = smem["v_ready"].at[slot]
            st.fetch(problem, at, block, gmem["v"], smem["v"].at[slot], kv_head, kv_heads, ready)

        def step(index, slot, refill, carry):
            total, m, mass = carry
            block = st.block_at(problem, at, index)
            plgpu.barrier_wait(smem["k_ready"].at[slot])
            (s,) = st.products(BLOCK, (mine["q"], st.turned(smem["k"].at[slot])))
            s = s * (static.scale * LOG2_E)
            if mask is not None:
                s = s + st.across(st.load(smem["mask"].at[slot], st.COLUMNS))
            s = st.masked(problem, at, gmem, block, s)
            higher = jnp.maximum(m, s.max(axis=1))
            shrink = jnp.exp2(m - higher)
            p = jnp.exp2(s - st.down(higher))
            mass = mass * shrink + p.sum(axis=1)
            mine["p"][...] = p.astype(static.dtype)
            plgpu.commit_smem()
            refill()
            plgpu.barrier_wait(smem["v_ready"].at[slot])
            (pv,) = st.products(static.value_dim, (mine["p"], smem["v"].at[slot]))
            total = total * st.down(shrink, static.value_dim) + pv
            return total, higher, mass

        plgpu.barrier_wait(mine["q_ready"])
        total, m, mass = st.stream(
            *(problem, at, at.total, start, step, smem.get("consumed")),
            (
                st.filled((BLOCK, static.value_dim), 0.0, plgpu.Layout.WGMMA),
                st.filled((BLOCK,), LOWEST, st.ROWS),
                st.filled((BLOCK,), 0.0, st.ROWS),
            ),
        )
        some = mass > 0.0
        safe = jnp.where(some, mass, 1.0)
        result[...] = (total * st.down(1.0 / safe, static.value_dim)).astype(static.dtype)
        plgpu.commit_smem()
        st.send(problem, at, at.rows, result, gmem["o"], at.head, heads)
        natural = jnp.where(some, m * math.log(2.0) + jnp.log(safe), -jnp.inf)
        st.store(gmem["lse"].at[at.group, at.head, at.tile, at.warpgroup], natural)
        plgpu.wait_smem_to_gmem(0)

    groups, tiles = static.batch * problem.groups, math.prod(problem.tiles)
    out_type = [
        st.shape((*q.shape[:-1], static.value_dim), static.dtype),
        st.shape((groups, heads, tiles, warpgroups, BLOCK), jnp.float32),
    ]
    o, lse = st.launch(
        problem,
        body,
        out_type=out_type,
        scratch=scratch(problem, mask is not None),
        heads=heads,
    )(*operands.values())
    return o, lse


__all__ = ["forward", "scratch"]
