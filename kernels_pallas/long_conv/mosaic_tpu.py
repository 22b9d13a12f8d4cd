"""Long convolution for TPUs through Pallas and Mosaic.

Why it exists: bytes moved. A gated causal convolution of b-byte signals must read u and two gates
and write y: 4 b bytes a point (8 in bfloat16, 16 in float32), and that is what this kernel moves up
to 32K points, spectra aside. A TPU has no FFT unit: XLA's FFT is itself matrix products over
complex64 passes through memory, 48 + 4 b bytes a point with the twist and the product around it.
The backward pass reads four arrays and writes three, 7 b bytes a point, against about 110 + 7 b.

Algorithm: monarch.py's matrix products in the half-length form (docs/long_conv.md), order 2 by
default with 128 columns from 2K points up, so that a signal fills whole vector registers and no
axes are swapped. The grid is (channel, tile of the batch); a channel's spectrum and the DFT
matrices stay in VMEM while its tiles pass. The backward pass saves inputs only and transforms
again; the block with the spectrum's slope is revisited by every tile of the batch and summed in
float32. Above 32K points: three_pass.py.

Numerics: float32 is multiplied at HIGHEST (precision "default": one bfloat16 pass). bfloat16: every
product's operands are rounded to bfloat16, sums are float32; the relative L2 error is 0.5 % at
order 2. float16 signals, which a TPU has no arithmetic for, are computed in float32.

Limits: powers of two from 256 to 4M points; shorter or ragged signals are padded outside the
kernel, which costs one more pass. Circular only at a power of two. Below 2K points a signal fills
its registers in part.

Verified in interpret mode on CPU and by lowering for TPU; it has not been run or timed on a device.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.lax import Precision

from kernels_pallas.long_conv import body, kernel, monarch, three_pass, tiles
from kernels_pallas.long_conv.body import Signals
from kernels_pallas.long_conv.kernel import Static, Tile
from kernels_pallas.long_conv.monarch import Pair, Shape

ONE_PROGRAM = 32768  # points of the largest transform that one program takes
FACTORS = {
    256: (16, 16),
    512: (16, 32),
    1024: (16, 64),
    2048: (16, 128),
    4096: (32, 128),
    8192: (64, 128),
    16384: (128, 128),
    32768: (256, 128),
}
TILE_BYTES = 1 << 19  # of one operand's block: the pipeline holds two of each, eight operands


def _tuned(static: Static, backward: bool) -> Tile | None:
    """The measured tile of the device that is here, if there is one."""
    if static.interpret:
        return None
    return tiles.attached("mosaic_tpu", "tpu", static.size, static.dtype, backward)


def default_tile(static: Static, backward: bool = False) -> Tile:
    """A tile by rule of thumb, not by measurement: the most signals whose blocks fit in VMEM."""
    del backward
    size = min(static.size, ONE_PROGRAM)
    factors = monarch.factors_for(FACTORS[size], static.kept, static.blocks)
    return Tile(_batch_tile(static.batch, static.channels, size), factors)


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


def dot_precision(static: Static) -> Precision | None:
    """The precision of a program's products."""
    if static.dtype != "float32":
        return None
    return Precision.DEFAULT if static.precision == "default" else Precision.HIGHEST


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
    """y of kernel.py: one kernel up to 32K points, three passes above."""
    if static.dtype == "float16":
        static, (u, pre_gate, post_gate) = _widened(static, u, pre_gate, post_gate)
        y = convolve(static, u, s_re, s_im, skip, pre_gate, post_gate, tile=tile)
        return y.astype("float16")
    tile = tile or _tuned(static, backward=False)
    if tile is None and static.size > ONE_PROGRAM:
        return three_pass.convolve(PASSES, static, u, s_re, s_im, skip, pre_gate, post_gate)
    tile = tile or default_tile(static)
    shape = monarch.shape(tile.factors, static.twisted, static.kept, static.blocks)
    blocks = _blocks(static, shape, _divisor(static.batch, tile.batch_tile))
    constants = _constants(static, shape, s_re, s_im, skip)
    signals = _viewed(static, shape, Signals(u, pre_gate, post_gate))
    y = _call(
        partial(_convolve_kernel, static, shape),
        static,
        blocks,
        (constants, signals),
        (_constant_specs(blocks, constants), jax.tree.map(lambda _: blocks.signal, signals)),
        jax.ShapeDtypeStruct(signals.u.shape, u.dtype),
        blocks.signal,
    )
    return _unviewed(static, y)


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
    if static.dtype == "float16":
        static, (u, pre_gate, post_gate, g) = _widened(static, u, pre_gate, post_gate, g)
        made = adjoint(static, u, s_re, s_im, skip, pre_gate, post_gate, g, tile=tile)
        return tuple(
            a if a is None or i in (1, 2, 3) else a.astype("float16") for i, a in enumerate(made)
        )
    tile = tile or _tuned(static, backward=True)
    if tile is None and static.size > ONE_PROGRAM:
        return three_pass.adjoint(PASSES, static, u, s_re, s_im, skip, pre_gate, post_gate, g)
    tile = tile or default_tile(static, backward=True)
    shape = monarch.shape(tile.factors, static.twisted, static.kept, static.blocks)
    blocks = _blocks(static, shape, _divisor(static.batch, tile.batch_tile))
    constants = _constants(static, shape, s_re, s_im, skip)
    signals = _viewed(static, shape, Signals(u, pre_gate, post_gate, g))
    signal = jax.ShapeDtypeStruct(signals.u.shape, u.dtype)
    sums = jax.ShapeDtypeStruct((static.channels, *shape.spectrum), jnp.float32)
    columns = jax.ShapeDtypeStruct((static.channels, 1, shape.signal[1]), jnp.float32)
    out = {
        "u": signal,
        "pre": None if pre_gate is None else signal,
        "post": None if post_gate is None else signal,
        "w": Pair(sums, sums),
        "skip": None if skip is None else columns,
    }
    specs = {
        "u": blocks.signal,
        "pre": None if pre_gate is None else blocks.signal,
        "post": None if post_gate is None else blocks.signal,
        "w": Pair(blocks.spectrum, blocks.spectrum),
        "skip": None if skip is None else blocks.columns,
    }
    made = _call(
        partial(_adjoint_kernel, static, shape),
        static,
        blocks,
        (constants, signals),
        (_constant_specs(blocks, constants), jax.tree.map(lambda _: blocks.signal, signals)),
        out,
        specs,
    )
    w = monarch.natural_order(made["w"], shape, static.kept, static.blocks)
    du, dpre, dpost = (_unviewed(static, made[name]) for name in ("u", "pre", "post"))
    dskip = None if skip is None else made["skip"].sum((1, 2))
    assert du is not None
    return du, w.re, -w.im, dskip, dpre, dpost


