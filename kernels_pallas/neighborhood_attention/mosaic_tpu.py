"""Neighborhood attention for TPUs through Pallas and Mosaic.

Why it exists: bytes moved and scores computed. A dense flash attention visits tokens / box times
too many scores; plain jnp code writes each tile's box of keys to memory before it multiplies. Here
a tile of queries stays in VMEM while the walked tiles of keys that it needs pass by once.

Algorithm: flash attention over a box. Dilation groups go to the batch and heads before space
(layout.py, one pass over each operand); from there a block specification takes a tile of any rank.
The walked tile is the last dimension of the grid, so VMEM holds two of them and never the whole of
K; where it begins comes from tables that are prefetched to scalar memory (mosaic_tpu_plan.py). A
box begins anywhere on the leading axes and at a multiple of its tile on the last one, where
registers lie; steps beyond a tile's own box stay at its last tile, which moves no bytes, and
compute nothing. Walked tiles that every held row needs skip the mask. Scores are held transposed,
walked rows down the sublanes and held rows along the lanes, so that the softmax's maxima and sums
are rows and need no relayout. Backward: the same walk once more for dQ, and one over the queries
that attend a tile of keys, through all query heads of the kv head, for dK and dV. Nothing is
accumulated across programs, so the result is the same each time.

Numerics: bfloat16 operands are multiplied on the MXU and summed in float32; P and dS are rounded to
bfloat16 before their products; the softmax is float32, base 2. float32 is multiplied at HIGHEST.
float16, which a TPU has no arithmetic for, is computed in float32.

Limits: no bias, no float64, heads up to 512 values, and tables up to 64K integers: in one dimension
some two million places a dilation group.

Verified in interpret mode on CPU and by lowering for TPU; it has not been compiled, run or timed on
a device.
"""

from __future__ import annotations

from functools import partial
from math import log2, prod
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.lax import Precision

from kernels_pallas.neighborhood_attention import kernel
from kernels_pallas.neighborhood_attention import mosaic_tpu_blocks as blocks
from kernels_pallas.neighborhood_attention import mosaic_tpu_plan as plans
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.mosaic_tpu_blocks import Ids, Walk
from kernels_pallas.neighborhood_attention.mosaic_tpu_plan import Plan, Step, default_plan

LARGEST_HEAD = 512
LARGEST_TABLE = 1 << 16
LOG2_E = log2(2.718281828459045)
LN_2 = 1 / LOG2_E


