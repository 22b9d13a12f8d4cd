"""The closed-form frontier against numerical minimization, and its bands."""

import numpy as np
import pytest
from scipy import optimize

from tests.theory.scaling.planted import LARGE, SMALL, chinchilla
from theory import scaling


@pytest.mark.parametrize("law", [LARGE, SMALL, {**LARGE, "E": 0.0}])
def test_closed_form_is_the_numerical_minimum(law):
    C = np.geomspace(1e15, 1e26, 5)
    best = scaling.frontier(law, C)
    for i, budget in enumerate(C):

        def loss(log_n, budget=budget):
            n = np.exp(log_n)
            d = budget / 6 / n
            return law["E"] + law["A"] * n ** -law["alpha"] + law["B"] * d ** -law["beta"]

        found = optimize.minimize_scalar(
            loss, bounds=(0, np.log(budget)), method="bounded", options={"xatol": 1e-10}
        )
        assert best.loss[i] == pytest.approx(found.fun, rel=1e-12)
        assert np.log(best.N[i]) == pytest.approx(found.x, abs=1e-5)
    np.testing.assert_allclose(6 * best.N * best.D, C, rtol=1e-12)


def test_the_loss_follows_the_published_power_of_compute():
    """L* = E + K (C/6)^(-alpha beta / (alpha + beta)), K = A G^-alpha + B G^beta."""
    a, b = LARGE["alpha"], LARGE["beta"]
    G = (a * LARGE["A"] / (b * LARGE["B"])) ** (1 / (a + b))
    K = LARGE["A"] * G**-a + LARGE["B"] * G**b
    C = np.geomspace(1e18, 1e24, 4)
    expected = LARGE["E"] + K * (C / 6) ** (-a * b / (a + b))
    np.testing.assert_allclose(scaling.frontier(LARGE, C).loss, expected, rtol=1e-12)


def test_the_band_holds_the_frontier_and_the_truth():
    fit = scaling.fit("chinchilla", chinchilla(32, 0, 0.005, small=True), bootstrap=80)
    C = np.array([1e11, 1e12])
    low, high = scaling.frontier_interval(fit, C, level=0.98)
    for best in (scaling.frontier(fit, C), scaling.frontier(SMALL, C)):
        for lower, value, upper in zip(low, best, high, strict=True):
            assert np.all((lower <= value) & (value <= upper))


@pytest.mark.parametrize(
    ("params", "C", "message"),
    [
        ({**LARGE, "A": 0.0}, 1e20, "A = 0.0"),
        ({**LARGE, "E": -1.0}, 1e20, "E = -1.0"),
        (LARGE, -1.0, "C = -1.0"),
        ({"E": 1.0}, 1e20, "parameter 'A' is missing"),
    ],
)
def test_bad_input_is_named(params, C, message):
    with pytest.raises(ValueError, match=message):
        scaling.frontier(params, C)


def test_a_fit_of_another_form_is_refused():
    x = np.geomspace(1, 100, 8)
    with pytest.raises(ValueError, match="'m1'"):
        scaling.frontier(scaling.fit("m1", {"x": x, "y": 1 / x}), 1e20)
