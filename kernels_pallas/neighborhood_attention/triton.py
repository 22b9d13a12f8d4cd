"""Neighborhood attention for NVIDIA GPUs through Pallas and Triton.

Why it exists: a query attends a box of keys, so a dense flash attention would compute, and skip
the result of, tokens / box times too many scores, and plain jnp code gathers each box to memory.
Here a tile of queries reads the keys of its box once and nothing else leaves the program.

Algorithm: flash attention over a box. A program holds 64 or 128 queries, a box of places of one
dilation group, and walks over the keys that any of them attends in chunks of a box shape. Rows are
addressed one by one, straight in the public layout (a row of head_dim values is contiguous there),
so dilation, ragged tiles and any head size cost no copy, and the first chunk begins at the first
key that is needed. An unaligned chunk costs the same as an aligned one, which makes this the better
of the two regimes at every window: it never visits more chunks than aligned tiles would, and
permuted tokens would only add passes over memory. Chunks that every held query attends whole skip
the mask. Backward: the same walk once more for dQ, and one over the queries that attend a tile of
keys, through all query heads of the kv head, for dK and dV: no atomics, so the result is the same
each time. Tile shapes are those with the least waste (waste.py).

Numerics: 16-bit operands are multiplied on tensor cores and summed in float32; P and dS are rounded
to the 16-bit dtype before their products; the softmax is float32, base 2. float32 is multiplied as
three TF32 products on tensor cores, which keeps about float32's accuracy (in interpret mode as IEEE
float32: no CPU has the former).

Limits: no bias, no float64, arrays below 2^31 values, heads up to 256 values (float32: 128, for
want of shared memory). JAX deprecates its Triton lowering from 0.11 on and warns at each lowering;
when it goes, this file goes.

Verified in interpret mode on CPU and by lowering for CUDA; the lowered kernels were also compiled
with Triton 3.5 and its assembler for sm_90 (wgmma and asynchronous copies wherever a tile has 64
rows), which is where the remarks on registers come from. Nothing has been run or timed on a device.
"""

from __future__ import annotations

from functools import partial
from math import log2, prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.lax import DotAlgorithmPreset, Precision

from kernels_pallas.neighborhood_attention import kernel, walk, windows
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.triton_rows import (
    Plan,
    Program,
    Rows,
    chunk_of,
    load,
    load_numbers,
    lost_keys,
    masked,
    program_of,
    store,
    store_numbers,
    width,
)

LARGEST_HEAD = {"float32": 128, "bfloat16": 256, "float16": 256}  # by shared memory
LOG2_E = log2(2.718281828459045)
LN_2 = 1 / LOG2_E


def default_plan(static: Static, backward: bool = False) -> Plan:
    """Shapes by least waste; rows and warps by what the assembler says of registers.

    No device has timed it. For sm_90 nothing is spilled with 16-bit heads up to 128, and 148 bytes
    in the dK and dV kernel at 256; in float32 up to 80 bytes at 64 and a kilobyte at 128.
    """
    axes, size = windows.axes_of(static), width(max(static.head_dim, static.value_dim))
    if static.dtype == "float32":
        held, walked, warps = 64, 32, 4 if size <= 64 else 8
    elif size <= 128:
        held, walked, warps = 64 if backward else 128, 64, 4 if backward and size <= 64 else 8
    else:
        held, walked, warps = 64, 32, 8
    tokens = (walk.tokens_at_most(axes, most) for most in (held, walked))
    tiles = walk.best(axes, *tokens, aligned=(False,) * len(axes))
    return Plan(*tiles, warps if prod(tiles[0]) >= 64 else 4)


def unsupported(call: Any) -> str | None:
    """Why this backend cannot serve a call, None when it can."""
    reason = kernel.unsupported(call)
    if reason is not None:
        return reason
    most = LARGEST_HEAD[call.dtype]
    for name, size in (("head_dim", call.head_dim), ("value_dim", call.value_dim)):
        if size > most:
            return f"{name} is {size}; this kernel takes at most {most} in {call.dtype}"
    values = call.batch * prod(call.space) * call.heads * max(call.head_dim, call.value_dim)
    if values >= 1 << 31:
        return f"an operand has {values} values; offsets are 32-bit, so below 2^31"
    return None


def forward(
    call, q, k, v, additional_keys, additional_values, mask, bias, *, interpret: bool = False
) -> tuple[Array, Array]:
    """(out, lse); arguments as `neighborhood_attention`, already checked."""
    assert bias is None
    return kernel.run(
        attend, adjoint, call, q, k, v, additional_keys, additional_values, mask,
        interpret=interpret,
    )  # fmt: skip


