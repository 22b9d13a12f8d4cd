"""Neighborhood attention in 16 bits for NVIDIA Hopper GPUs: Pallas Mosaic GPU and wgmma.

**Algorithm.** Flash attention over boxes (mosaic_gpu_plan.py): a block of threads owns a tile of 64
rows for each of its one or two warpgroups, streams what the tile's intervals need in blocks of 64
places, and leaves the rest of the image unread. One regime serves windows of any size: blocks begin
where the box begins, not on multiples of a tile, so a window much wider than a tile visits few
blocks in vain and a narrow one no more than its box. A block inside every row's interval skips the
mask. Forward is one kernel, backward two (dQ over the keys, dK and dV over the queries of the
inverse box); no atomics, so a call gives the same bits every time.

**Why tokens are not permuted.** The copy engine reads a block as runs along the last axis, and a
dilation group is a stride that a reshape makes (mosaic_gpu_arrays.py). q, k, v, o and their
gradients are read and written once in the public layout; only a last axis that is no whole number
of tiles is padded. Swizzled copies begin on multiples of 8 rows, which is why a box does too along
the last axis. Not done: copies of a whole N-D box at once, because the last two axes of a swizzled
copy have to be the matrix that wgmma reads; a box of runs costs 64 / run copies for each block.

**Pipeline.** Two to four buffers of streamed blocks, as many as shared memory has room for. Two
warpgroups share the streamed blocks where the wider tile visits at most a quarter more; otherwise
one, and two blocks of threads fit on a processor. The first warpgroup issues the copies: there is
no warpgroup of its own for them. P and dS pass through shared memory and O is rescaled in registers
after each block, since the GPU interpreter has neither a product with A in registers nor an
accumulator with a start value; the form that is tested is the form that is compiled.

**Numerics.** Operands of products in the dtype of q, k and v; P and dS are rounded to it. Sums, the
softmax, the LSE and delta are float32, exp2 and log the hardware's approximations (the interpreter
has exact ones). In float16, dS beyond 65504 overflows. Relative L2 distance from the reference in
float32, white noise, interpreted: bfloat16 1.5e-3 to 2.1e-3 for the result and 2.2e-3 to 3.4e-3 for
the gradients, float16 2.3e-4 and 2.9e-4 to 3.3e-4; the LSE within 5e-7.

**Limits.** bfloat16 and float16 (wgmma would round float32 to ten bits); head and value sizes up to
128, padded to 16, 32, 64 or 128 (wider accumulators do not fit in registers); no bias; batch times
dilation groups up to 65535.

**What has run.** Values and gradients under JAX's GPU interpreter (JAX 0.11 and later, races
detected, one and two warpgroups), and lowering for CUDA with no device. Once, by hand, the programs
of JAX 0.12 went through ptxas for sm_90a. Head size 128: forward 155 to 251 registers and no
spills, dQ 174 to 255 and at most 60 bytes spilled (3-D), dK and dV 255 and up to 236 bytes (none in
1-D, 140 in 2-D, 236 in 3-D); head size 32: 152 to 195 and no spills. Nothing was run or timed on a
GPU.

Reference: Hassani et al. 2023, "Neighborhood Attention Transformer"; Shah et al. 2024,
"FlashAttention-3" (the pipeline on Hopper).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from kernels_pallas.neighborhood_attention import (
    kernel,
    mosaic_gpu_arrays,
    mosaic_gpu_backward,
    mosaic_gpu_forward,
    windows,
)
from kernels_pallas.neighborhood_attention import mosaic_gpu_plan as plans
from kernels_pallas.neighborhood_attention import mosaic_gpu_stages as stages
from kernels_pallas.neighborhood_attention.kernel import Static
from kernels_pallas.neighborhood_attention.mosaic_gpu_plan import Plan, Problem

DTYPES = ("bfloat16", "float16")
HEADS = (16, 32, 64, 128)  # head and value sizes that the kernels are built for
GRID_LIMIT = 65535  # of the slower dimensions of a CUDA grid
INTERPRETED = 1  # warpgroups under the interpreter, which gives each a thread of JAX's CPU pool: a
# barrier among more of them can wait for a thread that a small machine does not have


def unsupported(call: Any) -> str | None:
    """Why these kernels cannot serve a call (an `api.Call`), None when they can."""
    reason = kernel.unsupported(call)
    if reason is not None:
        return reason
    for name in ("head_dim", "value_dim"):
        size = getattr(call, name)
        if size > HEADS[-1]:
            return f"{name} is {size}; accepted: up to {HEADS[-1]}, what fits in registers"
    widened = {name: padded_head(getattr(call, name)) for name in ("head_dim", "value_dim")}
    return _refused(kernel.static_of(call)._replace(**widened))


def padded_head(size: int) -> int:
    """What a head or value size is padded to with zeros."""
    return next((head for head in HEADS if head >= size), size)


def forward(
    call: Any,
    q: Array,
    k: Array,
    v: Array,
    additional_keys: Array | None,
    additional_values: Array | None,
    mask: Array | None,
    bias: Array | None,
    *,
    interpret: bool = False,
) -> tuple[Array, Array]:
    """(out, lse) of a checked call; operands as `neighborhood_attention`.

    Raises:
      ValueError: a call that the kernels do not take; the message says why.
    """
    reason = unsupported(call)
    if bias is not None or reason is not None:
        raise ValueError(f"mosaic_gpu cannot run this attention: {reason or 'a bias is given'}")
    return kernel.run(
        *(attend, adjoint, call, q, k, v, additional_keys, additional_values, mask),
        interpret=interpret,
        padded_head=padded_head,
    )


def attend(
    static: Static,
    q: Float[Array, "batch *space heads head_dim"],
    k: Float[Array, "batch *space kv_heads head_dim"],
    v: Float[Array, "batch *space kv_heads value_dim"],
    mask: Bool[Array, "batch *space"] | None,
    *,
    plan: Plan | None = None,
) -> tuple[Float[Array, "batch *space heads value_dim"], Float[Array, "batch *space heads"]]:
    """(o, lse) of the kernel form; lse is float32, natural log, -inf where no key is attended.

    Args:
      static: the static facts; head_dim and value_dim one of `HEADS`.
      q, k, v: in the public layout.
      mask: True at valid keys, or None.
      plan: how the kernel is cut; None to choose.

    Raises:
      ValueError: a dtype or a size that the kernels do not take; the message says which.
    """
    problem = stages.fitted(
        _problem(static, plan, inverse=False),
        lambda problem: mosaic_gpu_forward.scratch(problem, mask is not None),
    )
    o, lse = mosaic_gpu_forward.forward(
        problem,
        plans.tables(problem),
        mosaic_gpu_arrays.rows(problem, q),
        mosaic_gpu_arrays.rows(problem, k),
        mosaic_gpu_arrays.rows(problem, v),
        _additive(problem, mask),
    )
    return mosaic_gpu_arrays.from_rows(problem, o), mosaic_gpu_arrays.from_tiles(problem, lse)


def adjoint(
    static: Static,
    q: Float[Array, "batch *space heads head_dim"],
    k: Float[Array, "batch *space kv_heads head_dim"],
    v: Float[Array, "batch *space kv_heads value_dim"],
    mask: Bool[Array, "batch *space"] | None,
    lse: Float[Array, "batch *space heads"],
    delta: Float[Array, "batch *space heads"],
    do: Float[Array, "batch *space heads value_dim"],
    *,
    plan: Plan | None = None,
    inverse_plan: Plan | None = None,
) -> tuple[Array, Array, Array]:
    """(dq, dk, dv) for the cotangent `do` of o; delta = sum(do * o) - dlse.

    Args:
      static, q, k, v, mask: as `attend`.
      lse: what `attend` gave.
      delta: float32; it carries the cotangent of the LSE.
      do: the cotangent of o, in the dtype of q.
      plan, inverse_plan: how the kernel of dq, and that of dk and dv, are cut; None to choose.

    Raises:
      ValueError: as `attend`.
    """
    # Base 2, and no weight where nothing was attended.
    base2 = jnp.where(jnp.isneginf(lse), jnp.inf, lse * mosaic_gpu_forward.LOG2_E)
    tokens = {"q": q, "k": k, "v": v, "do": do}

    def operands(problem: Problem) -> dict[str, Array]:
        numbers = {"lse": (base2, jnp.inf), "delta": (delta, 0.0)}
        return {name: mosaic_gpu_arrays.rows(problem, x) for name, x in tokens.items()} | {
            name: mosaic_gpu_arrays.spread(problem, x.astype(jnp.float32), fill)
            for name, (x, fill) in numbers.items()
        }

    problem = stages.fitted(
        _problem(static, plan, inverse=False),
        lambda problem: mosaic_gpu_backward.dq_scratch(problem, mask is not None),
    )
    dq = mosaic_gpu_backward.dq(
        problem, plans.tables(problem), operands(problem), _additive(problem, mask)
    )
    dq = mosaic_gpu_arrays.from_rows(problem, dq)
    problem = stages.fitted(
        _problem(static, inverse_plan, inverse=True), mosaic_gpu_backward.dkv_scratch
    )
    found = mosaic_gpu_backward.dkv(problem, plans.tables(problem), operands(problem))
    dk, dv = (mosaic_gpu_arrays.from_rows(problem, x) for x in found)
    if mask is not None:
        dk, dv = (jnp.where(mask[..., None, None], x, 0) for x in (dk, dv))
    return dq, dk, dv


def _problem(static: Static, plan: Plan | None, inverse: bool) -> Problem:
    """What a kernel is built for; ValueError when it cannot be."""
    reason = _refused(static)
    if static.interpret and not stages.INTERPRETER:
        reason = "interpret=True needs the GPU interpreter of JAX 0.11 or later"
    if reason is not None:
        raise ValueError(f"mosaic_gpu cannot run this attention: {reason}")
    axes = windows.axes_of(static)
    if plan is None:
        plan = plans.choose(axes, inverse, INTERPRETED if static.interpret else plans.WARPGROUPS)
    return Problem(static, axes, plan, inverse)


def _additive(problem: Problem, mask: Array | None) -> Array | None:
    if mask is None:
        return None
    numbers = jnp.where(mask, 0.0, -jnp.inf).astype(jnp.float32)[..., None]
    return mosaic_gpu_arrays.spread(problem, numbers, -jnp.inf)


def _refused(static: Static) -> str | None:
    """Why the kernels cannot be built, None when they can."""
    if static.dtype not in DTYPES:
        return f"dtype {static.dtype}; wgmma takes {' and '.join(DTYPES)} (float32 only as TF32)"
    for name in ("head_dim", "value_dim"):
        if getattr(static, name) not in HEADS:
            return f"{name} is {getattr(static, name)}; accepted: {', '.join(map(str, HEADS))}"
    groups, size = static.batch, static.batch * static.heads
    for dilation, length in zip(static.dilation, static.space, strict=True):
        groups *= dilation
        size *= length
    if groups > GRID_LIMIT:
        return f"batch times dilation groups is {groups}; accepted: up to {GRID_LIMIT}"
    if static.heads > GRID_LIMIT:
        return f"heads is {static.heads}; accepted: up to {GRID_LIMIT}"
    size *= max(static.head_dim, static.value_dim)
    if size >= 2**31:
        return f"q or the result has {size} numbers; offsets are 32 bits, so below 2^31"
    return None


__all__ = ["adjoint", "attend", "forward", "padded_head", "unsupported"]
