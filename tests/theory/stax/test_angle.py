"""The angle against NumPy's arctan2, with its derivative, in both precisions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory.stax.angle import COEFFICIENTS, angle

SMALL = 10.0 ** -np.arange(1, 15)
ANGLES = np.concatenate([np.linspace(0, np.pi, 10_001), SMALL, np.pi - SMALL])


@pytest.mark.parametrize("dtype", COEFFICIENTS)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_it_is_arctan2(dtype, scale):
    d = (scale * np.abs(np.sin(ANGLES))).astype(dtype)
    k = (scale * np.cos(ANGLES)).astype(dtype)
    with jax.enable_x64(True):
        got = angle(jnp.asarray(d), jnp.asarray(k))
        assert got.dtype == dtype
        got = np.asarray(got)
    expected = np.arctan2(d.astype(float), k.astype(float))
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_corners():
    with jax.enable_x64(True):
        d, k = jnp.array([0.0, 0.0, 0.0, 1.0]), jnp.array([0.0, 1.0, -1.0, 0.0])
        np.testing.assert_allclose(angle(d, k), [0, 0, np.pi, np.pi / 2], rtol=1e-15)


def test_its_derivatives_are_those_of_arctan2():
    with jax.enable_x64(True):
        d, k = jnp.abs(jnp.sin(ANGLES[1:-1])), jnp.cos(ANGLES[1:-1])
        for argument in (0, 1):
            got = jax.grad(lambda *dk: angle(*dk).sum(), argument)(d, k)
            expected = jax.grad(lambda *dk: jnp.arctan2(*dk).sum(), argument)(d, k)
            np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)
        assert jnp.array(jax.grad(angle, (0, 1))(0.0, 0.0)).tolist() == [0, 0]
