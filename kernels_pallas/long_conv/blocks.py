"""The convolution by transform: as plain jnp code, and as a walk over blocks for CPU.

A filter is its taps (k,) or (k, k_future), or the values of a `Spectrum`. With F the transform of
`facts` and S the filter's spectrum,

    y  = F^-1(F(x) S)        dx = F^-1(F(g) conj(S))        dk = F^-1(sum_b F(g) conj(F(x)))

On CPU what costs beside the FFTs is memory: temporaries that leave the cache, and pages that are
faulted in anew at every call. So one block of channels (and of the batch, where one channel is
already large) after another goes through all of it, the filter's transform included, and writes its
piece of the result. The backward walk computes both cotangents from one F(g): five transforms a
signal forward and backward, and nothing is kept between the two but x and the filter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from kernels_pallas.long_conv import config, fourier
from kernels_pallas.long_conv.bilinear import Bilinear
from kernels_pallas.long_conv.spectrum import Spectrum, delay

Filter = tuple[Array, ...]


class Facts(NamedTuple):
    """What is static of a convolution by transform."""

    ordering: str  # of the spectrum: "half", "real" or "lanes" (frequency-sparse)
    size: int  # points of the transform
    kept: int  # frequencies kept of every run of `blocks`
    blocks: int
    by_values: bool  # the filter is a spectrum's values, not taps
    lanes: int  # of the walk
    block_bytes: int  # of one complex temporary of the walk


def of_taps(
    ordering: str, size: int, *, lanes: int | None = None, block_bytes: int | None = None
) -> Bilinear:
    """The operation on x and taps.

    Args:
      ordering: "half" or "real".
      size: points of the transform.
      lanes: of the walk, with "half"; config's choice unless given.
      block_bytes: of a complex temporary of the walk; config's choice unless given.
    """
    return _operation(ordering, size, 1, 1, False, lanes, block_bytes)


def of_spectrum(
    k: Spectrum, *, lanes: int | None = None, block_bytes: int | None = None
) -> Bilinear:
    """The operation on x and the spectrum's values; lanes and block_bytes as in `of_taps`."""
    return _operation(k.ordering, k.size, k.kept, k.blocks, True, lanes, block_bytes)


def _operation(
    ordering: str,
    size: int,
    kept: int,
    blocks: int,
    by_values: bool,
    lanes: int | None,
    block_bytes: int | None,
) -> Bilinear:
    if ordering != "half":
        lanes = blocks  # a frequency-sparse filter has its own, a real transform has one
    elif lanes is None:
        lanes = config.lanes(size)
    fits = config.BLOCK_BYTES if block_bytes is None else block_bytes
    facts = Facts(ordering, size, kept, blocks, by_values, lanes, fits)
    return Bilinear(plain, forward, adjoint, facts)


def plain(facts: Facts, x: Array, *f: Array) -> Array:
    """x (batch, channels, length) filtered, in one piece; differentiable, for every platform."""
    length = x.shape[-1]
    to = _transform(facts, facts.blocks, x.dtype)
    products = _times(to.forward(x), _spectrum(facts, to, f, x))
    return _joined(to.inverse(products, length))


def forward(facts: Facts, x: Array, *f: Array) -> Array:
    """`plain` as a walk over blocks."""
    length, walk = x.shape[-1], _walk(facts, x)
    to = _transform(facts, facts.lanes, x.dtype)

    def channels(i, y: Array) -> Array:
        spectrum = _spectrum(facts, to, _channels_of(f, walk, i), x)

        def signals(j, y: Array) -> Array:
            products = _times(to.forward(_signals_of(x, walk, i, j)), spectrum)
            return _write(y, to.inverse(products, length), (j * walk.batch, i * walk.channels))

        return _loop(walk.batches, signals, y)

    return _loop(walk.rows, channels, jnp.zeros_like(x))


def adjoint(
    facts: Facts, x: Array, f: Filter, g: Array, want: tuple[bool, bool]
) -> tuple[Array | None, Filter | None]:
    """The cotangents of x and of the filter, those that are wanted, as a walk over blocks."""
    length, walk = x.shape[-1], _walk(facts, x)
    to = _transform(facts, facts.lanes, x.dtype)

    def channels(i, results):
        dx, df = results
        f_i = _channels_of(f, walk, i)
        spectrum = _spectrum(facts, to, f_i, x)

        def signals(j, carry):
            dx, total = carry
            from_g = to.forward(_signals_of(g, walk, i, j))
            if want[0]:
                back = _times(from_g, [s.conj() for s in spectrum])
                place = (j * walk.batch, i * walk.channels)
                dx = _write(dx, to.inverse(back, length), place)
            if want[1]:
                from_x = to.forward(_signals_of(x, walk, i, j))
                terms = [(a * b.conj()).sum(0) for a, b in zip(from_g, from_x, strict=True)]
                total = [a + b for a, b in zip(total, terms, strict=True)] if total else terms
            return dx, total

        empty = [jnp.zeros_like(s) for s in spectrum] if want[1] and walk.batches > 1 else []
        dx, total = _loop(walk.batches, signals, (dx, empty))
        if want[1]:
            cotangents = _cotangents(facts, to, total, f_i, length)
            df = tuple(
                _write(whole, pieces, (i * walk.channels,))
                for whole, pieces in zip(df, cotangents, strict=True)
            )
        return dx, df

    start = (
        jnp.zeros_like(x) if want[0] else None,
        tuple(map(jnp.zeros_like, f)) if want[1] else None,
    )
    return _loop(walk.rows, channels, start)


