"""Pruned perceptrons: against the published integrals, trained ones, and limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from experiments.data_pruning import Setting, draw_error, maximum_margin
from tests.theory.spectra.random_designs import within
from theory.spectra import best_fraction, pruned_perceptron
from theory.spectra.pruning import cut_off

SETTINGS = [
    ("random", 0.5, 1.0),
    ("random", 2.0, 1.0),
    ("random", 6.0, 1.0),
    ("hard", 0.5, 0.5),
    ("hard", 3.0, 0.3),
    ("hard", 4.0, 0.1),
    ("easy", 0.5, 0.5),
    ("easy", 2.0, 0.2),
    ("easy", 4.0, 0.6),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_published_integrals_hold(setting):
    """In t, after the margins: Sorscher et al. 2022 for hard examples, and their complement."""
    keep, alpha, f = setting
    found = pruned_perceptron(alpha, f, keep)
    R, k, s = found.overlap, found.margin, np.sqrt(1 - found.overlap**2)
    gamma = np.inf if f == 1 else cut_off(f, keep)

    def inside(t, keep=keep):
        """Of z < gamma; easy ones are what is left of all."""
        all_of_them = norm.sf(-R * t / s)
        hard = all_of_them - norm.sf((gamma - R * t) / s)
        return all_of_them - hard if keep == "easy" else hard

    def edge(t, keep=keep):
        at_zero = np.exp(-(R**2) * t**2 / (2 * s**2))
        hard = at_zero - np.exp(-((gamma - R * t) ** 2) / (2 * s**2))
        return at_zero - hard if keep == "easy" else hard

    low = -40.0
    breaks = [b for b in (0.0, gamma / R) if low < b < k]
    first = quad(lambda t: norm.pdf(t) * inside(t) * (k - t) ** 2, low, k, points=breaks, limit=400)
    second = quad(lambda t: norm.pdf(t) * edge(t) * (k - t), low, k, points=breaks, limit=400)
    assert 2 * alpha / f * first[0] == pytest.approx(s**2, rel=1e-6)
    scale = 2 * alpha / (f * np.sqrt(2 * np.pi) * s)
    assert scale * second[0] == pytest.approx(R, rel=1e-6)
    assert found.error == pytest.approx(np.arccos(R) / np.pi, rel=1e-9)


def students(setting, dimension, draws):
    keep, alpha, f = setting
    rng = np.random.default_rng(SETTINGS.index(setting))
    each = Setting(keep, alpha, f)
    return np.array([draw_error(each, dimension, rng) for _ in range(draws)])


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_trained_students_err_as_predicted(setting):
    keep, alpha, f = setting
    errors = students(setting, 80, 40)
    expected = pruned_perceptron(alpha, f, keep).error
    assert abs(within(errors, expected)) < 3.5
    assert expected == pytest.approx(errors.mean(), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_trained_students_err_as_predicted_in_high_dimension(setting):
    keep, alpha, f = setting
    errors = students(setting, 300, 60)
    expected = pruned_perceptron(alpha, f, keep).error
    assert abs(within(errors, expected)) < 3
    assert expected == pytest.approx(errors.mean(), rel=0.03)


def test_the_trained_student_has_the_largest_margin():
    """Against the definition: no direction found from many starts has a larger one."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 4))
    X[:, 0] = np.abs(X[:, 0]) + 0.2
    w = maximum_margin(X)
    assert (X @ w).min() == pytest.approx(1, rel=1e-9)
    margin = 1 / np.linalg.norm(w)
    bound = minimize(
        lambda v: v @ v,
        2 * w + 0.1,
        jac=lambda v: 2 * v,
        constraints={"type": "ineq", "fun": lambda v: X @ v - 1, "jac": lambda v: X},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert margin == pytest.approx(1 / np.sqrt(bound.fun), rel=1e-6)


def test_without_pruning_the_ways_agree_and_errors_fall_as_known():
    alphas = np.array([0.1, 1, 10, 100, 1000.0])
    errors = [pruned_perceptron(a).error for a in alphas]
    for keep in ("easy", "random"):
        assert [pruned_perceptron(a, 1.0, keep).error for a in alphas] == errors
    assert (np.diff(errors) < 0).all()
    # Gardner and Derrida 1989, Opper et al. 1990: 0.50/alpha for the maximally stable perceptron
    assert errors[-1] * 1000 == pytest.approx(0.5, abs=0.01)
    assert pruned_perceptron(1e-3).error == pytest.approx(0.5, abs=0.02)


def test_hard_where_data_are_plenty_and_easy_where_they_are_scarce():
    for alpha, better in ((0.5, "easy"), (1.0, "easy"), (4.0, "hard"), (8.0, "hard")):
        error = {k: pruned_perceptron(alpha, 0.2, k).error for k in ("hard", "easy", "random")}
        assert min(error, key=lambda k: error[k]) == better


def test_the_best_share():
    scarce = best_fraction(0.25, "hard", least=0.05)
    assert scarce.fraction == 1.0
    assert scarce.error == scarce.without
    plenty = best_fraction(4.0, "hard", least=0.05)
    assert plenty.at_bound
    assert plenty.error < 0.1 * plenty.without
    drawn = best_fraction(1.0, "easy", fixed="drawn", least=0.05)
    assert 0.4 < drawn.fraction < 0.8
    assert not drawn.at_bound
    assert drawn.error < 0.95 * drawn.without
    around = [
        pruned_perceptron(drawn.fraction * c, drawn.fraction * c, "easy").error
        for c in (0.97, 1.03)
    ]
    assert drawn.error <= min(around)


def test_keeping_the_hardest_beats_the_power_law():
    """1000 drawn for each dimension: from 2 to 4 kept the error falls by 40; at random by 1.7."""
    two, four = (pruned_perceptron(a, a / 1000).error for a in (2.0, 4.0))
    assert two / four > 30
    assert pruned_perceptron(2.0).error / pruned_perceptron(4.0).error < 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0}, "alpha must be"),
        ({"alpha": np.inf}, "alpha must be"),
        ({"alpha": 1, "fraction": 0}, "fraction must be"),
        ({"alpha": 1, "fraction": 1.1}, "fraction must be"),
        ({"alpha": 1, "keep": "best"}, "keep must be"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        pruned_perceptron(**arguments)
    with pytest.raises(ValueError, match="keep must be 'hard' or 'easy'"):
        best_fraction(1.0, "random")
    with pytest.raises(ValueError, match="fixed must be"):
        best_fraction(1.0, fixed="all")
    with pytest.raises(ValueError, match="least must be"):
        best_fraction(1.0, least=1.0)
