"""The matrix-product transform against NumPy's FFT, outside of any kernel."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.long_conv import monarch
from kernels_pallas.long_conv.monarch import Pair
from tests.numerics import assert_accurate


def dot(a, b):
    return jnp.dot(a, b, precision="highest")


def reference(z, twisted, shape):
    """The unitary transform in complex128, zero at frequencies that `shape` leaves out."""
    n = np.arange(shape.size)
    d = np.exp(-0.5j * np.pi * n / shape.size) if twisted else 1.0
    return np.where(n % shape.blocks < shape.kept, np.fft.fft(z * d, norm="ortho"), 0)


@pytest.mark.parametrize("twisted", [True, False])
@pytest.mark.parametrize(
    ("factors", "kept", "blocks"),
    [
        ((16, 16), 1, 1),
        ((64, 16), 1, 4),
        ((16, 128), 1, 1),
        ((16, 16, 16), 1, 1),
        ((32, 16, 32), 2, 4),
    ],
)
def test_transform_and_inverse(factors, kept, blocks, twisted):
    shape = monarch.shape(factors, twisted, kept, blocks)
    assert (shape.kept, shape.blocks) == (kept, blocks)
    assert shape.rows == factors[0] * kept // blocks
    tables = monarch.tables(shape, jnp.float32)
    rng = np.random.default_rng(0)
    x, imaginary = rng.standard_normal((2, shape.size))
    real, im = (jnp.asarray(a, jnp.float32).reshape(shape.signal) for a in (x, imaginary))
    for given, z in ((real, x), (Pair(real, im), x + 1j * imaginary)):
        made = monarch.transform(shape, tables, dot, given)
        assert made.re.shape == shape.spectrum
        expected = reference(z, twisted, shape)
        assert_accurate(monarch.from_kernel(made.re, shape), expected.real)
        assert_accurate(monarch.from_kernel(made.im, shape), expected.imag)
        n = np.arange(shape.size)
        d = np.exp(-0.5j * np.pi * n / shape.size) if twisted else 1.0
        back = np.conj(d) * np.fft.ifft(expected, norm="ortho")
        assert_accurate(monarch.inverse(shape, tables, dot, made).reshape(-1), back.real)
        both = monarch.inverse(shape, tables, dot, made, real=False)
        assert_accurate(
            np.stack([both.re.reshape(-1), both.im.reshape(-1)]), np.stack([back.real, back.imag])
        )


@pytest.mark.parametrize("factors", [(16, 32), (16, 32, 64)])
def test_kernel_order_is_a_permutation(factors):
    shape = monarch.shape(factors, True)
    q = jnp.arange(3 * shape.size).reshape(3, shape.size)
    ordered = monarch.to_kernel(q, shape)
    assert ordered.shape == (3, *shape.spectrum)
    np.testing.assert_array_equal(monarch.from_kernel(ordered, shape), q)
    k1, k2 = 5, 7
    row = (k1, k2) if len(factors) == 2 else (k2 * factors[0] + k1, 11)
    frequency = k1 + factors[0] * (k2 if len(factors) == 2 else k2 + factors[1] * 11)
    assert ordered[0][row] == frequency


def test_sixteen_rows_at_least():
    assert monarch.shape((16, 16), True, 1, 4).rows == 16
    assert monarch.shape((64, 64), True, 1, 16).rows == 16
    few = monarch.shape((64, 64), True, 1, 16)
    ones = jnp.ones((1, few.size))
    s = monarch.filter_order(Pair(ones, ones), few, 1, 16)
    assert s.re.sum() == few.size // 16  # the rows beyond those kept are zero
    w = monarch.natural_order(Pair(s.re + 1, s.im + 1), few, 1, 16)
    np.testing.assert_array_equal(w.re[0] != 0, np.arange(few.size) % 16 == 0)


@pytest.mark.parametrize("factors", [(256,), (8, 32), (16, 24), (16, 16, 16, 16)])
def test_bad_factors(factors):
    with pytest.raises(ValueError, match="factors are"):
        monarch.shape(factors, True)


def test_long_twiddles_are_accurate():
    slope, count, period = np.arange(32) + 0.25, 1024, 32768.0
    pair = monarch.phases(slope, count, period)
    expected = np.exp(-2j * np.pi * np.outer(slope, np.arange(count)) / period)
    assert np.abs(np.asarray(pair.re) - expected.real).max() < 2e-7
    assert np.abs(np.asarray(pair.im) - expected.imag).max() < 2e-7