def attend(
    static: Static, q: Array, k: Array, v: Array, mask: Array | None, *, plan: Plan | None = None
) -> tuple[Array, Array]:
    """(o, lse) of kernel.py."""
    plan = plan or default_plan(static)
    out = {
        "o": jax.ShapeDtypeStruct((*q.shape[:-1], static.value_dim), q.dtype),
        "lse": jax.ShapeDtypeStruct(q.shape[:-1], jnp.float32),
    }
    body = partial(_attend_kernel, static, plan)
    made = _call(body, static, plan, static.heads, _operands(q, k, v, mask), out)
    return made["o"], made["lse"]


def adjoint(
    static: Static,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    lse: Array,
    delta: Array,
    do: Array,
    *,
    plan: Plan | None = None,
) -> tuple[Array, Array, Array]:
    """(dq, dk, dv) of kernel.py, in two kernels."""
    plan = plan or default_plan(static, backward=True)
    operands = _operands(q, k, v, mask) | {"lse": lse, "delta": delta, "do": do}
    of_queries = {"dq": jax.ShapeDtypeStruct(q.shape, q.dtype)}
    of_keys = {
        "dk": jax.ShapeDtypeStruct(k.shape, k.dtype),
        "dv": jax.ShapeDtypeStruct(v.shape, v.dtype),
    }
    body = partial(_dq_kernel, static, plan)
    slopes = _call(body, static, plan, static.heads, operands, of_queries)
    body = partial(_dkv_kernel, static, plan)
    slopes |= _call(body, static, plan, static.kv_heads, operands, of_keys)
    return slopes["dq"], slopes["dk"], slopes["dv"]


def _operands(q: Array, k: Array, v: Array, mask: Array | None) -> dict[str, Array]:
    operands = {"q": q, "k": k, "v": v}
    return operands if mask is None else operands | {"mask": mask.astype(jnp.int8)}


def _call(body, static: Static, plan: Plan, heads: int, operands: dict, out: dict) -> dict:
    """One program a held tile, dilation group, head and batch entry; tiles fastest.

    Every operand is whole in memory, its space axes as one.
    """
    axes = windows.axes_of(static)
    tokens, before = prod(static.space), len(static.space)
    walk.check_tile("plan.held", plan.held, before)
    walk.check_tile("plan.walked", plan.walked, before)

    def flat(a: Array) -> Array:
        return a.reshape(a.shape[0], tokens, *a.shape[1 + before :])

    shapes = {
        name: jax.ShapeDtypeStruct((s.shape[0], tokens, *s.shape[1 + before :]), s.dtype)
        for name, s in out.items()
    }
    programs = prod(walk.tile_counts(axes, plan.held)) * prod(static.dilation)
    made = pl.pallas_call(
        body,
        out_shape=shapes,
        grid=(programs * heads * static.batch,),
        compiler_params=plgpu.CompilerParams(num_warps=plan.warps, num_stages=plan.stages),
        interpret=static.interpret,
        name="neighborhood_attention",
    )({name: flat(a) for name, a in operands.items()})
    return {name: a.reshape(out[name].shape) for name, a in made.items()}


def _dot(static: Static, a: Array, b: Array, *, trans_b: bool = False) -> Array:
    precision = None
    if static.dtype == "float32":
        ieee = Precision.HIGHEST  # in place of three TF32 products, which no CPU has
        precision = ieee if static.interpret else DotAlgorithmPreset.TF32_TF32_F32_X3
    dimensions = (((1,), (int(trans_b),)), ((), ()))
    return lax.dot_general(a, b, dimensions, precision, preferred_element_type=jnp.float32)


def _base_2(lse: Array) -> Array:
    """log-sum-exp in base 2; +inf for a query with no key, whose probabilities are then 0."""
    return jnp.where(lse == -jnp.inf, jnp.inf, lse * LOG2_E)


