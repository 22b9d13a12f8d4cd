"""Long convolution for NVIDIA GPUs through Pallas and Triton.

Why it exists: bytes moved. A gated causal convolution of b-byte signals must read u and two gates
and write y: 4 b bytes a point (8 in bfloat16, 16 in float32), and up to 8K points this kernel moves
no more, the filter's spectrum (8 bytes a point and channel) aside. XLA calls a library for the FFT,
which fusion cannot enter: the twisted signal, both transforms and the product between them are
written and read as complex64, 6 passes of 8 bytes, 48 + 4 b. The backward pass reads four arrays
and writes three, 7 b bytes a point, beside 16 bytes a point, channel and tile of the batch for the
sums; XLA's runs three transforms, about 110 + 7 b.

Algorithm: monarch.py's matrix products on tensor cores, in the half-length form
(docs/long_conv.md), so no signal is padded to twice its length. One program takes one channel and a
tile of the batch, and walks over the tile with the spectrum and the DFT matrices at hand. Gates and
skip are fused. Loads and stores are masked, so a length that is no power of two costs no copy. The
backward pass saves inputs only, transforms again, and sums the spectrum's slope over its tile of
the batch in float32; the tiles' sums are added outside. Above 8K points (4K in float32):
three_pass.py, which pads a ragged signal outside. A tile may ask for up to 32K in one program.

Numerics: float32 is multiplied in IEEE float32, which uses no tensor core (precision None or
"highest"), 3xTF32 ("high") or TF32 ("default"). For 16-bit signals every product's operands are
rounded to 16 bits and sums are float32: relative L2 error 4e-3 at order 2 and 5e-3 at order 3 in
bfloat16, an eighth of that in float16. The DFT matrices are unitary, so float16 overflows only
where sqrt(N) max|x| or the filtered spectrum does.

Limits: transforms of a power of two from 256 to 4M points; a signal is padded to the next. Circular
only at such a length. 16-bit programs spill registers from 4K points up (backward) and at 8K, and
float32 ones from 1K up backward. JAX deprecates its Triton lowering from 0.11 on and warns at each
lowering; when it goes, this file goes.

Verified in interpret mode on CPU and by lowering for CUDA; the lowered kernels were also compiled
with Triton 3.5 and its assembler for sm_90, which is where the remarks on registers come from.
Nothing has been run or timed on a device.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.lax import DotAlgorithmPreset, Precision

from kernels_pallas.long_conv import body, kernel, monarch, three_pass, tiles
from kernels_pallas.long_conv.body import Signals
from kernels_pallas.long_conv.kernel import Static, Tile
from kernels_pallas.long_conv.monarch import Pair, Shape

ONE_PROGRAM = {"float32": 4096, "bfloat16": 8192, "float16": 8192}  # points, unless a tile asks
FACTORS = {
    256: (16, 16),
    512: (16, 32),
    1024: (32, 32),
    2048: (32, 64),
    4096: (16, 16, 16),
    8192: (16, 16, 32),
    16384: (32, 16, 32),
    32768: (32, 32, 32),
}
MOST_WARPS = 16  # a program may use every register of a multiprocessor and no more
WARPS_IN_ALL = 8448  # of a grid: 64 on each of 132 multiprocessors


def _tuned(static: Static, backward: bool) -> Tile | None:
    """The measured tile of the device that is here, if there is one."""
    if static.interpret:
        return None
    return tiles.attached("triton", "gpu", static.size, static.dtype, backward)


def default_tile(static: Static, backward: bool = False) -> Tile:
    """A tile by rule, from what the assembler says of registers; no device has timed it.

    In bfloat16 these programs spill no register up to 4K points forward and 2K backward, except a
    little at 1K backward; above that 16 warps spill least.
    """
    size = min(static.size, max(FACTORS))
    warps = min(MOST_WARPS, size // 256 if backward else max(size // 512, min(4, size // 256)))
    factors = monarch.factors_for(FACTORS[size], static.kept, static.blocks)
    return Tile(_batch_tile(static.batch, static.channels, warps), factors, warps, 1)


def unsupported(call: Any) -> str | None:
    """Why this backend cannot serve a call, None when it can."""
    return kernel.unsupported(call)


def forward(
    u,
    k,
    k_future,
    skip,
    pre_gate,
    post_gate,
    *,
    mode: str,
    layout: str,
    precision: str | Precision | None = None,
    interpret: bool = False,
) -> Array:
    """The long convolution; arguments as `long_conv`, already checked."""
    return kernel.run(
        convolve, adjoint, u, k, k_future, skip, pre_gate, post_gate,
        mode=mode, layout=layout, precision=precision, interpret=interpret,
    )  # fmt: skip


def dot_precision(static: Static) -> Precision | DotAlgorithmPreset | None:
    """The precision of a program's products."""
    if static.dtype != "float32":
        return None
    if static.precision == "default":
        return Precision.DEFAULT
    if static.precision == "high" and not static.interpret:
        return DotAlgorithmPreset.TF32_TF32_F32_X3
    return Precision.HIGHEST