class Constants(NamedTuple):
    """What every signal of a channel is transformed with."""

    tables: monarch.Tables
    s: Pair  # (channels, *shape.spectrum)
    skip: Any  # (channels, 1, 1), or None


class Blocks(NamedTuple):
    """How the operands are cut over the grid (channel, tile of the batch)."""

    grid: tuple[int, int]
    signal: pl.BlockSpec
    spectrum: pl.BlockSpec  # the same block for every tile of the batch
    columns: pl.BlockSpec
    skip: pl.BlockSpec


def _blocks(static: Static, shape: Shape, batch_tile: int) -> Blocks:
    def of_channel(rows: int, columns: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, rows, columns), lambda c, b: (c, 0, 0))

    return Blocks(
        grid=(static.channels, static.batch // batch_tile),
        signal=pl.BlockSpec((batch_tile, None, *shape.signal), lambda c, b: (b, c, 0, 0)),
        spectrum=of_channel(*shape.spectrum),
        columns=of_channel(1, shape.signal[1]),
        skip=of_channel(1, 1),
    )


def _constants(
    static: Static, shape: Shape, s_re: Array, s_im: Array, skip: Array | None
) -> Constants:
    s = monarch.filter_order(Pair(s_re, s_im), shape, static.kept, static.blocks)
    return Constants(
        monarch.tables(shape, static.dtype), s, None if skip is None else skip[:, None, None]
    )


def _constant_specs(blocks: Blocks, constants: Constants) -> Constants:
    def whole(table: Array) -> pl.BlockSpec:
        return pl.BlockSpec(table.shape, lambda c, b: (0, 0))

    return Constants(
        jax.tree.map(whole, constants.tables),
        Pair(blocks.spectrum, blocks.spectrum),
        None if constants.skip is None else blocks.skip,
    )


def _call(function, static: Static, blocks: Blocks, operands, in_specs, out, out_specs) -> Any:
    return pl.pallas_call(
        function,
        out_shape=out,
        grid=blocks.grid,
        in_specs=in_specs,
        out_specs=out_specs,
        compiler_params=_params(0),
        interpret=static.interpret,
        name="long_conv",
    )(*operands)


def _read(constants: Constants) -> tuple[monarch.Tables, Pair, Array | None]:
    return jax.tree.map(lambda ref: ref[...], (constants.tables, constants.s, constants.skip))


def _convolve_kernel(static, shape, constants, signals, y_ref):
    tables, s, skip = _read(constants)
    dot = body.dot_in(static.dtype, dot_precision(static))

    def step(b, _):
        one = jax.tree.map(lambda ref: ref[b], signals)
        y = body.convolve(shape, tables, dot, s, skip, one)
        y_ref[b] = y.astype(y_ref.dtype)
        return _

    lax.fori_loop(jnp.int32(0), jnp.int32(y_ref.shape[0]), step, jnp.int32(0))


def _adjoint_kernel(static, shape, constants, signals, out):
    tables, s, skip = _read(constants)
    dot = body.dot_in(static.dtype, dot_precision(static))
    sums = [out["w"].re, out["w"].im] + ([] if skip is None else [out["skip"]])

    @pl.when(pl.program_id(1) == 0)
    def _():
        for ref in sums:
            ref[...] = jnp.zeros(ref.shape, jnp.float32)

    def step(b, _):
        one = jax.tree.map(lambda ref: ref[b], signals)
        slopes = body.adjoint(shape, tables, dot, s, skip, one)
        for name in ("u", "pre", "post"):
            if out[name] is not None:
                out[name][b] = getattr(slopes, name).astype(static.dtype)
        out["w"].re[...] += slopes.w.re
        out["w"].im[...] += slopes.w.im
        if skip is not None:
            out["skip"][...] += slopes.skip.sum(0, keepdims=True)
        return _

    lax.fori_loop(jnp.int32(0), jnp.int32(out["u"].shape[0]), step, jnp.int32(0))


def _viewed(static: Static, shape: Shape, signals: Signals) -> Signals:
    """Signals padded to the transform's size and seen as matrices."""

    def view(a: Array) -> Array:
        padded = jnp.pad(a, ((0, 0), (0, 0), (0, static.size - static.length)))
        return padded.reshape(static.batch, static.channels, *shape.signal)

    return jax.tree.map(view, signals)


def _unviewed(static: Static, a: Array | None) -> Any:
    if a is None:
        return None
    return a.reshape(static.batch, static.channels, static.size)[..., : static.length]


def _widened(static: Static, *signals: Array | None) -> tuple[Static, list[Any]]:
    wide = [None if a is None else a.astype(jnp.float32) for a in signals]
    return static._replace(dtype="float32"), wide


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most `most`."""
    return next(d for d in range(min(n, max(1, most)), 0, -1) if n % d == 0)


def _batch_tile(batch: int, programs: int, size: int) -> int:
    """The most signals whose blocks fit in VMEM."""
    del programs
    return _divisor(batch, TILE_BYTES // (4 * size))


def _params(values: int) -> pltpu.CompilerParams:
    del values
    return pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"))


PASSES = three_pass.Passes(
    factors=FACTORS,
    inner=lambda dtype: ONE_PROGRAM,
    columns=1 << 16,
    batch_tile=_batch_tile,
    revisits=True,
    precision=dot_precision,
    params=_params,
)

__all__ = ["adjoint", "convolve", "default_tile", "forward", "unsupported"]
