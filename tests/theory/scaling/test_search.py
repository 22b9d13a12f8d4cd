"""The minimum found is never above that of scipy's multi-start search."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.theory.scaling.planted import chinchilla, objective, scipy_minimum
from theory import scaling

NEVER_WORSE = 1 + 1e-9
ROOT = Path(__file__).resolve().parents[3]


def logs(name: str) -> Path:
    folder = Path(os.environ.get("FARWIDE_LOGS", ROOT.parent / "shared" / "data"))
    path = folder / name
    if not path.is_file():
        pytest.skip(f"{name} is not here; set FARWIDE_LOGS to the folder that holds it")
    return path


def resampled(data, seed):
    """Rows drawn with replacement, as weights."""
    points = len(data["loss"])
    counts = np.random.default_rng(seed).multinomial(points, np.full(points, 1 / points))
    return {**data, "weight": counts.astype(float)}


def assert_never_worse(data, kind, density, steps=300):
    fit = scaling.fit("chinchilla", data, loss=kind)
    peer = scipy_minimum(data, kind, density=density, steps=steps)
    assert objective(fit.params, data, kind) <= peer * NEVER_WORSE


@pytest.mark.parametrize("kind", ["huber", "squared", "l1"])
def test_small_data_against_scipy(kind):
    assert_never_worse(chinchilla(22, 11, 0.01, small=True), kind, density=2)


def test_a_resample_of_small_data_against_scipy():
    assert_never_worse(resampled(chinchilla(22, 12, 0.01, small=True), 0), "huber", density=2)


@pytest.mark.slow
def test_real_runs_of_the_chinchilla_package():
    table = np.genfromtxt(logs("chinchilla_package_runs.csv"), delimiter=",", names=True)
    data = {name: table[name] for name in ("N", "D", "loss")}
    fit = scaling.fit("chinchilla", data)
    assert fit.status == "converged"
    assert objective(fit.params, data) <= scipy_minimum(data, density=2) * NEVER_WORSE


def test_real_runs_of_gadre():
    table = np.genfromtxt(
        logs("gadre_runs.csv"), delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    table = table[table["dataset"] == "c4_original"]
    data = {"N": table["params"], "D": table["tokens"], "loss": table["loss_c4_val"]}
    fit = scaling.fit("chinchilla", data)
    assert fit.status in ("converged", "at bound")
    assert objective(fit.params, data) <= scipy_minimum(data, density=2) * NEVER_WORSE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["huber", "l1"])
@pytest.mark.parametrize("case", range(12))
def test_many_data_sets_against_a_dense_grid(case, kind):
    noise, points, small = [(0.01, 22, True), (0.03, 30, True), (0.01, 60, False)][case % 3]
    data = chinchilla(points, 100 + case, noise, small=small)
    assert_never_worse(resampled(data, case) if case % 2 else data, kind, density=3, steps=1000)


@pytest.mark.slow
def test_bootstrap_replicates_against_a_dense_grid():
    """Replicates get fewer starts than a fit: at 240 points none is above scipy's minimum."""
    data = chinchilla(240, 7, 0.01)
    fit = scaling.fit("chinchilla", data, bootstrap=12, seed=5)
    order = np.lexsort((np.zeros(240), np.ones(240), data["loss"], data["N"], data["D"]))
    draws = np.random.default_rng([5, 0]).multinomial(240, np.full(240, 1 / 240), size=12)
    assert fit.bootstrap is not None
    for i, counts in enumerate(draws):
        weights = np.empty(240)
        weights[order] = counts
        weighted = {**data, "weight": weights}
        params = {name: values[i] for name, values in fit.bootstrap.items()}
        reached = objective(params, weighted)
        assert reached <= scipy_minimum(weighted, density=2, steps=1000) * NEVER_WORSE