def unsupported(call: Any) -> str | None:
    """Why this backend cannot serve a call, None when it can."""
    reason = kernel.unsupported(call)
    if reason is not None:
        return reason
    for name, size in (("head_dim", call.head_dim), ("value_dim", call.value_dim)):
        if size > LARGEST_HEAD:
            return f"{name} is {size}; this kernel takes at most {LARGEST_HEAD}"
    static = kernel.static_of(call)
    size = plans.table_size(static, default_plan(static))
    if size > LARGEST_TABLE:
        return f"its tables have {size} integers; scalar memory takes {LARGEST_TABLE}"
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
    if static.dtype == "float16":
        wide, (q, k, v) = _widened(static, q, k, v)
        o, lse = attend(wide, q, k, v, mask, plan=plan)
        return o.astype("float16"), lse
    on = blocks.of_queries(static, plan or default_plan(static))
    held = prod(on.geo.plan.held)
    operands = {"q": blocks.held(on, q), "k": blocks.walked(on, k), "v": blocks.walked(on, v)}
    if mask is not None:
        operands["mask"] = blocks.scalars(on, _as_numbers(mask))
    results = {"o": blocks.held_result(on, static.value_dim), "lse": blocks.rows_result(on)}
    scratch = {"sum": (static.value_dim, held), "total": (1, held), "top": (1, held)}
    made = blocks.call(_attend_kernel, on, operands, results, scratch)
    return blocks.from_held(on, made["o"]), blocks.from_rows(on, made["lse"])


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
    if static.dtype == "float16":
        wide, (q, k, v, do) = _widened(static, q, k, v, do)
        dq, dk, dv = adjoint(wide, q, k, v, mask, lse, delta, do, plan=plan)
        return dq.astype("float16"), dk.astype("float16"), dv.astype("float16")
    plan = plan or default_plan(static, backward=True)
    # Base 2; +inf for a query with no key, whose probabilities are then 0.
    lse = jnp.where(lse == -jnp.inf, jnp.inf, lse * LOG2_E)

    on = blocks.of_queries(static, plan)
    held, walked, rows, scalars = (
        partial(form, on) for form in (blocks.held, blocks.walked, blocks.rows, blocks.scalars)
    )
    operands = {"q": held(q), "do": held(do), "k": walked(k), "v": walked(v)}
    operands |= {"lse": rows(lse), "delta": rows(delta)}
    if mask is not None:
        operands["mask"] = scalars(_as_numbers(mask))
    results = {"dq": blocks.held_result(on, static.head_dim)}
    scratch = {"sum": (prod(plan.held), static.head_dim)}
    made = blocks.call(_dq_kernel, on, operands, results, scratch)
    dq = blocks.from_held(on, made["dq"])

    on = blocks.of_keys(static, plan)
    held, walked, rows, scalars = (
        partial(form, on) for form in (blocks.held, blocks.walked, blocks.rows, blocks.scalars)
    )
    operands = {"k": held(k), "v": held(v), "q": walked(q), "do": walked(do)}
    operands |= {"lse": scalars(lse), "delta": scalars(delta)}
    if mask is not None:
        operands["mask"] = rows(_as_numbers(mask))
    sizes = {"dk": static.head_dim, "dv": static.value_dim}
    results = {name: blocks.held_result(on, size) for name, size in sizes.items()}
    scratch = {f"sum of {name}": (prod(plan.held), size) for name, size in sizes.items()}
    made = blocks.call(_dkv_kernel, on, operands, results, scratch)
    return dq, blocks.from_held(on, made["dk"]), blocks.from_held(on, made["dv"])


def _as_numbers(mask: Array) -> Array:
    """A mask as one head of numbers."""
    return mask.astype(jnp.float32)[..., None]


def _widened(static: Static, *arrays: Array) -> tuple[Static, list[Array]]:
    return static._replace(dtype="float32"), [a.astype(jnp.float32) for a in arrays]


def _dot(on: Walk, a: Array, b: Array, contract: tuple[int, int]) -> Array:
    precision = Precision.HIGHEST if on.static.dtype == "float32" else None
    dimensions = (((contract[0],), (contract[1],)), ((), ()))
    return lax.dot_general(a, b, dimensions, precision, preferred_element_type=jnp.float32)


def _at_each_step(on: Walk, ids: Ids, step: Step, refs: dict, start, visit, finish) -> None:
    """start, then visit(masked) at the steps that are wanted, then finish, over the walk."""
    first, last = (ids.part == 0) & (ids.c == 0), (ids.part == on.group - 1)
    pl.when(first)(start)
    if "mask" in refs:
        pl.when(step.wanted)(partial(visit, True))
    else:
        pl.when(step.wanted & step.interior)(partial(visit, False))
        pl.when(step.wanted & jnp.logical_not(step.interior))(partial(visit, True))
    pl.when(last & (ids.c == on.geo.steps - 1))(finish)


