"""The transforms of the XLA path: real, half-length, and half-length in R lanes.

Half-length, M points, D[n] = exp(-i pi n / 2M), for real x of at most M points:

    F~x = FFT_M(x D),      back: Re(conj(D) IFFT_M(Z))

In R lanes the outer stage of that FFT is written out and its result left permuted. With M = R n,
u_j the j-th contiguous piece of n inputs, m = 0..n-1,

    z_q[m] = t_q[m] sum_j c_jq u_j[m]         c_jq   = exp(-i pi j / 2R - 2 pi i j q / R)
    Z_q    = FFT_n(z_q)                       t_q[m] = exp(-i pi m (1 + 4q) / 2M)

and Z_q[p] is F~x at frequency q + R p: lane q holds the frequencies that are q modulo R. Back, with
p_q = conj(t_q) IFFT_n(Z_q),

    y_j = (1/R) sum_q Re( conj(c_jq) p_q ).

Nothing is transposed, the real input meets real products in the outer stage, and lanes or pieces
that are zero are left out. The outer stage costs 2R real multiply-adds a point, so R stays small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

TABLE_LIMIT = 4096  # longer twiddles are built in the program from two short tables


def half_fft(x: Array, size: int) -> Array:
    """F~x: the complex FFT of `size` points of x * D, for real x of at most `size` points."""
    return split(lanes(size, 1, x.dtype), x)[0]


def half_ifft(z: Array, size: int, length: int) -> Array:
    """Re(conj(D) IFFT(z)), the first `length` of `size` points."""
    return join(lanes(size, 1, z.real.dtype), [z], length)[0]


def real_fft(x: Array, size: int) -> Array:
    """The real FFT of `size` points, for x of at most `size` points."""
    return _rows(lambda rows: jnp.fft.rfft(rows, size), x)


def real_ifft(z: Array, size: int, length: int) -> Array:
    """The first `length` points of the real inverse FFT of `size` points."""
    return _rows(lambda rows: jnp.fft.irfft(rows, size), z)[..., :length]


class Lanes(NamedTuple):
    """The outer stage of a transform: its points, R, and conj(t_q) of the lanes that are kept."""

    size: int
    count: int
    twiddles: tuple[tuple[Array, Array], ...]  # cosine and sine, size // count entries each


def lanes(size: int, count: int, dtype: jnp.dtype, kept: int | None = None) -> Lanes:
    """The half-length transform of `size` points in `count` lanes, the first `kept` of them.

    Args:
      size: points of the transform, a multiple of `count`.
      count: R.
      dtype: of the real signals.
      kept: how many lanes are not zero; all of them unless told.
    """
    steps = [np.pi * (1 + 4 * q) / (2 * size) for q in range(count if kept is None else kept)]
    return Lanes(size, count, tuple(_phases(step, size // count, dtype) for step in steps))


def split(outer: Lanes, x: Array) -> list[Array]:
    """The lanes Z_q of F~x, each (..., size // R), for real x (..., at most size points)."""
    n = outer.size // outer.count
    pieces = [x[..., start : start + n] for start in range(0, x.shape[-1], n)]
    if len(pieces) > 1 and pieces[-1].shape[-1] < n:
        short = n - pieces[-1].shape[-1]
        pieces[-1] = jnp.pad(pieces[-1], [(0, 0)] * (x.ndim - 1) + [(0, short)])
    c = _coefficients(outer.count)
    points = pieces[0].shape[-1]
    transformed = []
    for q, twiddle_q in enumerate(outer.twiddles):
        cos, sin = (t[:points] for t in twiddle_q)
        re = _sum((float(c[j, q].real), u) for j, u in enumerate(pieces))
        if len(pieces) == 1:
            z = lax.complex(re * cos, -re * sin)
        else:
            im = _sum((float(c[j, q].imag), u) for j, u in enumerate(pieces) if j)
            z = lax.complex(re * cos + im * sin, im * cos - re * sin)
        transformed.append(_rows(lambda rows: jnp.fft.fft(rows, n), z))
    return transformed


def join(outer: Lanes, z: Sequence[Array], length: int) -> list[Array]:
    """The pieces y_j of the inverse transform of the lanes; absent lanes count as zero.

    Together the pieces are the first `length` points; each but the last has size // R of them.
    """
    n = outer.size // outer.count
    turned = []
    for z_q, twiddle_q in zip(z, outer.twiddles, strict=True):
        p = _rows(jnp.fft.ifft, z_q)[..., : min(n, length)]
        cos, sin = (t[: p.shape[-1]] for t in twiddle_q)
        re = p.real * cos - p.imag * sin
        turned.append((re, p.imag * cos + p.real * sin if outer.count > 1 else None))
    if outer.count == 1:
        return [turned[0][0]]
    # Without this the compiler computes every lane's turn again for each piece.
    turned = lax.optimization_barrier(turned)
    c = _coefficients(outer.count) / outer.count
    pieces = []
    for j, start in enumerate(range(0, length, n)):
        points = min(n, length - start)
        terms = [(float(c[j, q].real), re[..., :points]) for q, (re, _) in enumerate(turned)]
        if j:
            terms += [(float(c[j, q].imag), im[..., :points]) for q, (_, im) in enumerate(turned)]
        pieces.append(_sum(terms))
    return pieces


def twiddle(size: int, dtype: jnp.dtype) -> tuple[Array, Array]:
    """cos(pi n / 2 size) and sin(pi n / 2 size), n < size."""
    return _phases(np.pi / (2 * size), size, dtype)


def _phases(step: float, count: int, dtype: jnp.dtype) -> tuple[Array, Array]:
    """cos(step n) and sin(step n), n < count, accurate to rounding in `dtype`.

    Short tables are float64 cosines rounded once. A long one is the product of two tables of about
    sqrt(count) entries, exp(i a (p R + r)) = exp(i a p R) exp(i a r), so that a program carries no
    large constant; its error is that of one complex product.
    """
    if count <= TABLE_LIMIT:
        angle = step * np.arange(count)
        return jnp.asarray(np.cos(angle), dtype), jnp.asarray(np.sin(angle), dtype)
    inner = 1 << ((count - 1).bit_length() // 2)
    outer = -(-count // inner)
    coarse, fine = step * inner * np.arange(outer)[:, None], step * np.arange(inner)
    cos_p, sin_p = jnp.asarray(np.cos(coarse), dtype), jnp.asarray(np.sin(coarse), dtype)
    cos_r, sin_r = jnp.asarray(np.cos(fine), dtype), jnp.asarray(np.sin(fine), dtype)
    cos = (cos_p * cos_r - sin_p * sin_r).reshape(-1)[:count]
    sin = (sin_p * cos_r + cos_p * sin_r).reshape(-1)[:count]
    return cos, sin


def _coefficients(lanes: int) -> np.ndarray:
    """c_jq, complex128 (lanes, lanes), row j and column q."""
    j = np.arange(lanes)
    return np.exp(-1j * np.pi * (j[:, None] / (2 * lanes) + 2.0 * np.outer(j, j) / lanes))


def _sum(terms) -> Array:
    """sum of weight * value; a weight of exactly 1 is no product."""
    added = [value if weight == 1.0 else weight * value for weight, value in terms]
    return sum(added[1:], added[0])


def _rows(fft: Callable[[Array], Array], z: Array) -> Array:
    """`fft` over the last axis; before JAX 0.12, of z flattened to a matrix.

    There, a jit over sharded arrays gathers the operand of an FFT, and on CPU the gathered array
    may have a memory layout that the FFT rejects (an internal RET_CHECK failure; a bare
    jnp.fft.rfft meets it too). A matrix keeps its layout. From 0.12 on an FFT is partitioned over
    its other axes, which flattening would prevent.
    """
    if jax.__version_info__ >= (0, 12):
        return fft(z)
    rows = fft(z.reshape(math.prod(z.shape[:-1]), z.shape[-1]))
    return rows.reshape(*z.shape[:-1], rows.shape[-1])


__all__ = [
    "Lanes",
    "half_fft",
    "half_ifft",
    "join",
    "lanes",
    "real_fft",
    "real_ifft",
    "split",
    "twiddle",
]
