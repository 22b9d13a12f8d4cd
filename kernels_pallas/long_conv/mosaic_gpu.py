"""The long convolution of 16-bit signals for NVIDIA Hopper GPUs: Pallas Mosaic GPU and wgmma.

**Why it exists.** Bytes moved through device memory for each point of a gated signal, counted, not
measured. Forward, ours 8 (u, both gates and the result, once each); the half-length FFT in XLA
about 76, its complex float32 temporaries written and read around each of two FFTs. Backward, ours
14 up to 4096 points (four operands, three results) and 28 above; the spectrum and its gradient add
16 bytes a point and channel, not a signal. When length is not a power of two, the signals are
padded and the result is cut outside the kernel: one more pass over each.

**Algorithm.** The half-length transform (docs/long_conv.md) factored so that every matrix product
has 64 rows and both operands in shared memory, with nothing transposed: mosaic_gpu_plan.py has the
factors, mosaic_gpu_stages.py the pieces. Order 2 up to 4096 points (mosaic_gpu_order2.py) is one
launch forward and one backward, the batch's sum of the spectrum's gradient kept in float32 in
shared memory. Order 3 (mosaic_gpu_order3.py) is one launch forward and three backward, that sum
kept in float32 in device memory. A block owns a channel; when there are fewer channels than twice
the processors, the batch is spread over several blocks and the partial sums are added outside.

**Numerics.** Rounded to 16 bits: the DFT matrices and both operands of every product, which is
pre * u or post * g (at order 3 what the first stage makes of it), the twiddled tile, and on the way
back the product with the spectrum and the twiddled tile, at order 3 also the last stage's operand.
In float32: every sum, twiddle, gate, the first stage of order 3, the skip and its gradient, the
product with the spectrum, W. 1 / size is spread over the stages as powers of two, so that float16
neither overflows nor loses small signals. Measured relative L2 error against float64, every result
and gradient of white noise: bfloat16 3.4e-3 to 4.6e-3 at order 2 and 3.9e-3 to 4.9e-3 at order 3;
float16 4.1e-4 to 5.6e-4; the skip's gradient under 1e-6.

**Limits.** Sizes 256 to 32768, shorter signals padded; float32 is refused, since wgmma would round
it to TF32 (ten bits); so is a frequency-sparse filter, since a tile has 64 rows whatever is kept
and nothing would be skipped. Shared memory of a block, bytes, of 232448, gated (forward /
backward):

    256, 512, 1024   58880 / 58880       8192   114688 / 147456 (the correlation)
    2048            104448 / 104448     16384   147456 / 180224
    4096            204800 / 204800     32768   212992 / 229376

**What has run.** Values and gradients under JAX's GPU interpreter (JAX 0.11 and later, races
detected), and lowering for CUDA with no device. Once, by hand, the programs of JAX 0.11.2 for
every size, gated, went through ptxas 13.5 for sm_90a: 104 to 255 registers, and no spills but 280
bytes in the backward kernel of 4096 points. Nothing was run or timed on a GPU.

Reference: Fu et al. 2023, "FlashFFTConv", section 3 (Monarch decomposition on matrix units).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kernels_pallas.hopper import INTERPRETER
from kernels_pallas.long_conv import kernel, mosaic_gpu_order2, mosaic_gpu_order3
from kernels_pallas.long_conv import mosaic_gpu_plan as plans
from kernels_pallas.long_conv.kernel import Static
from kernels_pallas.long_conv.mosaic_gpu_plan import DTYPES, SIZES, Shape, from_segments

WARPGROUPS = 2  # in a block, where shared memory allows
INTERPRETED = 1  # the same under the interpreter, which gives each a thread of JAX's CPU pool: a
# barrier among more of them can wait for a thread that a small machine does not have

Gradients = tuple[Array, Array, Array, Array | None, Array | None, Array | None]


def unsupported(call: Any) -> str | None:
    """Why these kernels cannot serve a call (an `api.Call`), None when they can."""
    reason = kernel.unsupported(call)
    if reason is not None:
        return reason
    if call.length > SIZES[-1]:
        return f"length {call.length} is above {SIZES[-1]}, what one block's shared memory holds"
    if not call.one_dtype:
        return "u and the gates have different dtypes; these kernels take one"
    return _refused(
        *(call.dtype, call.batch, call.channels, kernel.transform_size(call.length)),
        *(call.kept, call.blocks),
    )


def forward(
    u: Array,
    k: Any,
    k_future: Array | None,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
    *,
    mode: str,
    layout: str,
    precision: Any = None,
    interpret: bool = False,
) -> Array:
    """The long convolution; arguments as `long_conv`, already checked.

    `precision` has no effect: products are of 16-bit operands with float32 sums.
    """
    return kernel.run(
        convolve,
        adjoint,
        *(u, k, k_future, skip, pre_gate, post_gate),
        mode=mode,
        layout=layout,
        precision=precision,
        interpret=interpret,
    )


def convolve(
    static: Static,
    u: Float[Array, "batch channels length"],
    s_re: Float[Array, "channels size"],
    s_im: Float[Array, "channels size"],
    skip: Float[Array, "channels"] | None,
    pre_gate: Float[Array, "batch channels length"] | None,
    post_gate: Float[Array, "batch channels length"] | None,
) -> Float[Array, "batch channels length"]:
    """y = post * (c + skip * x) in kernel form (see kernel.py for the formulas and arguments).

    Raises:
      ValueError: a dtype, a size or an option that the kernels do not take; the message says which.
    """
    made, tables = _prepare(static, skip, pre_gate, post_gate)
    x, pre, post = (plans.to_segments(a, static.size) for a in (u, pre_gate, post_gate))
    spectrum = _spectrum(made, s_re, s_im)
    if made.plan.order == 2:
        y = mosaic_gpu_order2.forward(made, tables, spectrum[:, 0], x, skip, pre, post)
    else:
        (y,) = mosaic_gpu_order3.forward(made, tables, spectrum, x, skip, pre, [post])
    return from_segments(y, static.batch, static.length)


def adjoint(
    static: Static,
    u: Float[Array, "batch channels length"],
    s_re: Float[Array, "channels size"],
    s_im: Float[Array, "channels size"],
    skip: Float[Array, "channels"] | None,
    pre_gate: Float[Array, "batch channels length"] | None,
    post_gate: Float[Array, "batch channels length"] | None,
    g: Float[Array, "batch channels length"],
) -> Gradients:
    """(du, ds_re, ds_im, dskip, dpre, dpost) for the cotangent g of y; None where there is none.

    Raises:
      ValueError: as `convolve`.
    """
    made, tables = _prepare(static, skip, pre_gate, post_gate)
    signals = (plans.to_segments(a, static.size) for a in (u, pre_gate, post_gate, g))
    x, pre, post, slope = signals
    spectrum = _spectrum(made, s_re, s_im)
    if made.plan.order == 2:
        found = mosaic_gpu_order2.backward(made, tables, spectrum[:, 0], x, skip, pre, post, slope)
    else:
        reverse = _spectrum(made, s_re, -s_im)
        found = mosaic_gpu_order3.backward(
            made, tables, spectrum, reverse, x, skip, pre, post, slope
        )
    w = found["w"].sum(0) / static.size
    ds_re, ds_im = (plans.from_kernel_order(w[:, :, plane], static.size) for plane in range(2))
    du, dpre, dpost = (
        from_segments(found[name], static.batch, static.length) if name in found else None
        for name in ("du", "dpre", "dpost")
    )
    dskip = found["dskip"].sum((0, 2)) if skip is not None else None
    assert du is not None
    return du, ds_re, -ds_im, dskip, dpre, dpost


def _prepare(
    static: Static, skip: Array | None, pre: Array | None, post: Array | None
) -> tuple[Shape, plans.Tables]:
    """What the kernels are built for and their constants; ValueError when they cannot be."""
    reason = _refused(
        *(static.dtype, static.batch, static.channels, static.size, static.kept, static.blocks)
    )
    if static.interpret and not INTERPRETER:
        reason = "interpret=True needs the GPU interpreter of JAX 0.11 or later"
    if reason is not None:
        raise ValueError(f"mosaic_gpu cannot run this convolution: {reason}")
    factors = plans.plan(static.size)
    units = -(-static.batch // factors.stack)
    made = Shape(
        plan=factors,
        units=units,
        channels=static.channels,
        tiles=plans.batch_tiles(static.channels, units),
        dtype=static.dtype,
        has_skip=skip is not None,
        has_pre=pre is not None,
        has_post=post is not None,
        warpgroups=INTERPRETED if static.interpret else WARPGROUPS,
        interpret=static.interpret,
    )
    return made, plans.tables(static.size, static.twisted, static.dtype)


def _refused(
    dtype: str, batch: int, channels: int, size: int, kept: int, blocks: int
) -> str | None:
    """Why signals of a dtype and shape, or a filter, cannot be taken."""
    if kept < blocks:
        return (
            f"the filter keeps {kept} of {blocks} blocks of frequencies; a tile has 64 rows "
            "whatever is kept, so nothing would be skipped"
        )
    if dtype not in DTYPES:
        return f"dtype {dtype}; wgmma takes {' and '.join(DTYPES)} (float32 only as TF32)"
    if size not in SIZES:
        return f"a transform of {size} points; accepted: powers of two, {SIZES[0]} to {SIZES[-1]}"
    if batch * channels * size >= 2**31:
        return f"{batch} x {channels} x {size} points; offsets are 32 bits, so below 2^31"
    return None


def _spectrum(made: Shape, s_re: Array, s_im: Array) -> Array:
    """(channels, radix, 2, 64, columns) in the kernels' order, with a share of 1 / size."""
    size = made.plan.radix * made.plan.rows * made.plan.columns
    scale = 1.0 / made.plan.columns
    return jnp.stack([plans.to_kernel_order(s * scale, size) for s in (s_re, s_im)], axis=2)


__all__ = ["adjoint", "convolve", "forward", "unsupported"]
