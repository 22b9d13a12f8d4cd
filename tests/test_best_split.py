"""The best split of compute: the closed form, and the search that serves every other law."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.fitting.best_split import best_split, can_split
from tests.theory.scaling.planted import chinchilla
from theory import scaling

C = np.array([1e11, 1e13, 1e16])


@pytest.fixture(scope="module")
def data():
    return chinchilla(40, 0, 0.01, small=True)


@pytest.fixture(scope="module")
def fit(data):
    return scaling.fit("chinchilla", data, bootstrap=40)


def test_chinchilla_is_its_closed_form(fit, data):
    best = best_split(fit, C)
    at, band = scaling.frontier(fit, C), scaling.frontier_interval(fit, C)
    np.testing.assert_allclose(best.N, at.N)
    np.testing.assert_allclose(best.value, at.loss)
    for ours, theirs in (
        (best.N_band, [b.N for b in band]),
        (best.D_band, [b.D for b in band]),
        (best.value_band, [b.loss for b in band]),
    ):
        np.testing.assert_allclose(ours, theirs)
    ratios = fit.bootstrap
    draws = scaling.frontier({n: v[:, None] for n, v in ratios.items()}, C)
    expected = np.quantile(draws.D / draws.N, 0.025, axis=0, method="lower")
    np.testing.assert_allclose(best.ratio_band[0], expected)


def test_the_search_finds_the_closed_form(fit, data):
    """The same law as a form of another name, which has no closed form here."""
    law = fit.law
    other = scaling.Form("other", law.target, law.terms, law.domain)
    copy = scaling.restore(
        other, fit.data, fit.solution.theta, loss=fit.loss, delta=fit.delta, status=fit.status,
        bootstrap=fit.bootstrap, bootstrap_status=fit.bootstrap_status,
    )  # fmt: skip
    best, exact = (best_split(f, C) for f in (copy, fit))
    np.testing.assert_allclose(best.N, exact.N, rtol=1e-4)
    np.testing.assert_allclose(best.value, exact.value, rtol=1e-9)
    np.testing.assert_allclose(best.N_band, exact.N_band, rtol=1e-4)


@pytest.mark.slow
def test_kaplan_has_its_own(data):
    """min over N of [(N_c/N)^(a/b) + D_c 6N/C]^b: N^(1 + r) = r N_c^r C / (6 D_c), r = a/b."""
    fit = scaling.fit("kaplan", data, loss="squared")
    p = fit.params
    r = p["alpha_N"] / p["alpha_D"]
    exact = (r * p["N_c"] ** r * C / (6 * p["D_c"])) ** (1 / (1 + r))
    np.testing.assert_allclose(best_split(fit, C).N, exact, rtol=1e-5)


def test_a_replicate_without_a_minimum_widens_the_band(fit, data):
    draws = {name: values.copy() for name, values in fit.bootstrap.items()}
    draws["A"][:10] = 0.0
    spoilt = scaling.restore(
        "chinchilla", fit.data, fit.solution.theta, loss=fit.loss, delta=fit.delta,
        status=fit.status, bootstrap=draws, bootstrap_status=fit.bootstrap_status,
    )  # fmt: skip
    low, high = best_split(spoilt, C).N_band
    assert np.all(low == 0)
    assert np.all(np.isinf(high))


def test_a_law_without_a_split(data):
    flat = {**data, "loss": 30 * data["N"] ** -0.3}
    fit = scaling.fit("chinchilla", flat, loss="squared")
    with pytest.raises(ValueError, match="no minimum along C = 6 N D"):
        best_split(fit, C)
    line = scaling.fit("m1", {"x": data["N"], "y": data["loss"]}, loss="squared")
    with pytest.raises(ValueError, match="form m1 does not say"):
        best_split(line, C)
    assert not can_split(scaling.forms["muennighoff"])
    assert can_split(scaling.forms["muennighoff"], {"U": 1e9})
    assert can_split(scaling.forms["gadre"])
