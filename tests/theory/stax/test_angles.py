"""Angles against NumPy's, with their derivatives, in both precisions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory.stax.angles import COEFFICIENTS, arccos, arcsin

# Dense, and dense near both ends
COSINES = np.concatenate(
    [np.linspace(-1, 1, 10_001), 1 - 2.0 ** -np.arange(1, 53), 2.0 ** -np.arange(1, 53) - 1]
)


@pytest.mark.parametrize("dtype", COEFFICIENTS)
def test_it_is_arccos(dtype):
    c = COSINES.astype(dtype)
    with jax.enable_x64(True):
        got = arccos(jnp.asarray(c))
        assert got.dtype == dtype
        got = np.asarray(got)
    # 1 - |c| is exact, and the half angle is well conditioned in it
    half = np.arcsin(np.sqrt((1 - np.abs(c.astype(float))) / 2))
    expected = np.where(c < 0, np.pi - 2 * half, 2 * half)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_corners():
    with jax.enable_x64(True):
        got = arccos(jnp.array([1.0, -1.0, 0.0, 1.1, -1.1]))
        np.testing.assert_allclose(got, [0, np.pi, np.pi / 2, 0, np.pi], rtol=1e-15)
        assert jnp.isnan(arccos(jnp.nan))


def test_its_derivatives_are_those_of_arccos():
    with jax.enable_x64(True):
        c = jnp.linspace(-0.999, 0.999, 1001)
        for order in (1, 2):
            ours, theirs = arccos, jnp.arccos
            for _ in range(order):
                ours, theirs = jax.grad(ours), jax.grad(theirs)
            got, expected = jax.jit(lambda c, f=ours, g=theirs: (jax.vmap(f)(c), jax.vmap(g)(c)))(c)
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
        assert [float(jax.grad(arccos)(c)) for c in (1.0, -1.0, 1.5)] == [0, 0, 0]


@pytest.mark.parametrize("dtype", COEFFICIENTS)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_arcsin_is_arctan2(dtype, scale):
    small = 2.0 ** -np.arange(1, 40)
    t = np.concatenate([np.linspace(-1, 1, 10_001), small, -small, 1 - small]) * np.pi / 2
    k, d = (scale * np.sin(t)).astype(dtype), (scale * np.abs(np.cos(t))).astype(dtype)
    h = np.hypot(k, d)
    with jax.enable_x64(True):
        got = arcsin(jnp.asarray(k), jnp.asarray(d), jnp.asarray(h))
        assert got.dtype == dtype
        got = np.asarray(got)
    expected = np.arctan2(k.astype(float), d.astype(float))
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_the_derivatives_of_arcsin_are_those_of_arctan2():
    def ours(k, d):
        return arcsin(k, d, jnp.hypot(k, d))

    with jax.enable_x64(True):
        t = jnp.linspace(-1.57, 1.57, 101)
        k, d = 3 * jnp.sin(t), 3 * jnp.cos(t)
        for derivative in (jax.grad, jax.hessian):
            got, expected = (
                jax.jit(jax.vmap(derivative(f, (0, 1))))(k, d) for f in (ours, jnp.arctan2)
            )
            for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
        assert jax.grad(ours)(0.0, 2.0) == 0.5
