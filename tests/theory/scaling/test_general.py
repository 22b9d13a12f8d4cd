"""The automatic objective against the one by hand, and pulls against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import relative_max
from theory import scaling
from theory.scaling import general, newton
from theory.scaling.general import Pull, Pulled
from theory.scaling.laws import saturating
from theory.scaling.losses import Shape
from theory.scaling.precision import float64_on_host


@pytest.mark.parametrize("name", ["chinchilla", "shape"])
@pytest.mark.parametrize("shape", [Shape(0.05), Shape(np.inf), Shape(0.05, 0.2)])
def test_a_power_sum_has_the_same_derivatives_either_way(name, shape):
    form = scaling.forms[name]
    rng = np.random.default_rng(0)
    rows, params = 30, len(form.params)
    u, v = rng.normal(size=(2, rows)), rng.normal(size=rows) * 0.1
    w = rng.poisson(1.0, size=(2, rows)).astype(float)
    theta = rng.uniform(0.2, 0.6, size=(params, 2))
    with float64_on_host():
        by_hand = jax.jit(newton.evaluate, static_argnums=0)(form.structure, theta, u, v, w, shape)
        automatic = jax.jit(general.evaluate, static_argnums=0)(form.basis, theta, u, v, w, shape)
        for ours, theirs in zip(by_hand, automatic, strict=True):
            assert relative_max(np.asarray(ours), np.asarray(theirs)) < 1e-11


def test_a_pull_adds_its_square():
    form = scaling.forms["m2"]
    rng = np.random.default_rng(1)
    u, v = rng.normal(size=(1, 20)), rng.normal(size=20) * 0.1
    w = np.ones((3, 20))
    theta = rng.uniform(0.3, 0.6, size=(3, 3)) * np.array([[1], [1], [-1]])

    def quantities(t, constants):
        return jnp.stack([jnp.log(t[0]) * constants[0], t[1] * t[2]])

    pull = Pull(
        np.array([[1.0, 0], [0, 1], [1, 0]]), np.array([0.3, -0.2, 0.1]), np.array([5.0, 2, 0]),
        np.array([1.5]),
    )  # fmt: skip

    def direct(t, i):
        f = t[0] * jnp.exp(t[2] * u[0]) + t[1]
        select, aim, stiffness = (jnp.asarray(part)[i] for part in pull[:3])
        q = quantities(t, pull.constants) @ select
        return 0.5 * jnp.sum((v - jnp.log(f)) ** 2) + 0.5 * stiffness * (q - aim) ** 2

    with float64_on_host():
        found = jax.jit(general.evaluate, static_argnums=0)(
            Pulled(form.basis, quantities), theta, u, v, w, Shape(np.inf), pull
        )
        slopes, curves = (jax.jit(part(direct)) for part in (jax.grad, jax.hessian))
        lower = np.tril_indices(3)
        for i in range(3):
            at = jnp.asarray(theta[:, i])
            assert float(found.value[i]) == pytest.approx(float(direct(at, i)), rel=1e-12)
            slope = np.asarray(slopes(at, i))
            np.testing.assert_allclose(found.gradient[:, i], slope, rtol=1e-10, atol=1e-11)
            curve = np.asarray(curves(at, i))[lower]
            np.testing.assert_allclose(found.hessian[:, i], curve, rtol=1e-9, atol=1e-10)


def test_the_level_of_m4_solves_its_equation_and_so_do_its_derivatives():
    rng = np.random.default_rng(2)
    z, a, r = rng.uniform(-8, 8, 200), rng.uniform(0.05, 4, 200), rng.uniform(0.01, 0.95, 200)
    with float64_on_host():
        phi = np.exp(np.asarray(saturating.level(*map(jnp.asarray, (z, a, r)))))
        inside = (phi - r > 1e-4) & (1 - phi > 1e-4)
        assert inside.sum() > 100
        left = np.log(phi - r) - a * np.log1p(-phi)
        np.testing.assert_allclose(left[inside], z[inside], atol=1e-10)

        def one(t):
            return saturating.level(t[0], t[1], t[2])

        # d log phi / dz = 1 / (phi (1/(phi - r) + a/(1 - phi))), and its own slope by differences
        at = jnp.array([0.4, 0.7, 0.2])
        value = float(np.exp(one(at)))
        slope = 1 / (value * (1 / (value - 0.2) + 0.7 / (1 - value)))
        assert float(jax.grad(one)(at)[0]) == pytest.approx(slope, rel=1e-12)
        gradient = jax.jit(jax.grad(one))
        curve = np.asarray(jax.jit(jax.hessian(one))(at))
        h = 1e-5
        for i in range(3):
            step = jnp.zeros(3).at[i].set(h)
            numeric = (gradient(at + step) - gradient(at - step)) / (2 * h)
            np.testing.assert_allclose(curve[i], np.asarray(numeric), rtol=1e-6, atol=1e-8)