def _kv_head(static: Static, head: Any) -> Any:
    return lax.div(head, jnp.int32(static.heads // static.kv_heads))


def _loop(chunks: Any, step, start):
    return lax.fori_loop(jnp.int32(0), chunks, step, start)


def _attend_kernel(static: Static, plan: Plan, operands: dict, out: dict) -> None:
    program = program_of(static, plan, static.heads, inverse=False)
    held = program.batch, program.rows, program.head
    kv_head = _kv_head(static, program.head)
    q = load(operands["q"], *held)

    def step(i, carry):
        o, total, top = carry
        chunk = chunk_of(program, i)
        k = load(operands["k"], program.batch, chunk.rows, kv_head)
        s = _dot(static, q, k, trans_b=True) * (static.scale * LOG2_E)
        s = masked(program, chunk, s, _lost_columns(operands, program, chunk.rows))
        new_top = jnp.maximum(top, s.max(1))
        shift = jnp.where(new_top == -jnp.inf, 0.0, new_top)
        p = jnp.exp2(s - shift[:, None])
        fade = jnp.exp2(top - shift)
        v = load(operands["v"], program.batch, chunk.rows, kv_head)
        o = o * fade[:, None] + _dot(static, p.astype(v.dtype), v)
        return o, total * fade + p.sum(1), new_top

    rows = prod(plan.held)
    start = (
        jnp.zeros((rows, width(static.value_dim)), jnp.float32),
        jnp.zeros((rows,), jnp.float32),
        jnp.full((rows,), -jnp.inf, jnp.float32),
    )
    o, total, top = _loop(program.chunks, step, start)
    some = total > 0
    total = jnp.where(some, total, 1.0)
    store(out["o"], *held, o / total[:, None])
    store_numbers(out["lse"], *held, jnp.where(some, top * LN_2 + jnp.log(total), -jnp.inf))


def _dq_kernel(static: Static, plan: Plan, operands: dict, out: dict) -> None:
    program = program_of(static, plan, static.heads, inverse=False)
    held = program.batch, program.rows, program.head
    kv_head = _kv_head(static, program.head)
    q, do = load(operands["q"], *held), load(operands["do"], *held)
    lse = _base_2(load_numbers(operands["lse"], *held, 0.0))[:, None]
    delta = load_numbers(operands["delta"], *held, 0.0)[:, None]

    def step(i, dq):
        chunk = chunk_of(program, i)
        walked = program.batch, chunk.rows, kv_head
        k, v = load(operands["k"], *walked), load(operands["v"], *walked)
        s = _dot(static, q, k, trans_b=True) * (static.scale * LOG2_E)
        s = masked(program, chunk, s, _lost_columns(operands, program, chunk.rows))
        p = jnp.exp2(s - lse)
        ds = p * (_dot(static, do, v, trans_b=True) - delta)
        return dq + _dot(static, ds.astype(k.dtype), k)

    start = jnp.zeros((prod(plan.held), width(static.head_dim)), jnp.float32)
    store(out["dq"], *held, _loop(program.chunks, step, start) * static.scale)


def _lost_columns(operands: dict, program: Program, rows: Rows) -> Array | None:
    lost = lost_keys(operands.get("mask"), program.batch, rows)
    return None if lost is None else lost[None, :]


def _dkv_kernel(static: Static, plan: Plan, operands: dict, out: dict) -> None:
    program = program_of(static, plan, static.kv_heads, inverse=True)
    held = program.batch, program.rows, program.head
    heads = static.heads // static.kv_heads
    k, v = load(operands["k"], *held), load(operands["v"], *held)
    lost = lost_keys(operands.get("mask"), program.batch, program.rows)
    lost = None if lost is None else lost[:, None]
    chunks = jnp.maximum(program.chunks, 1)

    def step(i, carry):
        dk, dv = carry
        chunk = chunk_of(program, lax.rem(i, chunks))
        walked = program.batch, chunk.rows, program.head * heads + lax.div(i, chunks)
        q, do = load(operands["q"], *walked), load(operands["do"], *walked)
        lse = _base_2(load_numbers(operands["lse"], *walked, jnp.inf))[None, :]
        delta = load_numbers(operands["delta"], *walked, 0.0)[None, :]
        s = _dot(static, k, q, trans_b=True) * (static.scale * LOG2_E)
        s = masked(program, chunk, s, lost)
        p = jnp.exp2(s - lse)
        dv = dv + _dot(static, p.astype(do.dtype), do)
        ds = p * (_dot(static, v, do, trans_b=True) - delta)
        return dk + _dot(static, ds.astype(q.dtype), q), dv

    start = tuple(
        jnp.zeros((prod(plan.held), width(size)), jnp.float32)
        for size in (static.head_dim, static.value_dim)
    )
    dk, dv = _loop(program.chunks * heads, step, start)
    store(out["dk"], *held, dk * static.scale)
    store(out["dv"], *held, dv)


__all__ = ["Plan", "adjoint", "attend", "default_plan", "forward", "unsupported"]