class Transform(NamedTuple):
    """F and its inverse: real (..., points) to a list of complex lanes, and back to pieces."""

    count: int
    forward: Callable[[Array], list[Array]]
    inverse: Callable[[list[Array], int], list[Array]]  # (lanes, length)


def _transform(facts: Facts, lanes: int, dtype: jnp.dtype) -> Transform:
    """The transform of `facts`, in lanes if half-length; twiddles are made here, outside loops."""
    size = facts.size
    if facts.ordering == "real":
        return Transform(
            1,
            lambda x: [fourier.real_fft(x, size)],
            lambda z, length: [fourier.real_ifft(z[0], size, length)],
        )
    kept = facts.kept if facts.ordering == "lanes" else lanes
    outer = fourier.lanes(size, lanes, dtype, kept)
    return Transform(lanes, partial(fourier.split, outer), partial(fourier.join, outer))


def _times(a: list[Array], b: list[Array]) -> list[Array]:
    return [p * q for p, q in zip(a, b, strict=True)]


def _spectrum(facts: Facts, to: Transform, f: Filter, x: Array) -> list[Array]:
    """The filter's spectrum in the lanes and the dtype of x's."""
    if facts.by_values:
        values = f[0].astype(jnp.promote_types(f[0].dtype, x.dtype))
        if facts.ordering == "lanes":
            return [values[:, q] for q in range(facts.kept)]
        return [values[:, q :: to.count] for q in range(to.count)]
    past = to.forward(f[0])
    delayed = delay(f[1], x.shape[-1]) if len(f) > 1 else None
    if delayed is None:
        return past
    return [a + b.conj() for a, b in zip(past, to.forward(delayed), strict=True)]


def _cotangents(
    facts: Facts, to: Transform, total: list[Array], f: Filter, length: int
) -> list[list[Array]]:
    """From sum_b F(g) conj(F(x)), the cotangent of each array of the filter, in pieces."""
    if facts.by_values:
        return [[_of_values(facts, total).astype(f[0].dtype)]]
    past = to.inverse(total, f[0].shape[-1])
    if len(f) == 1:
        return [past]
    future = f[1].shape[-1]
    reached = min(future, length - 1)
    ahead = _joined(to.inverse([z.conj() for z in total], reached + 1))
    return [past, [jnp.pad(ahead[..., 1:], ((0, 0), (0, future - reached)))]]


def _of_values(facts: Facts, total: list[Array]) -> Array:
    """The cotangent of a spectrum's values, in JAX's convention: not conjugated."""
    lanes = [z.conj() / facts.size for z in total]
    if facts.ordering == "lanes":
        return jnp.stack(lanes, axis=1)
    if facts.ordering == "half":
        return jnp.stack(lanes, axis=-1).reshape(lanes[0].shape[0], facts.size)
    frequency = jnp.arange(facts.size // 2 + 1)  # all but the ends stand for two
    return lanes[0] * jnp.where((frequency == 0) | (2 * frequency == facts.size), 1, 2)


# The walk.


class Walk(NamedTuple):
    """Blocks of `batch` signals by `channels` channels; `batches` by `rows` of them."""

    batch: int
    channels: int
    batches: int
    rows: int


def _walk(facts: Facts, x: Array) -> Walk:
    batch, channels, _ = x.shape
    points = facts.size // 2 + 1 if facts.ordering == "real" else facts.size
    block = config.block(batch, channels, points * 2 * x.dtype.itemsize, facts.block_bytes)
    return Walk(*block, batch // block[0], channels // block[1])


def _loop(count: int, body, carry):
    return body(0, carry) if count == 1 else lax.fori_loop(0, count, body, carry)


def _signals_of(x: Array, walk: Walk, i, j) -> Array:
    start = (j * walk.batch, i * walk.channels, 0)
    return lax.dynamic_slice(x, start, (walk.batch, walk.channels, x.shape[-1]))


def _channels_of(f: Filter, walk: Walk, i) -> Filter:
    return tuple(lax.dynamic_slice_in_dim(a, i * walk.channels, walk.channels, axis=0) for a in f)


def _write(whole: Array, pieces: list[Array], start: tuple) -> Array:
    """`whole` with the pieces, laid end to end along the last axis, written at `start`."""
    between, offset = (0,) * (whole.ndim - len(start) - 1), 0
    for piece in pieces:
        whole = lax.dynamic_update_slice(whole, piece, (*start, *between, offset))
        offset += piece.shape[-1]
    return whole


def _joined(pieces: list[Array]) -> Array:
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, axis=-1)


__all__ = ["of_spectrum", "of_taps", "plain"]
