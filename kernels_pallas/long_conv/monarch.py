"""The transform as a few matrix products: a Monarch decomposition, planar, for matrix units.

A transform of `size` = N1 N2 points, n = n1 N2 + n2 and frequency q = k1 + N1 k2, is

    X = ((F1' x) . T') F2        x viewed as (N1, N2)
    F1'[k1, n1] = exp(-2 pi i n1 k1 / N1) d1[n1] / sqrt(N1)
    T'[k1, n2]  = exp(-2 pi i n2 k1 / size) d2[n2]
    F2[n2, k2]  = exp(-2 pi i n2 k2 / N2) / sqrt(N2)

with D[n] = exp(-i pi n / 2 size) = d1[n1] d2[n2] folded in when twisted (both 1 otherwise), so the
half-length form costs nothing. At order 3 the row of N2 N3 points is transformed in the same way,
n2 on the left after one swap of axes, so that every product is of two matrices:

    A = (F1' x) . T'             (k1, n2 n3);   swapped to (n2, k1 n3)
    X = ((F2 A) . T2) F3         (k2 k1, k3)    T2[k2, n3] = exp(-2 pi i n3 k2 / N2 N3)

and q = k1 + N1 (k2 + N2 k3). The inverse runs the conjugates backward, one swap of axes again. All
matrices are unitary: a signal keeps its size through every stage, which keeps float16 in range, and
the inverse needs no scale.

A real input takes 2 products in the first stage and a real output 2 in the last; the others take 4.
A frequency-sparse spectrum (only q mod blocks < kept is nonzero) needs only the rows k1 with
k1 mod blocks < kept, since blocks divides N1: the other rows of F1' are dropped and every later
stage is smaller.

References: Fu et al. 2023, "FlashFFTConv", section 3.1; docs/long_conv.md for D.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

LEAST_ROWS = 16  # of any operand of a product: the least a matrix unit takes
MOST_ROWS = 64  # of the first factor, where it grows so that a sparse spectrum can drop more rows
TABLE_LIMIT = 4096  # entries; a longer twiddle is built in the program from two short ones

Dot = Callable[[Any, Any], Any]


class Pair(NamedTuple):
    """A complex array as two real ones (arrays, or references to them inside a kernel)."""

    re: Any
    im: Any


class Tables(NamedTuple):
    """The constants of one transform and its inverse; a pytree."""

    f1: Pair  # (rows, N1), D folded in
    t1: Pair  # (rows, size / N1), D folded in
    f2: Pair  # (N2, N2)
    g1: Pair  # (N1, rows), the conjugate transpose of f1
    t2: Pair | None = None  # order 3: (N2, N3)
    f3: Pair | None = None  # order 3: (N3, N3)


class Shape(NamedTuple):
    """A transform's factors and which of its rows are computed."""

    factors: tuple[int, ...]  # (N1, N2) or (N1, N2, N3)
    twisted: bool
    kept: int = 1  # rows k1 with k1 mod blocks < kept
    blocks: int = 1

    @property
    def size(self) -> int:
        return int(np.prod(self.factors))

    @property
    def rows(self) -> int:
        return self.factors[0] * self.kept // self.blocks

    @property
    def signal(self) -> tuple[int, int]:
        """The matrix a signal is viewed as."""
        return self.factors[0], self.size // self.factors[0]

    @property
    def spectrum(self) -> tuple[int, int]:
        """The matrix its transform comes out as."""
        if len(self.factors) == 2:
            return self.rows, self.factors[1]
        return self.factors[1] * self.rows, self.factors[2]


