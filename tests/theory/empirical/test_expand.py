"""Taylor expansions in parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory.empirical import linearize, taylor_expand


def cubic(p, x, power=1):
    return {"y": (x @ p["w"]) ** 3 * power, "z": p["b"] * (x @ p["w"])}


def points():
    keys = jax.random.split(jax.random.key(0), 5)
    at, to = (
        {"w": jax.random.normal(k, (4, 2)), "b": jax.random.normal(k, (2,))} for k in keys[:2]
    )
    return at, to, jax.random.normal(keys[2], (3, 4))


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_terms_of_a_cubic(degree):
    with jax.enable_x64(True):
        at, to, x = points()
        actual = jax.tree.map(np.asarray, taylor_expand(cubic, at, degree)(to, x, power=2))
        u, d = np.asarray(x @ at["w"]), np.asarray(x @ (to["w"] - at["w"]))
        b, s = np.asarray(at["b"]), np.asarray(to["b"] - at["b"])
    y = 2 * sum([u**3, 3 * u**2 * d, 3 * u * d**2, d**3][: degree + 1])
    z = sum([b * u, s * u + b * d, s * d][: degree + 1])
    np.testing.assert_allclose(actual["y"], y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(actual["z"], z, rtol=1e-12, atol=1e-12)


def test_linearize_is_the_first_order():
    at, to, x = points()
    linear = linearize(cubic, at)
    value, slope = jax.jvp(lambda p: cubic(p, x), (at,), (jax.tree.map(jnp.subtract, to, at),))
    np.testing.assert_allclose(linear(to, x)["y"], value["y"] + slope["y"], rtol=1e-5)


def test_relu_has_no_second_order():
    at, to, x = points()

    def f(p, x):
        return jax.nn.relu(x @ p["w"])

    np.testing.assert_allclose(
        taylor_expand(f, at, 2)(to, x), linearize(f, at)(to, x), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("degree", [-1, 1.0, True])
def test_wrong_degree(degree):
    with pytest.raises(ValueError, match=f"degree must be an int >= 0, got {degree}"):
        taylor_expand(cubic, {}, degree)
