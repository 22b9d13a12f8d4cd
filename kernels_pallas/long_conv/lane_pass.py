"""The middle pass of three: every lane filtered by itself (three_pass.py has the whole).

Lane q of a transform of `size` points holds the frequencies q + R m. In kernel form lanes are
(batch, channels lanes, *inner.signal) and spectra (channels lanes, *inner.spectrum). One program
takes one lane of one channel and walks over a tile of the batch:

    p_q = conj(t_q) IFFT_M( FFT_M(z_q) S_q )

complex in and out, by monarch.py's transform of M points, with t_q the product of two short tables;
backward, the sum over the batch of X conj(G) stays in the program, in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import pallas as pl

from kernels_pallas.long_conv import body, monarch
from kernels_pallas.long_conv.kernel import Static
from kernels_pallas.long_conv.monarch import Pair, Shape, Tables, multiply

MOST_LANES = 128
FEWEST_LANES = 16  # the least a matrix unit takes


class Passes(NamedTuple):
    """What the three passes need to know of a backend."""

    factors: Mapping[int, tuple[int, ...]]  # by points of the inner transform
    inner: Callable[[str], int]  # points of the inner transform by dtype, where MOST_LANES allows
    columns: int  # values (lanes times columns) of a tile in passes 1 and 3
    batch_tile: Callable[[int, int, int], int]  # of (batch, channels times lanes, inner)
    revisits: bool  # whether blocks of one result may be visited in turn by the last grid axis
    precision: Callable[[Static], Any]  # of products
    params: Callable[[int], Any]  # compiler parameters for a program that holds so many values


class Split(NamedTuple):
    """A transform split into lanes."""

    static: Static
    outer: int  # R
    lanes: Shape  # of the first stage alone: which lanes are computed
    inner: Shape  # of the transform of M points
    columns: int  # of a tile in passes 1 and 3

    @property
    def chunk(self) -> int:
        """M, points of a chunk and of the inner transform."""
        return self.static.size // self.outer

    @property
    def slope(self) -> np.ndarray:
        """q + e of every lane that is computed."""
        lane = np.arange(self.outer)
        return lane[lane % self.lanes.blocks < self.lanes.kept] + 0.25 * self.static.twisted


def split(passes: Passes, static: Static, outer: int | None = None) -> Split:
    """How `static.size` is split; `outer` asks for a number of lanes, a power of two."""
    if outer is None:
        outer = min(MOST_LANES, max(FEWEST_LANES, static.size // passes.inner(static.dtype)))
    chunk = static.size // outer
    if chunk not in passes.factors or static.size % outer:
        raise ValueError(
            f"outer is {outer} for a transform of {static.size} points; size / outer must be one "
            f"of {', '.join(map(str, passes.factors))}"
        )
    kept, blocks = static.kept, static.blocks
    kept = max(kept, -(-FEWEST_LANES * blocks // outer))
    dense = kept >= blocks or outer % blocks
    return Split(
        static=static,
        outer=outer,
        lanes=Shape((outer, chunk), static.twisted, *((1, 1) if dense else (kept, blocks))),
        inner=monarch.shape(passes.factors[chunk], False),
        columns=min(chunk, max(16, passes.columns // outer)),
    )


def whole_spec(table: Array) -> pl.BlockSpec:
    return pl.BlockSpec(table.shape, lambda i, j: (0,) * table.ndim)


def lane_spectra(how: Split, s_re: Array, s_im: Array) -> Pair:
    """S_q of every computed lane in kernel order."""
    kept, blocks = how.static.kept, how.static.blocks
    s = monarch.filter_order(Pair(s_re, s_im), how.lanes, kept, blocks)  # (channels, lanes, M)
    flat = (how.static.channels * how.lanes.rows, how.chunk)
    return Pair(*(monarch.to_kernel(part.reshape(flat), how.inner) for part in s))


def natural(how: Split, w: Pair) -> Pair:
    """The inverse of `lane_spectra`, of the sum over parts of the batch."""
    cube = (how.static.channels, how.lanes.rows, how.chunk)
    lanes = Pair(*(monarch.from_kernel(part.sum(0), how.inner).reshape(cube) for part in w))
    return monarch.natural_order(lanes, how.lanes, how.static.kept, how.static.blocks)


class Inner(NamedTuple):
    """The constants of pass 2."""

    tables: Tables
    s: Pair  # (channels lanes, *inner.spectrum)
    high: Pair  # (lanes, N1, 1), t_q at the first point of every row
    low: Pair  # (lanes, 1, columns), t_q within a row


def _inner(how: Split, s: Pair) -> Inner:
    rows, columns = how.inner.signal
    size = how.static.size
    high = monarch.phases(how.slope, rows, size // columns)
    low = monarch.phases(how.slope, columns, size)
    return Inner(
        monarch.tables(how.inner, how.static.dtype),
        s,
        Pair(*(part[:, :, None] for part in high)),
        Pair(*(part[:, None, :] for part in low)),
    )


def _by_lanes(passes: Passes, how: Split, function, s: Pair, lanes, results: list[str]) -> Any:
    """`function(batch_tile, inner, lanes, out)` over the grid (channel lane, tile of the batch).

    Results are lanes, except "w", which holds one sum a part of the batch.
    """
    static, count = how.static, how.lanes.rows
    programs = static.channels * count
    batch_tile = passes.batch_tile(static.batch, programs, how.inner.size)
    tiles = pl.cdiv(static.batch, batch_tile)
    inner = _inner(how, s)
    viewed = jax.tree.map(lambda a: a.reshape(static.batch, programs, *how.inner.signal), lanes)
    lane = pl.BlockSpec((batch_tile, None, *how.inner.signal), lambda c, b: (b, c, 0, 0))
    spectrum = pl.BlockSpec((None, *how.inner.spectrum), lambda c, b: (c, 0, 0))

    def of_lane(table: Array) -> pl.BlockSpec:
        return pl.BlockSpec((None, *table.shape[1:]), lambda c, b: (c % count, 0, 0))

    inner_specs = Inner(
        jax.tree.map(whole_spec, inner.tables),
        Pair(spectrum, spectrum),
        jax.tree.map(of_lane, inner.high),
        jax.tree.map(of_lane, inner.low),
    )
    part = (lambda c, b: (0, c, 0, 0)) if passes.revisits else (lambda c, b: (b, c, 0, 0))
    sums = pl.BlockSpec((None, None, *how.inner.spectrum), part)
    parts = 1 if passes.revisits else tiles
    structs = {
        "lane": jax.ShapeDtypeStruct(viewed["x"].re.shape, static.dtype),
        "w": jax.ShapeDtypeStruct((parts, programs, *how.inner.spectrum), jnp.float32),
    }
    out, out_specs = {}, {}
    for name in results:
        kind, spec = ("w", sums) if name == "w" else ("lane", lane)
        out[name], out_specs[name] = Pair(structs[kind], structs[kind]), Pair(spec, spec)
    made = pl.pallas_call(
        partial(function, batch_tile),
        out_shape=out,
        grid=(programs, tiles),
        in_specs=(inner_specs, jax.tree.map(lambda _: lane, viewed)),
        out_specs=out_specs,
        compiler_params=passes.params(how.inner.size),
        interpret=static.interpret,
        name="long_conv_lanes",
    )(inner, viewed)
    flat = (static.batch * static.channels, count, how.chunk)
    return {
        name: pair if name == "w" else Pair(*(part.reshape(flat) for part in pair))
        for name, pair in made.items()
    }


def _count(how: Split, batch_tile: int) -> Any:
    """Signals in this program's tile of the batch."""
    if how.static.batch % batch_tile == 0:
        return jnp.int32(batch_tile)
    return jnp.minimum(batch_tile, how.static.batch - pl.program_id(1) * batch_tile)