def shape(factors: tuple[int, ...], twisted: bool, kept: int = 1, blocks: int = 1) -> Shape:
    """The `Shape` for a (kept, blocks) spectrum, with at least 16 rows (some may then be zero).

    Raises:
      ValueError: the factors are not two or three powers of two >= 16.
    """
    if len(factors) not in (2, 3) or any(f < LEAST_ROWS or f & (f - 1) for f in factors):
        raise ValueError(f"factors are {factors}; accepted: two or three powers of two >= 16")
    computed = max(kept, -(-LEAST_ROWS * blocks // factors[0]))
    if computed >= blocks:
        return Shape(tuple(factors), twisted)
    return Shape(tuple(factors), twisted, computed, blocks)


def factors_for(dense: tuple[int, ...], kept: int, blocks: int) -> tuple[int, ...]:
    """`dense`, or for a frequency-sparse spectrum factors whose N1 leaves 16 rows of those kept."""
    size = int(np.prod(dense))
    n1 = min(MOST_ROWS, LEAST_ROWS * blocks // kept, size // LEAST_ROWS)
    if n1 <= dense[0]:
        return dense
    rest = size // n1
    if rest < LEAST_ROWS**2:
        return n1, rest
    n2 = 1 << (rest.bit_length() - 1) // 2
    return n1, n2, rest // n2


def tables(shape: Shape, dtype: Any) -> Tables:
    """The constants as arrays: matrices in `dtype` (of a product's operands), twiddles float32."""
    n1, columns = shape.signal
    # d1 and d2 are a quarter of a frequency: exp(-2 pi i n1 (k1 + 1/4) / N1), and so for T'
    slope = np.flatnonzero(np.arange(n1) % shape.blocks < shape.kept) + 0.25 * shape.twisted
    f1 = unitary(slope, n1, dtype)
    t2 = f3 = None
    if len(shape.factors) == 3:
        _, n2, n3 = shape.factors
        t2, f3 = phases(np.arange(n2), n3, n2 * n3), unitary(np.arange(n3), n3, dtype)
    return Tables(
        f1=f1,
        t1=phases(slope, columns, shape.size),
        f2=unitary(np.arange(shape.factors[1]), shape.factors[1], dtype),
        g1=adjoint(f1),
        t2=t2,
        f3=f3,
    )


def unitary(slope: np.ndarray, n: int, dtype: Any) -> Pair:
    """Rows of a DFT matrix, exp(-2 pi i slope[r] j / n) / sqrt(n), (slopes, n) in `dtype`."""
    table = phases(slope, n, n)
    return Pair(*((p / np.float32(np.sqrt(n))).astype(dtype) for p in table))


def adjoint(a: Pair) -> Pair:
    """The conjugate transpose."""
    return Pair(a.re.T, -a.im.T)


def phases(slope: np.ndarray, count: int, period: float) -> Pair:
    """exp(-2 pi i slope[r] n / period) for n < count, (slopes, count) float32.

    A short table is a float64 cosine rounded once. A longer one is built in the program as the
    product of two short ones, so that no program carries a large constant.
    """
    if slope.size * count <= TABLE_LIMIT:
        return _phase_table(slope, np.arange(count), period)
    fine = 1 << ((count - 1).bit_length() // 2)
    low = _phase_table(slope, np.arange(fine), period)
    high = _phase_table(slope, fine * np.arange(-(-count // fine)), period)
    product = multiply(
        Pair(high.re[:, :, None], high.im[:, :, None]), Pair(low.re[:, None], low.im[:, None])
    )
    flat = (slope.size, high.re.shape[1] * fine)
    return Pair(product.re.reshape(flat)[:, :count], product.im.reshape(flat)[:, :count])


def _phase_table(slope: np.ndarray, n: np.ndarray, period: float) -> Pair:
    turns = np.multiply.outer(slope, n) / period
    angle = -2 * np.pi * (turns - np.round(turns))
    return Pair(jnp.asarray(np.cos(angle), jnp.float32), jnp.asarray(np.sin(angle), jnp.float32))


def multiply(a: Pair, b: Pair, conjugate: bool = False) -> Pair:
    """a b, or a conj(b), element by element."""
    if conjugate:
        return Pair(a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im)
    return Pair(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


def transform(shape: Shape, tables: Tables, dot: Dot, x: Any) -> Pair:
    """The unitary transform of x, real (an array) or complex (a `Pair`), `shape.signal` to
    `shape.spectrum`, float32; inside a kernel or out of one."""
    if isinstance(x, Pair):
        a = _product(dot, tables.f1, x)
    else:
        a = Pair(dot(tables.f1.re, x), dot(tables.f1.im, x))
    a = multiply(a, tables.t1)
    if len(shape.factors) == 2:
        return _product(dot, a, tables.f2)
    assert tables.t2 is not None
    assert tables.f3 is not None
    a = _product(dot, tables.f2, _map(lambda p: _swap(p, shape.rows, *shape.factors[1:]), a))
    a = _middle(shape, a, tables.t2, conjugate=False)
    return _product(dot, a, tables.f3)


def inverse(shape: Shape, tables: Tables, dot: Dot, z: Pair, real: bool = True) -> Any:
    """The inverse transform, `shape.spectrum` to `shape.signal`: its real part, or the `Pair`."""
    if len(shape.factors) == 2:
        z = _product(dot, z, _conjugate(tables.f2))
    else:
        assert tables.t2 is not None
        assert tables.f3 is not None
        _, n2, n3 = shape.factors
        z = _product(dot, z, _conjugate(tables.f3))
        z = _middle(shape, z, tables.t2, conjugate=True)
        z = _product(dot, _conjugate(tables.f2), _map(lambda p: p.reshape(n2, shape.rows * n3), z))
        z = _map(lambda p: _swap(p, n2, shape.rows, n3), z)
    z = multiply(z, tables.t1, conjugate=True)
    if real:
        return dot(tables.g1.re, z.re) - dot(tables.g1.im, z.im)
    return _product(dot, tables.g1, z)


def _product(dot: Dot, a: Pair, b: Pair) -> Pair:
    """The matrix product of two complex matrices, by four real ones."""
    return Pair(
        dot(a.re, b.re) - dot(a.im, b.im),
        dot(a.re, b.im) + dot(a.im, b.re),
    )


def _map(f: Callable[[Any], Any], a: Pair) -> Pair:
    return Pair(f(a.re), f(a.im))


def _conjugate(a: Pair) -> Pair:
    return Pair(a.re, -a.im)


def _swap(p: Any, outer: int, middle: int, inner: int) -> Any:
    """(outer, middle inner) to (middle, outer inner)."""
    return p.reshape(outer, middle, inner).swapaxes(0, 1).reshape(middle, outer * inner)


def _middle(shape: Shape, a: Pair, t2: Pair, conjugate: bool) -> Pair:
    """The second twiddle of order 3, the same for every k1; (N2 rows, N3) out."""
    _, n2, n3 = shape.factors
    cube, flat = (n2, shape.rows, n3), (n2 * shape.rows, n3)
    twiddle = _map(lambda p: p.reshape(n2, 1, n3), t2)
    a = multiply(_map(lambda p: p.reshape(cube), a), twiddle, conjugate)
    return _map(lambda p: p.reshape(flat), a)


def to_kernel(values: Float[Array, "... size"], shape: Shape) -> Float[Array, "... rows columns"]:
    """Frequencies in natural order to the order and the rows that `transform` gives."""
    n1, rest = shape.factors[0], shape.factors[1:]
    leading = values.shape[:-1]
    # q = k1 + N1 (k2 + N2 k3): axes (k3, k2, k1), or (k2, k1)
    cube = values.reshape(*leading, *rest[::-1], n1)
    if shape.kept < shape.blocks:
        cube = cube.reshape(*cube.shape[:-1], n1 // shape.blocks, shape.blocks)
        cube = cube[..., : shape.kept].reshape(*cube.shape[:-2], shape.rows)
    if len(rest) == 1:
        return cube.swapaxes(-1, -2)
    return jnp.moveaxis(cube, -3, -1).reshape(*leading, *shape.spectrum)


def from_kernel(values: Float[Array, "... rows columns"], shape: Shape) -> Float[Array, "... size"]:
    """The inverse of `to_kernel`; rows that were not computed are zero."""
    n1, rest = shape.factors[0], shape.factors[1:]
    leading = values.shape[:-2]
    if len(rest) == 1:
        cube = values.swapaxes(-1, -2)
    else:
        cube = jnp.moveaxis(values.reshape(*leading, rest[0], shape.rows, rest[1]), -1, -3)
    if shape.kept < shape.blocks:
        cube = cube.reshape(*cube.shape[:-1], n1 // shape.blocks, shape.kept)
        cube = jnp.pad(cube, [(0, 0)] * (cube.ndim - 1) + [(0, shape.blocks - shape.kept)])
    return cube.reshape(*leading, shape.size)


def band(values: Float[Array, "... size"], kept: int, blocks: int) -> Float[Array, "... size"]:
    """`values` with every frequency q with q mod blocks >= kept set to zero."""
    if kept == blocks:
        return values
    split = values.reshape(*values.shape[:-1], values.shape[-1] // blocks, blocks)
    return jnp.where(np.arange(blocks) < kept, split, 0).reshape(values.shape)


def filter_order(s: Pair, shape: Shape, kept: int, blocks: int) -> Pair:
    """A (kept, blocks) spectrum in natural order, as the kernels multiply by it."""
    return _map(lambda p: to_kernel(_exactly(p, shape, kept, blocks), shape), s)


def natural_order(w: Pair, shape: Shape, kept: int, blocks: int) -> Pair:
    """The inverse of `filter_order`: zero at every frequency the filter does not have."""
    return _map(lambda p: _exactly(from_kernel(p, shape), shape, kept, blocks), w)


def _exactly(values: Array, shape: Shape, kept: int, blocks: int) -> Array:
    """Rows computed beyond those kept (there are 16 at least) hold zeros."""
    same = shape.kept * blocks == kept * shape.blocks
    return values if same else band(values, kept, blocks)


__all__ = [
    "Pair",
    "Shape",
    "Tables",
    "adjoint",
    "band",
    "factors_for",
    "filter_order",
    "from_kernel",
    "inverse",
    "multiply",
    "natural_order",
    "phases",
    "shape",
    "tables",
    "to_kernel",
    "transform",
    "unitary",
]
