"""The integrator on problems with known solutions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import relative_max
from theory.predict.runge_kutta import FIFTH, FOURTH, NODES, TABLEAU, Problem, integrate, settle


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def test_the_tableau_meets_its_order_conditions():
    np.testing.assert_allclose(TABLEAU.sum(1), NODES, atol=1e-15)
    for weights, order in ((FIFTH, 5), (FOURTH, 4)):
        for q in range(order):
            assert weights @ NODES**q == pytest.approx(1 / (q + 1), abs=1e-15)
    assert FOURTH @ NODES**4 != pytest.approx(1 / 5, abs=1e-5)


@pytest.mark.parametrize(("rtol", "error"), [(1e-4, 3e-3), (1e-7, 3e-6), (1e-10, 3e-9)])
def test_an_oscillator_between_its_steps(rtol, error):
    def f(y, t):
        del t
        return {"x": y["v"], "v": -y["x"]}

    times = jnp.linspace(0.0, 20.0, 37)
    y0 = {"x": jnp.ones(1), "v": jnp.zeros(1)}
    out = jax.jit(lambda y0: integrate(Problem(f, y0, rtol=rtol), times))(y0)
    assert bool(out.reached.all())
    assert relative_max(out.y["x"][:, 0], np.cos(times)) < error


def test_times_enter_the_derivative():
    times = jnp.array([0.0, 0.3, 2.0])
    out = integrate(Problem(lambda y, t: jnp.cos(t) * y, jnp.ones(1)), times)
    assert relative_max(out.y[:, 0], np.exp(np.sin(times))) < 1e-8


def test_a_blow_up_is_reported_and_earlier_times_stand():
    times = jnp.array([0.5, 2.0])
    out = integrate(Problem(lambda y, t: y**2, jnp.ones(1), max_steps=500), times)
    assert out.reached.tolist() == [True, False]
    assert float(out.y[0, 0]) == pytest.approx(2.0, rel=1e-6)
    assert float(out.t) == pytest.approx(1.0, abs=0.05)
    assert int(out.count) <= 500


def test_rest_is_found_and_missed():
    out = settle(Problem(lambda y, t: 3 - y, jnp.zeros(1)))
    assert bool(out.reached[0])
    assert float(out.y[0, 0]) == pytest.approx(3.0, abs=1e-6)
    out = settle(Problem(lambda y, t: jnp.ones(1), jnp.zeros(1), max_steps=200))
    assert not bool(out.reached[0])
    assert bool(settle(Problem(lambda y, t: 0 * y, jnp.ones(1))).reached[0])
