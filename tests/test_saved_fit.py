"""fit.json: read back, it is the fit that was saved."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from farwide import fitting
from farwide.fitting import load_fit, parse_hold_out, save_fit
from farwide.runlog import LogError
from farwide.tables import Removal, Table
from tests.runlog.folders import law

REPLICATES = 40


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    N, D = (np.ravel(x) for x in np.meshgrid([1e4, 3e4, 1e5, 3e5], [1e6, 3e6, 1e7, 3e7]))
    columns = {
        "N": N, "D": D, "loss": law(N, D) * np.exp(0.003 * rng.standard_normal(16)),
        "run": np.array([f"run {i}" for i in range(16)]), "weight": np.ones(16),
    }  # fmt: skip
    table = Table(columns, tuple(f"a.csv:{i}" for i in range(16)), (Removal("a.csv:17", "bad"),))
    rule = parse_hold_out("C>1.7e13")
    found = fitting.fit_table(table, bootstrap=REPLICATES, seed=3, hold_out=rule)
    return fitting.with_comparison(replace(found, certainty=fitting.certainty(found.fit)), [])


@pytest.fixture(scope="module")
def path(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "fit.json"
    save_fit(path, fitted, command="farwide fit a.csv", settings={"columns": {"N": "params"}})
    return path


def test_it_is_the_same_fit(fitted, path):
    saved = load_fit(path)
    found, fit = saved.runs_fit, saved.runs_fit.fit
    assert fit.params == fitted.fit.params
    assert (fit.objective, fit.status, fit.notes) == (
        fitted.fit.objective, fitted.fit.status, fitted.fit.notes,
    )  # fmt: skip
    assert (fit.loss, fit.delta, fit.n_points, fit.seed) == ("huber", 1e-3, 13, 3)
    assert fit.bootstrap_status == fitted.fit.bootstrap_status
    np.testing.assert_array_equal(fit.residuals, fitted.fit.residuals)
    for name, draws in fitted.fit.bootstrap.items():
        np.testing.assert_allclose(fit.bootstrap[name], draws, rtol=1e-8)
    for name, column in fitted.table.columns.items():
        np.testing.assert_array_equal(found.table.columns[name], column)
    assert found.held is not None
    np.testing.assert_array_equal(found.held.columns["D"], fitted.held.columns["D"])
    assert found.held.origin == fitted.held.origin
    assert found.noise == fitted.noise
    assert found.left_out == fitted.left_out == (("a.csv:17", "bad"),)
    assert found.hold_out == fitted.hold_out
    assert found.comparison == fitted.comparison
    assert found.certainty == fitted.certainty
    assert found.certainty.profile["E"][0] < fit.params["E"] < found.certainty.profile["E"][1]
    assert (saved.level, saved.provenance["command"]) == (0.95, "farwide fit a.csv")


def test_it_predicts_as_it_did(fitted, path):
    fit = load_fit(path).runs_fit.fit
    at = {"N": 1e6, "D": 1e8}
    assert fit.predict(at) == fitted.fit.predict(at)
    for again, first in zip(
        fit.interval(at, noise=0.01, noise_df=5),
        fitted.fit.interval(at, noise=0.01, noise_df=5),
        strict=True,
    ):
        np.testing.assert_allclose(again, first, rtol=1e-7)


def test_draws_stand_on_one_line_a_parameter(path):
    text = path.read_text()
    assert len(text.splitlines()) < 400
    assert len(json.loads(text)["bootstrap"]["draws"]["E"]) == REPLICATES


def test_scores_are_in_the_file(fitted, path):
    saved = json.loads(path.read_text())
    errors = fitting.log_errors(fitted.fit, fitted.held)
    assert saved["hold_out"]["points"] == 3
    assert saved["hold_out"]["rmsle"] == pytest.approx(float(np.sqrt(np.mean(errors**2))))
    rms = float(np.sqrt(np.mean(fitted.fit.residuals**2)))
    assert saved["rmsle"] == {"rmsle": pytest.approx(rms), "points": 13}
    assert saved["held_out_points"][0]["residual"] == pytest.approx(errors[0])


def test_an_end_that_is_not_there_survives(fitted, tmp_path):
    open_ended = fitted.certainty._replace(profile={"E": (0.0, np.inf)}, condition=np.inf)
    save_fit(tmp_path / "fit.json", replace(fitted, certainty=open_ended))
    assert load_fit(tmp_path / "fit.json").runs_fit.certainty == open_ended


@pytest.mark.slow
def test_columns_that_follow_from_n_and_d(fitted, tmp_path):
    table = fitted.table
    gadre = fitting.fit_table(table, form="gadre", loss="squared", bootstrap=0)
    save_fit(tmp_path / "fit.json", gadre)
    found = load_fit(tmp_path / "fit.json").runs_fit
    assert found.fit.params == gadre.fit.params
    N, D = table.columns["N"], table.columns["D"]
    np.testing.assert_array_equal(found.table.columns["C"], 6 * N * D)


def test_a_fit_without_a_bootstrap_or_a_run(tmp_path):
    x = np.geomspace(1, 100, 8)
    table = Table({"x": x, "y": 2 * x**-0.3}, tuple("abcdefgh"))
    fitted = fitting.fit_table(table, form="m1", loss="squared", bootstrap=0)
    save_fit(tmp_path / "fit.json", fitted)
    found = load_fit(tmp_path / "fit.json").runs_fit
    assert found.fit.bootstrap is None
    assert found.held is None
    assert found.fit.delta is None
    assert found.fit.params == fitted.fit.params


BROKEN = {
    "no object": (lambda d: [], "expected a JSON object"),
    "schema": (lambda d: {**d, "schema": 2}, "schema is not 1"),
    "a sweep's own": (lambda d: {"schema": 1}, "missing form; it is no fit.json"),
    "form": (lambda d: {**d, "form": "m9"}, "form is 'm9'; accepted are"),
    "status": (lambda d: {**d, "status": "fine"}, "'fine' is not a valid Status"),
    "params": (lambda d: {**d, "params": {"E": None}}, "params.E is null; expected a number"),
    "params of another": (
        lambda d: {**d, "params": {**d["params"], "A": 1.0}}, "params.A is not what solver says",
    ),
    "solver": (lambda d: {**d, "solver": [1.0]}, r"theta = \[1.0\]; form 'chinchilla' has 5"),
    "certainty": (
        lambda d: {**d, "certainty": {**d["certainty"], "profile": {"E": 1.0}}},
        "certainty.profile.E is no pair",
    ),
    "comparison": (
        lambda d: {**d, "comparison": [{"form": "m1"}]}, r"missing comparison\[0\]\.aicc",
    ),
    "too few points": (lambda d: {**d, "points": d["points"][:3]}, "3 points .* are too few"),
    "points empty": (lambda d: {**d, "points": []}, "points is empty"),
    "points lack": (lambda d: {**d, "points": [{"N": 1.0}]}, r"points\[0\] lacks D"),
    "points odd": (lambda d: {**d, "points": [3]}, r"points\[0\] is no object"),
    "points text": (
        lambda d: {**d, "points": [{**d["points"][0], "N": "many"}]},
        "points: N holds something that is not a number",
    ),
    "points negative": (
        lambda d: {**d, "points": [{**d["points"][0], "N": -1.0}]},
        "points: N holds a number that is not above 0",
    ),
    "noise": (lambda d: {**d, "noise": {}}, "missing noise.sd"),
    "level": (lambda d: {**d, "level": "high"}, "level is a text, which it cannot be"),
    "draws": (
        lambda d: {**d, "bootstrap": {**d["bootstrap"], "draws": {"E": [1.0]}}},
        "bootstrap.draws.A is no list of numbers",
    ),
    "draws differ": (
        lambda d: {**d, "bootstrap": {**d["bootstrap"], "draws": {
            **d["bootstrap"]["draws"], "E": [1.0]}}},
        "lists of different lengths",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_damaged_file_is_named(path, tmp_path, case):
    change, reason = BROKEN[case]
    other = tmp_path / "fit.json"
    other.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(LogError, match=rf"fit\.json: .*{reason}"):
        load_fit(other)