def filter(passes: Passes, how: Split, s: Pair, z: Pair) -> Pair:
    """Pass 2: p of every lane."""
    dot = body.dot_in(how.static.dtype, passes.precision(how.static))

    def function(batch_tile, inner, lanes, out):
        constants, turn = _read(inner)
        tables, s = constants

        def step(b, _):
            x = Pair(lanes["x"].re[b], lanes["x"].im[b])
            p = multiply(monarch.transform(how.inner, tables, dot, x), s)
            _write(out["c"], b, monarch.inverse(how.inner, tables, dot, p, real=False), turn)
            return _

        lax.fori_loop(jnp.int32(0), _count(how, batch_tile), step, jnp.int32(0))

    return _by_lanes(passes, how, function, s, {"x": z}, ["c"])["c"]


def filter_adjoint(
    passes: Passes, how: Split, s: Pair, z: Pair, z_g: Pair, need_c: bool
) -> tuple[dict[str, Pair], Pair]:
    """Pass 2 backward: lanes {"dx"} and, where asked, {"c"}; and sum_b X conj(G), by parts."""
    dot = body.dot_in(how.static.dtype, passes.precision(how.static))

    def function(batch_tile, inner, lanes, out):
        (tables, s), turn = _read(inner)

        def step(b, sums):
            x, g = (
                monarch.transform(
                    how.inner, tables, dot, Pair(lanes[name].re[b], lanes[name].im[b])
                )
                for name in ("x", "g")
            )
            products = {"dx": multiply(g, s, conjugate=True)}
            if need_c:
                products["c"] = multiply(x, s)
            for name, product in products.items():
                back = monarch.inverse(how.inner, tables, dot, product, real=False)
                _write(out[name], b, back, turn)
            w = multiply(x, g, conjugate=True)
            return sums[0] + w.re, sums[1] + w.im

        zero = jnp.zeros(how.inner.spectrum, jnp.float32)
        sums = lax.fori_loop(jnp.int32(0), _count(how, batch_tile), step, (zero, zero))
        if not passes.revisits:
            out["w"].re[...], out["w"].im[...] = sums
            return

        @pl.when(pl.program_id(1) == 0)
        def _():
            out["w"].re[...] = zero
            out["w"].im[...] = zero

        out["w"].re[...] += sums[0]
        out["w"].im[...] += sums[1]

    results = ["dx", "w"] + ["c"] * need_c
    made = _by_lanes(passes, how, function, s, {"x": z, "g": z_g}, results)
    return {name: made[name] for name in results if name != "w"}, made["w"]


def _read(inner: Inner) -> tuple[tuple[Tables, Pair], Pair]:
    """((tables, spectrum), t_q) of a program's lane."""
    tables, s, high, low = jax.tree.map(lambda ref: ref[...], inner)
    return (tables, s), multiply(high, low)


def _write(out: Pair, b: Any, p: Pair, turn: Pair) -> None:
    turned = multiply(p, turn, conjugate=True)
    out.re[b] = turned.re.astype(out.re.dtype)
    out.im[b] = turned.im.astype(out.im.dtype)


__all__ = [
    "Passes",
    "Split",
    "filter",
    "filter_adjoint",
    "lane_spectra",
    "natural",
    "split",
    "whole_spec",
]
