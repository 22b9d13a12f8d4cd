"""S4D: its initial poles, and the convolution that is a recurrence."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models.filters import S4D, S4DFilter, discretise, initial_poles
from tests.numerics import assert_close

INITS = ("lin", "inv", "legs", "real")


def hippo_legs(states):
    """The matrix of HiPPO-LegS, entry by entry (Gu et al. 2020, Eq. 8 of HiPPO)."""
    a = np.zeros((states, states))
    for n in range(states):
        for k in range(n + 1):
            a[n, k] = -(n + 1) if n == k else -(((2 * n + 1) * (2 * k + 1)) ** 0.5)
    return a


def test_legs_poles_are_those_of_the_normal_part_of_hippo():
    states = 16
    p = (np.arange(states) + 0.5) ** 0.5
    normal = hippo_legs(states) + np.outer(p, p)  # A = normal - p p^T
    expected = np.linalg.eigvals(normal)
    expected = expected[expected.imag > 0]
    found = initial_poles("legs", states)
    np.testing.assert_allclose(np.sort(found.imag), np.sort(expected.imag), atol=1e-10)
    np.testing.assert_allclose(expected.real, -0.5, atol=1e-10)
    np.testing.assert_allclose(found.real, -0.5)


def test_the_other_poles_follow_their_formulas():
    np.testing.assert_allclose(
        initial_poles("lin", 6), [-0.5, -0.5 + 1j * np.pi, -0.5 + 2j * np.pi]
    )
    np.testing.assert_allclose(
        initial_poles("inv", 4), [-0.5 + 4j / np.pi * 3, -0.5 + 4j / np.pi * (4 / 3 - 1)]
    )
    np.testing.assert_allclose(initial_poles("real", 3), [-1, -2, -3])


@pytest.mark.parametrize("how", ["zoh", "bilinear"])
def test_discretisation_is_the_recurrence_in_numpy(how):
    rng = np.random.default_rng(0)
    poles = -rng.uniform(0.1, 1, (2, 3)) + 1j * rng.uniform(0, 20, (2, 3))
    c = rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3))
    dt = np.array([0.05, 0.3])
    if how == "zoh":
        decay = np.exp(dt[:, None] * poles)
        b = (decay - 1) / poles
    else:
        half = dt[:, None] * poles / 2
        decay, b = (1 + half) / (1 - half), dt[:, None] / (1 - half)
    state, expected = np.zeros((2, 3), complex), []
    u = rng.normal(size=(50, 2))
    for now in u:
        state = decay * state + b * now[:, None]
        expected.append(2 * (c * state).sum(-1).real)
    recurrence = discretise(*(jnp.asarray(x) for x in (poles, c, dt)), how)
    taps = np.asarray(recurrence.taps(50))
    direct = [sum(taps[:, s] * u[t - s] for s in range(t + 1)) for t in range(50)]
    np.testing.assert_allclose(direct, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("how", ["zoh", "bilinear"])
@pytest.mark.parametrize("init", INITS)
def test_taps_are_the_impulse_response_of_the_steps(init, how):
    length = 77
    filter_ = S4DFilter(5, length, S4D(states=8, init=init, discretisation=how))
    params = jax.jit(filter_.init)(jax.random.key(0))

    @jax.jit
    def both(params):
        recurrence = filter_.apply(params, method="recurrence")
        impulse = jnp.zeros((length, 1, 5)).at[0].set(1.0)
        _, y = jax.lax.scan(recurrence.step, recurrence.start(1), impulse)
        return filter_.apply(params), y[:, 0].T

    taps, response = both(params)
    assert taps.shape == (5, length)
    assert_close(taps, response, "float32")


def test_taps_for_every_length_agree():
    filter_ = S4DFilter(2, 64, S4D(states=4))
    params = jax.jit(filter_.init)(jax.random.key(1))
    recurrence = jax.jit(partial(filter_.apply, method="recurrence"))(params)
    taps = jax.jit(recurrence.taps, static_argnums=0)
    longest = np.asarray(taps(64))
    for length in (1, 2, 7, 50):
        np.testing.assert_allclose(taps(length), longest[:, :length], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"states": 3}, "states is 3"),
        ({"states": 0}, "states is 0"),
        ({"init": "hippo"}, "init is 'hippo'"),
        ({"discretisation": "euler"}, "discretisation is 'euler'"),
        ({"dt_min": 0.0}, "dt_min is 0.0"),
        ({"dt_min": 1.0}, "dt_min is 1.0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        S4D(**settings)