def convolve(
    static: Static,
    u: Array,
    s_re: Array,
    s_im: Array,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
    *,
    tile: Tile | None = None,
) -> Array:
    """y of kernel.py: one kernel up to ONE_PROGRAM points or as `tile` asks, else three passes."""
    tile = tile or _tuned(static, backward=False)
    if tile is None and static.size > ONE_PROGRAM[static.dtype]:
        return three_pass.convolve(PASSES, static, u, s_re, s_im, skip, pre_gate, post_gate)
    tile = tile or default_tile(static)
    shape = monarch.shape(tile.factors, static.twisted, static.kept, static.blocks)
    operands = (_constants(static, shape, s_re, s_im, skip), Signals(u, pre_gate, post_gate))
    return _call(
        partial(_convolve_kernel, static, shape, tile.batch_tile),
        static,
        tile,
        operands,
        jax.ShapeDtypeStruct(u.shape, u.dtype),
    )


def adjoint(
    static: Static,
    u: Array,
    s_re: Array,
    s_im: Array,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
    g: Array,
    *,
    tile: Tile | None = None,
) -> tuple[Array | None, ...]:
    """(du, ds_re, ds_im, dskip, dpre, dpost) of kernel.py, in one kernel or three passes."""
    tile = tile or _tuned(static, backward=True)
    if tile is None and static.size > ONE_PROGRAM[static.dtype]:
        return three_pass.adjoint(PASSES, static, u, s_re, s_im, skip, pre_gate, post_gate, g)
    tile = tile or default_tile(static, backward=True)
    shape = monarch.shape(tile.factors, static.twisted, static.kept, static.blocks)
    operands = (_constants(static, shape, s_re, s_im, skip), Signals(u, pre_gate, post_gate, g))
    parts = -(-static.batch // tile.batch_tile)
    signal = jax.ShapeDtypeStruct(u.shape, u.dtype)
    sums = jax.ShapeDtypeStruct((parts, static.channels, *shape.spectrum), jnp.float32)
    out = {
        "u": signal,
        "pre": None if pre_gate is None else signal,
        "post": None if post_gate is None else signal,
        "w": Pair(sums, sums),
        "skip": None
        if skip is None
        else jax.ShapeDtypeStruct((parts, static.channels), jnp.float32),
    }
    made = _call(
        partial(_adjoint_kernel, static, shape, tile.batch_tile), static, tile, operands, out
    )
    w = monarch.natural_order(
        Pair(made["w"].re.sum(0), made["w"].im.sum(0)), shape, static.kept, static.blocks
    )
    dskip = None if skip is None else made["skip"].sum(0)
    return made["u"], w.re, -w.im, dskip, made["pre"], made["post"]


class Constants(NamedTuple):
    """What every signal of a channel is transformed with."""

    tables: monarch.Tables
    s: Pair  # (channels, *shape.spectrum)
    skip: Array | None  # (channels,)


def _constants(
    static: Static, shape: Shape, s_re: Array, s_im: Array, skip: Array | None
) -> Constants:
    s = monarch.filter_order(Pair(s_re, s_im), shape, static.kept, static.blocks)
    return Constants(monarch.tables(shape, static.dtype), s, skip)


def _call(kernel_function, static: Static, tile: Tile, operands: tuple, out: Any) -> Any:
    """The kernel over the grid (channel, tile of the batch), every operand whole in memory."""
    return pl.pallas_call(
        kernel_function,
        out_shape=out,
        grid=(static.channels, pl.cdiv(static.batch, tile.batch_tile)),
        compiler_params=plgpu.CompilerParams(num_warps=tile.warps, num_stages=tile.stages),
        interpret=static.interpret,
        name="long_conv",
    )(*operands)


def _at_channel(static: Static, shape: Shape, constants: Constants, channel: Any):
    """The tables, spectrum and skip of a channel, read once; and how to read and write signals."""

    def at_hand() -> tuple[monarch.Tables, Pair]:
        tables = jax.tree.map(lambda ref: ref[...], constants.tables)
        return tables, Pair(constants.s.re[channel], constants.s.im[channel])

    skip = None if constants.skip is None else constants.skip[channel]
    columns = shape.signal[1]
    time = lax.broadcasted_iota(jnp.int32, shape.signal, 0) * columns
    time = time + lax.broadcasted_iota(jnp.int32, shape.signal, 1)
    inside = None if static.length == static.size else time < static.length

    def read(ref: Any, b: Any) -> Array:
        other = None if inside is None else 0.0
        return plgpu.load(ref.at[b, channel, time], mask=inside, other=other)

    def write(ref: Any, b: Any, value: Array) -> None:
        plgpu.store(ref.at[b, channel, time], value.astype(ref.dtype), mask=inside)

    return at_hand, skip, read, write


def _batch_of(static: Static, batch_tile: int) -> tuple[Any, Any]:
    """The signals of this program: first, and one past the last."""
    first = pl.program_id(1) * batch_tile
    if static.batch % batch_tile == 0:
        return first, first + batch_tile
    return first, jnp.minimum(first + batch_tile, static.batch)


def _convolve_kernel(static, shape, batch_tile, constants, signals, y_ref):
    channel = pl.program_id(0)
    at_hand, skip, read, write = _at_channel(static, shape, constants, channel)
    dot = body.dot_in(static.dtype, dot_precision(static))

    def step(b, _):
        tables, s = at_hand()
        one = jax.tree.map(lambda ref: read(ref, b), signals)
        write(y_ref, b, body.convolve(shape, tables, dot, s, skip, one))
        return _

    lax.fori_loop(*_batch_of(static, batch_tile), step, jnp.int32(0))


def _adjoint_kernel(static, shape, batch_tile, constants, signals, out):
    channel, part = pl.program_id(0), pl.program_id(1)
    at_hand, skip, read, write = _at_channel(static, shape, constants, channel)
    dot = body.dot_in(static.dtype, dot_precision(static))

    def step(b, sums):
        w_re, w_im, skip_sum = sums
        tables, s = at_hand()
        one = jax.tree.map(lambda ref: read(ref, b), signals)
        slopes = body.adjoint(shape, tables, dot, s, skip, one)
        write(out["u"], b, slopes.u)
        if slopes.pre is not None:
            write(out["pre"], b, slopes.pre)
        if slopes.post is not None:
            write(out["post"], b, slopes.post)
        return w_re + slopes.w.re, w_im + slopes.w.im, skip_sum + slopes.skip.sum(1)

    zero = jnp.zeros(shape.spectrum, jnp.float32)
    sums = (zero, zero, jnp.zeros(shape.signal[:1], jnp.float32))
    w_re, w_im, skip_sum = lax.fori_loop(*_batch_of(static, batch_tile), step, sums)
    out["w"].re[part, channel] = w_re
    out["w"].im[part, channel] = w_im
    if skip is not None:
        out["skip"][part, channel] = skip_sum.sum(0)


def _batch_tile(batch: int, programs: int, warps: int) -> int:
    """Signals a program loops over: the batch in equal parts, about WARPS_IN_ALL warps in all."""
    parts = min(batch, max(1, WARPS_IN_ALL // (programs * warps)))
    return -(-batch // parts)


def _warps(values: int) -> int:
    """Warps for a program of the three passes that holds so many complex values."""
    return min(MOST_WARPS, max(4, values // 512))


def _params(values: int) -> plgpu.CompilerParams:
    return plgpu.CompilerParams(num_warps=_warps(values), num_stages=1)


PASSES = three_pass.Passes(
    factors=FACTORS,
    inner=ONE_PROGRAM.__getitem__,
    columns=4096,
    batch_tile=lambda batch, programs, size: _batch_tile(batch, programs, _warps(size)),
    revisits=False,
    precision=dot_precision,
    params=_params,
)

__all__ = ["adjoint", "convolve", "default_tile", "forward", "unsupported"]
