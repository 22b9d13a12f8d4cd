"""S4D's taps, against the finite filter, exponential integrals and dense sums."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.special import exp1

from farwide.models.filters import S4D, initial_poles, make_filter
from tests.theory.taps.sampling import assert_covariance, assert_moment, draws
from theory.taps import s4d
from theory.taps.s4d import poles

INITS = ("lin", "inv", "legs", "real")


def trained(params, raws):
    """C alone: real and imaginary part have variance 1/2."""
    still = jax.tree.map(lambda p: np.zeros(()), params)
    return {**still, "c": np.sqrt(0.5)}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


CASES = [(i, d) for i in INITS for d in ("zoh", "bilinear")]
QUICK = [("lin", "zoh"), ("legs", "bilinear")]


@pytest.mark.parametrize(("init", "discretisation"), [c if c in QUICK else slow(*c) for c in CASES])
def test_moments_are_those_of_the_finite_filter(init, discretisation):
    settings = {"init": init, "discretisation": discretisation, "dt_min": 0.02, "dt_max": 0.5}
    module = make_filter(S4D(states=6, **settings), 5, 8)
    second, ntk = draws(module, trained, 2000)
    moments = s4d(8, states=6, **settings)
    assert_moment(second, moments.matrix)
    assert_moment(ntk, moments.ntk_matrix)


@pytest.mark.parametrize("states", [2, 8, 64])
@pytest.mark.parametrize("init", INITS)
def test_poles_are_those_of_the_filter(init, states):
    np.testing.assert_allclose(poles(init, states), initial_poles(init, states), rtol=1e-9)


@pytest.mark.parametrize(("taps", "states"), [(40, 16), slow(200, 64)])
@pytest.mark.parametrize("init", INITS)
def test_zero_order_hold_is_a_sum_of_exponential_integrals(init, taps, states):
    """|exp(dt A) - 1|² has four terms, and the mean of exp(dt z) over log dt is E1 - E1."""
    low, high = 1e-3, 1e-1
    lags = np.arange(taps + 1)
    expected = np.zeros((taps, taps))
    for a in initial_poles(init, states):
        z = a * lags[:, None] + np.conj(a) * lags
        z[0, 0] = -1.0
        f = (exp1(-z * low) - exp1(-z * high)) / np.log(high / low)
        f[0, 0] = 1.0
        four = f[1:, 1:] - f[1:, :-1] - f[:-1, 1:] + f[:-1, :-1]
        expected += 2 / np.abs(a) ** 2 * four.real
    found = s4d(taps, states=states, init=init, dt_min=low, dt_max=high).matrix
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("discretisation", ["zoh", "bilinear"])
@pytest.mark.parametrize("init", INITS)
def test_the_mean_over_steps_is_a_dense_sum(init, discretisation):
    """Simpson's rule of 2 * 10^4 intervals in log dt, taps as powers."""
    low, high, taps = 0.01, 0.3, 24
    x = np.linspace(np.log(low), np.log(high), 20_001)
    w = np.full(len(x), 2.0)
    w[1::2], w[[0, -1]] = 4.0, 1.0
    w /= w.sum()
    dt = np.exp(x)
    z = initial_poles(init, 8)[:, None] * dt
    if discretisation == "zoh":
        power, gain = np.exp(z), (np.exp(z) - 1) * dt / z
    else:
        power, gain = (1 + z / 2) / (1 - z / 2), dt / (1 - z / 2)
    columns = (gain * np.sqrt(2 * w) * power ** np.arange(taps)[:, None, None]).reshape(taps, -1)
    expected = (columns @ columns.conj().T).real
    settings = {"init": init, "discretisation": discretisation, "dt_min": low, "dt_max": high}
    found = s4d(taps, states=8, **settings).matrix
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * expected.max())


def test_a_pole_that_a_step_brings_to_zero():
    """Bilinear, dt A = -2: A is 0 in discrete time, so k is 2 c dt / 2 at lag 0 and 0 later."""
    settings = {"init": "real", "discretisation": "bilinear", "dt_min": 2.0, "dt_max": 2.0}
    found = s4d(3, states=1, **settings).matrix
    np.testing.assert_allclose(found, np.diag([2.0, 0, 0]), rtol=1e-14)


def test_one_step_is_no_mean():
    """One real state: k(l) = 2 c (1 - exp(-dt)) exp(-dt l), c of variance 1/2."""
    found = s4d(5, states=1, init="real", dt_min=0.2, dt_max=0.2).matrix
    taps = (1 - np.exp(-0.2)) * np.exp(-0.2 * np.arange(5))
    np.testing.assert_allclose(found, 2 * np.outer(taps, taps), rtol=1e-13)


@pytest.mark.parametrize("init", INITS)
def test_moments_are_covariances_and_taps_do_not_know_how_many_they_are(init):
    long, short = (s4d(n, states=16, init=init, dt_max=0.5) for n in (60, 33))
    assert_covariance(long.matrix)
    assert long.ntk is None
    scale = short.matrix.max()
    np.testing.assert_allclose(long.truncated(33).matrix, short.matrix, rtol=0, atol=1e-12 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("init", ["lin", "inv"])
def test_a_thousand_taps_of_the_default_filter(init):
    """A few columns against exponential integrals."""
    taps, low, high = 1024, 1e-3, 1e-1
    columns = np.array([0, 1, 17, 300, 1023])
    expected = np.zeros((taps, len(columns)))
    lags = np.arange(taps + 1)[:, None]

    def mean(a, shift, other):
        z = a * lags[shift : taps + shift] + np.conj(a) * (columns + other)
        zero = z == 0
        z[zero] = -1.0
        f = (exp1(-z * low) - exp1(-z * high)) / np.log(high / low)
        return np.where(zero, 1.0, f)

    for a in initial_poles(init, 64):
        four = mean(a, 1, 1) - mean(a, 1, 0) - mean(a, 0, 1) + mean(a, 0, 0)
        expected += 2 / np.abs(a) ** 2 * four.real
    found = s4d(taps, init=init).matrix[:, columns]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"taps": 0}, "taps is 0; accepted"),
        ({"states": 0}, "states is 0; accepted"),
        ({"states": 5}, "states is 5; accepted"),
        ({"init": "hippo"}, "init is 'hippo'; accepted"),
        ({"discretisation": "euler"}, "discretisation is 'euler'; accepted"),
        ({"dt_min": 0.0}, r"dt_min is 0\.0; accepted"),
        ({"dt_min": 0.3}, r"dt_min is 0\.3; accepted is at most dt_max"),
        ({"dt_max": float("inf")}, "dt_max is inf; accepted"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        s4d(**{"taps": 8, **settings})