def _attend_kernel(on: Walk, ids: Ids, step: Step, bounds: Any, refs: dict) -> None:
    total, top, o = refs["total"], refs["top"], refs["sum"]

    def start() -> None:
        o[...] = jnp.zeros(o.shape, jnp.float32)
        total[...] = jnp.zeros(total.shape, jnp.float32)
        top[...] = jnp.full(top.shape, -jnp.inf, jnp.float32)

    def visit(masked: bool) -> None:
        k, v = blocks.matrix(refs["k"]), blocks.matrix(refs["v"])
        s = _dot(on, k, blocks.matrix(refs["q"]), (1, 1)) * (on.static.scale * LOG2_E)
        if masked:
            s = blocks.masked(on, s, step, bounds)
        if "mask" in refs:
            s = jnp.where(blocks.column(refs["mask"][...]) > 0, s, -jnp.inf)
        old = top[...]
        new = jnp.maximum(old, s.max(0, keepdims=True))
        shift = jnp.where(new == -jnp.inf, 0.0, new)
        p = jnp.exp2(s - shift)
        fade = jnp.exp2(old - shift)
        total[...] = total[...] * fade + p.sum(0, keepdims=True)
        o[...] = o[...] * fade + _dot(on, v, p.astype(v.dtype), (0, 0))
        top[...] = new

    def finish() -> None:
        some = total[...] > 0
        divisor = jnp.where(some, total[...], 1.0)
        _write(refs["o"], (o[...] / divisor).T)
        refs["lse"][...] = jnp.where(some, top[...] * LN_2 + jnp.log(divisor), -jnp.inf)

    _at_each_step(on, ids, step, refs, start, visit, finish)


def _dq_kernel(on: Walk, ids: Ids, step: Step, bounds: Any, refs: dict) -> None:
    dq = refs["sum"]

    def start() -> None:
        dq[...] = jnp.zeros(dq.shape, jnp.float32)

    def visit(masked: bool) -> None:
        k, v = blocks.matrix(refs["k"]), blocks.matrix(refs["v"])
        s = _dot(on, k, blocks.matrix(refs["q"]), (1, 1)) * (on.static.scale * LOG2_E)
        if masked:
            s = blocks.masked(on, s, step, bounds)
        if "mask" in refs:
            s = jnp.where(blocks.column(refs["mask"][...]) > 0, s, -jnp.inf)
        p = jnp.exp2(s - refs["lse"][...])
        ds = p * (_dot(on, v, blocks.matrix(refs["do"]), (1, 1)) - refs["delta"][...])
        dq[...] += _dot(on, ds.astype(k.dtype), k, (0, 0))

    def finish() -> None:
        _write(refs["dq"], dq[...] * on.static.scale)

    _at_each_step(on, ids, step, refs, start, visit, finish)


def _dkv_kernel(on: Walk, ids: Ids, step: Step, bounds: Any, refs: dict) -> None:
    dk, dv = refs["sum of dk"], refs["sum of dv"]

    def start() -> None:
        dk[...] = jnp.zeros(dk.shape, jnp.float32)
        dv[...] = jnp.zeros(dv.shape, jnp.float32)

    def visit(masked: bool) -> None:
        q, do = blocks.matrix(refs["q"]), blocks.matrix(refs["do"])
        lse, delta = (blocks.column(refs[name][...]) for name in ("lse", "delta"))
        s = _dot(on, q, blocks.matrix(refs["k"]), (1, 1)) * (on.static.scale * LOG2_E)
        if masked:
            s = blocks.masked(on, s, step, bounds)
        if "mask" in refs:
            s = jnp.where(refs["mask"][...] > 0, s, -jnp.inf)
        p = jnp.exp2(s - lse)
        ds = p * (_dot(on, do, blocks.matrix(refs["v"]), (1, 1)) - delta)
        dv[...] += _dot(on, p.astype(do.dtype), do, (0, 0))
        dk[...] += _dot(on, ds.astype(q.dtype), q, (0, 0))

    def finish() -> None:
        _write(refs["dk"], dk[...] * on.static.scale)
        _write(refs["dv"], dv[...])

    _at_each_step(on, ids, step, refs, start, visit, finish)


def _write(ref: Any, value: Array) -> None:
    ref[...] = value.reshape(ref.shape).astype(ref.dtype)


__all__ = ["Plan", "adjoint", "attend", "default_plan", "forward", "unsupported"]
