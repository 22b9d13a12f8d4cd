from __future__ import annotations

import numpy as np
import pytest

from tests.theory.scaling.planted import chinchilla
from theory import scaling


def again(fit, **changes):
    fields = {
        "form": fit.form, "data": fit.data, "theta": fit.solution.theta.tolist(),
        "loss": fit.loss, "delta": fit.delta, "tau": fit.tau, "status": str(fit.status),
        "notes": fit.notes, "bootstrap": fit.bootstrap, "bootstrap_status": fit.bootstrap_status,
        "bootstrap_redrawn": fit.bootstrap_redrawn, "seed": fit.seed, **changes,
    }  # fmt: skip
    return scaling.restore(**fields)


def planted(form):
    rng = np.random.default_rng(0)
    if form == "m4":
        x = np.geomspace(1, 1e4, 20)
        y = (0.2 + 2 * x**-0.5) * np.exp(0.01 * rng.standard_normal(20))
        return {"x": x, "y": y}
    return {**chinchilla(40, 1, 0.01, small=True), "run": np.repeat(np.arange(20), 2)}


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("chinchilla", {"bootstrap": 20}),
        pytest.param("kaplan", {"loss": "squared"}, marks=pytest.mark.slow),
        pytest.param("gadre", {"loss": "asymmetric", "tau": 0.3}, marks=pytest.mark.slow),
        pytest.param("m4", {"loss": "l1"}, marks=pytest.mark.slow),
    ],
)
def test_it_is_the_fit(form, options):
    fit = scaling.fit(form, planted(form), **options)
    found = again(fit)
    assert found.params == fit.params
    assert found.objective == fit.objective
    np.testing.assert_array_equal(found.residuals, fit.residuals)
    assert (found.status, found.notes, found.n_points) == (fit.status, fit.notes, fit.n_points)
    assert (found.loss, found.delta, found.tau) == (fit.loss, fit.delta, fit.tau)
    for name in fit.data:
        np.testing.assert_array_equal(found.data[name], fit.data[name])
    ours, theirs = found.covariance(), fit.covariance()
    np.testing.assert_array_equal(ours.matrix, theirs.matrix)
    if fit.bootstrap is not None:
        assert found.interval() == fit.interval()
        assert found.bootstrap_status == fit.bootstrap_status


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"theta": [1.0]}, "has 5 finite numbers"),
        ({"theta": [np.nan] * 5}, "has 5 finite numbers"),
        ({"bootstrap": {"E": [1.0]}}, r"bootstrap has \['E'\]"),
        ({"status": "fine"}, "'fine' is not a valid Status"),
        ({"form": "chinchila"}, "is unknown"),
        ({"data": {"N": [1.0]}}, "'D' is missing"),
    ],
)
def test_what_cannot_be_a_fit(change, reason):
    fit = scaling.fit("chinchilla", planted("chinchilla"), loss="squared")
    with pytest.raises(ValueError, match=reason):
        again(fit, **change)
