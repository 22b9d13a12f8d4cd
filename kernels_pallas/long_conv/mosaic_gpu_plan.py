"""How the Mosaic GPU kernels factor a transform, and the constant tables that they take.

A transform of `size` = radix * rows * columns points is

    n = (j rows + n1) columns + n2,          q = k0 + radix (k1 + rows k2),
    V[k0, n1, n2] = a[k0, n1] b[k0, n2] sum_j c[j, k0] x[j, n1, n2]        (radix > 1 only)
    Y[k0, k1, k2] = sum_n2 F2[n2, k2] T[k1, n2] sum_n1 F1[k1, n1] V[k0, n1, n2]

so that the two matrix products of each of the `radix` inner transforms contract 64 rows (the M of
wgmma) and 16 to 64 columns, and nothing is ever transposed. Order 2 is radix 1: then D, the twist
of the half-length form (docs/long_conv.md), is folded into F1 and T, and V = x is real. Order 3 is
radix 2, 4 or 8: then D is in a, b and c. A transform of fewer than 1024 points has fewer than 64
rows, so `stack` signals of a channel share one tile and F1 is block diagonal."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

SIZES = tuple(2**p for p in range(8, 16))  # 256 to 32768 points
DTYPES = ("bfloat16", "float16")
TILE_ROWS = 64  # M of wgmma
PROCESSORS = 132  # streaming multiprocessors of an H100


class Plan(NamedTuple):
    """The factors of a transform. `stack` signals make one tile of 64 rows."""

    radix: int
    rows: int
    columns: int
    stack: int

    @property
    def order(self) -> int:
        """2 or 3: how many factors the transform has."""
        return 2 if self.radix == 1 else 3


def plan(size: int) -> Plan:
    """The factors of a transform of `size` points, one of `SIZES`."""
    if size not in SIZES:
        raise ValueError(f"size is {size}; accepted: {', '.join(map(str, SIZES))}")
    radix = max(1, size // 4096)
    columns = max(16, min(64, size // 64))
    rows = size // (radix * columns)
    return Plan(radix, rows, columns, TILE_ROWS // rows)


class Shape(NamedTuple):
    """What a kernel is built for; `units` tiles of a channel are spread over `tiles` blocks."""

    plan: Plan
    units: int
    channels: int
    tiles: int
    dtype: str
    has_skip: bool
    has_pre: bool
    has_post: bool
    warpgroups: int  # in a block, at most
    interpret: bool


class Tables(NamedTuple):
    """Constants of a transform; planar, the real part first.

    Attributes:
      f1: (3, 64, 64) in the dtype of the signals: re, im and -im of F1, block diagonal.
      f2: (3, columns, columns) likewise, F2.
      twiddle: (2, 64, columns) float32, T.
      along_rows: (2, radix, 64) float32, a; None at order 2.
      along_columns: (2, radix, columns) float32, b; None at order 2.
      weights: complex (radix, radix), c[j, k0]: written into order 3's program as numbers.
    """

    f1: np.ndarray
    f2: np.ndarray
    twiddle: np.ndarray
    along_rows: np.ndarray | None
    along_columns: np.ndarray | None
    weights: np.ndarray


def tables(size: int, twisted: bool, dtype: str) -> Tables:
    """The constants, computed in float64 and rounded once."""
    radix, rows, columns, stack = plan(size)
    inner = rows * columns
    n1, n2 = np.arange(rows), np.arange(columns)
    f1 = _root(np.outer(n1, n1), rows)
    f2 = _root(np.outer(n2, n2), columns)
    twiddle = _root(np.outer(n1, n2), inner)
    along_rows = along_columns = None
    frequency = np.arange(radix) + (0.25 if twisted else 0.0)
    if radix > 1:
        along_rows = _planar(_root(np.outer(frequency, columns * n1), size))
        along_columns = _planar(_root(np.outer(frequency, n2), size))
    elif twisted:
        f1 = f1 * _root(0.25 * columns * n1, size)
        twiddle = twiddle * _root(0.25 * n2, size)
    f1 = np.kron(np.eye(stack), f1)
    twiddle = np.tile(twiddle, (stack, 1))
    return Tables(
        _three(f1).astype(jnp.dtype(dtype)),
        _three(f2).astype(jnp.dtype(dtype)),
        _planar(twiddle),
        along_rows,
        along_columns,
        _root(np.outer(np.arange(radix), frequency), radix),
    )


def to_kernel_order(
    s: Float[Array, "channels size"], size: int
) -> Float[Array, "channels radix 64 columns"]:
    """A spectrum's values as the kernels see them, [k0, k1, k2], repeated over the stack."""
    radix, rows, columns, stack = plan(size)
    ordered = s.reshape(-1, columns, rows, radix).transpose(0, 3, 2, 1)
    return jnp.tile(ordered, (1, 1, stack, 1))


def from_kernel_order(
    w: Float[Array, "channels radix 64 columns"], size: int
) -> Float[Array, "channels size"]:
    """The transpose of `to_kernel_order`: summed over the stack, in natural order."""
    radix, rows, columns, stack = plan(size)
    summed = w.reshape(-1, radix, stack, rows, columns).sum(2)
    return summed.transpose(0, 3, 2, 1).reshape(-1, size)


def to_segments(x: Array | None, size: int) -> Array | None:
    """Signals (batch, channels, length) as (batch', channels, radix, rows, columns).

    Padded with zeros to `size` points and to a whole number of stacks; free when nothing is padded.
    """
    if x is None:
        return None
    radix, rows, columns, stack = plan(size)
    batch, channels, length = x.shape
    missing = -batch % stack
    if missing or length != size:
        x = jnp.pad(x, ((0, missing), (0, 0), (0, size - length)))
    return x.reshape(batch + missing, channels, radix, rows, columns)


def from_segments(y: Array, batch: int, length: int) -> Array:
    """The inverse of `to_segments`."""
    flat = y.reshape(y.shape[0], y.shape[1], -1)
    return flat if flat.shape[::2] == (batch, length) else flat[:batch, :, :length]


def batch_tiles(channels: int, units: int) -> int:
    """Blocks over which the tiles of one channel are spread: 1 once the channels fill the device.

    Each block loads its own constants, which pays from about eight tiles up.
    """
    wanted = -(-2 * PROCESSORS // max(channels, 1))
    return max(1, min(wanted, units // 8))


def shape(dims: tuple[int, ...], dtype) -> jax.ShapeDtypeStruct:
    """Shorthand for the type of a kernel's result."""
    return jax.ShapeDtypeStruct(dims, dtype)


def _root(power: np.ndarray, points: int) -> np.ndarray:
    """exp(-2 pi i power / points)."""
    return np.exp(-2j * np.pi * (power % points) / points)


def _planar(z: np.ndarray) -> np.ndarray:
    return np.stack([np.real(z), np.imag(z)]).astype(np.float32)


def _three(z: np.ndarray) -> np.ndarray:
    return np.stack([np.real(z), np.imag(z), -np.imag(z)])
