from __future__ import annotations

import json

import numpy as np
import pytest

from farwide import fitting
from farwide.runlog import LogError, read_runs
from farwide.tables import read_table
from tests.runlog.folders import ALPHA, BETA, law, write_run, write_sweep

REPLICATES = 60  # one number for all tests: each costs a compilation


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    root = write_sweep(tmp_path_factory.mktemp("sweep"))
    write_run(root, "going", 4000, 260_000, 2.0, status=None)
    return root


@pytest.fixture(scope="module")
def fitted(sweep):
    return fitting.fit_runs(read_runs(sweep), bootstrap=REPLICATES)


def test_the_planted_law_is_recovered_without_the_held_out_run(fitted):
    assert str(fitted.fit.status) == "converged"
    assert fitted.fit.n_points == 18
    assert "big" not in fitted.table.columns["run"]
    assert fitted.held_out == ("big",)
    assert fitted.left_out == (("going", "it is unfinished"),)
    for name, planted in (("alpha", ALPHA), ("beta", BETA)):
        low, high = fitting.parameter_estimates(fitted.fit)[name][1:]
        assert low is not None
        assert high is not None
        assert low < planted < high


def test_n_counts_what_is_asked_for(sweep):
    fitted = fitting.fit_runs(read_runs(sweep), parameters="total", bootstrap=0)
    assert fitted.parameters == "total"
    assert fitted.table.columns["N"].min() == 5000


def test_too_few_runs_say_why(tmp_path):
    write_run(tmp_path, "a", 4000, 9000, 2.0)
    write_run(tmp_path, "b", 4000, 9000, 2.0, status="diverged")
    with pytest.raises(
        ValueError, match=r"1 usable points; .* at least 6 \(left out: b: it diverged"
    ):
        fitting.fit_runs(read_runs(tmp_path))


def test_unknown_form(sweep):
    with pytest.raises(ValueError, match="form is 'm9'; accepted are chinchilla"):
        fitting.fit_runs(read_runs(sweep), form="m9")


def test_the_objective_is_named_exactly(fitted, sweep):
    assert fitting.objective_name(fitted.fit) == (
        "sum of Huber(1e-3) of log residuals over 18 points"
    )
    squared = fitting.fit_runs(read_runs(sweep), bootstrap=0, loss="squared")
    assert fitting.objective_name(squared.fit) == ("sum of squared log residuals over 18 points")


def test_compute_optimal_exponents(fitted):
    exponents = fitting.compute_optimal_exponents(fitted.fit)
    params = fitted.fit.params
    assert exponents["a"].value == pytest.approx(
        params["beta"] / (params["alpha"] + params["beta"])
    )
    for estimate in exponents.values():
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
    assert sum(e.value for e in exponents.values()) == pytest.approx(1.0)


# Noise


def _noise(residuals, log_loss, points, runs=None, n_params=2, weights=None):
    runs = [str(i) for i in range(len(points))] if runs is None else runs
    return fitting.estimate_noise(
        np.array(residuals), np.array(log_loss), points, runs, n_params, weights
    )


def test_residuals_give_the_noise_where_no_run_is_repeated():
    noise = _noise([0.1, -0.1, 0.1, -0.1], [0.0] * 4, [(1.0,), (2.0,), (3.0,), (4.0,)])
    assert (noise.source, noise.df, noise.seed_sd, noise.seed_df) == ("residuals", 2, None, 0)
    assert noise.sd == pytest.approx(np.sqrt(0.04 / 2))


def test_seeds_are_pooled_over_their_groups():
    points = [(1.0,), (1.0,), (2.0,), (2.0,), (2.0,), (3.0,)]
    log_loss = [0.0, 0.2, 1.0, 1.0, 1.3, 5.0]
    noise = _noise([0.0] * 6, log_loss, points)
    assert noise.seed_df == 3
    assert noise.seed_sd == pytest.approx(np.sqrt((0.02 + 0.06) / 3))
    assert noise.replicates == (("0", "1"), ("2", "3", "4"))
    assert (noise.source, noise.sd) == ("seeds", noise.seed_sd)
    assert noise.df == 4  # of the residuals, which have more


def test_the_larger_of_the_two_is_taken():
    points = [(1.0,), (1.0,), (2.0,), (3.0,)]
    small, large = [0.01] * 4, [1.0] * 4
    log_loss = [0.0, 0.2, 1.0, 2.0]
    assert _noise(small, log_loss, points).sd == pytest.approx(np.sqrt(0.02))
    assert _noise(large, log_loss, points).sd == pytest.approx(np.sqrt(2.0))


def test_rows_of_one_run_are_no_replicates_and_count_once():
    points = [(1.0,), (1.0,), (2.0,), (2.0,)]
    noise = _noise([0.1] * 4, [0.0, 0.5, 1.0, 1.5], points, runs=["a", "a", "b", "c"], n_params=1)
    assert noise.replicates == (("b", "c"),)
    assert noise.residual_df == 2
    assert noise.residual_sd == pytest.approx(np.sqrt(0.01 * 3 / 2))


def test_rows_of_weight_zero_do_not_count():
    points = [(1.0,), (2.0,), (3.0,), (4.0,)]
    weights = np.array([1.0, 1.0, 1.0, 0.0])
    noise = _noise([0.1, 0.1, 0.1, 9.0], [0.0] * 4, points, weights=weights)
    assert noise.residual_sd == pytest.approx(np.sqrt(0.01 * 3 / 1))


def test_the_noise_of_a_sweep(fitted):
    noise = fitted.noise
    assert (noise.residual_df, noise.seed_df) == (13, 2)
    assert noise.sd == max(noise.residual_sd, noise.seed_sd)
    assert 0.001 < noise.sd < 0.004  # planted: 0.002
    assert "13 df" in noise.sentence


# Predictions


def _predict(fitted, **changes):
    arguments = {"run": "big", "N": 180_000, "D": 2_080_000, "flops": 2.3e12, **changes}
    return fitting.predict_run(fitted, **arguments)


def test_a_prediction_is_the_law_with_the_noise_of_one_run(fitted):
    prediction = _predict(fitted)
    at = {"N": prediction.N, "D": prediction.D}
    noise = fitted.noise
    whole = fitted.fit.interval(at, level=0.95, noise=noise.sd, noise_df=noise.df)
    law_only = fitted.fit.interval(at, level=0.95)
    assert prediction.loss == float(fitted.fit.predict(at))
    assert (prediction.low, prediction.high) == (float(whole.low), float(whole.high))
    assert prediction.low < law_only.low < prediction.loss < law_only.high < prediction.high
    assert prediction.low < law(180_000, 2_080_000) < prediction.high
    assert prediction.fitted_runs == tuple(fitted.table.columns["run"])
    assert prediction.max_fitted_flops == fitted.table.columns["flops"].max()
    assert prediction.extrapolation == pytest.approx(2.3e12 / (6 * 120_000 * 1_040_000))


def test_predictions_are_reproducible(fitted, sweep):
    again = fitting.fit_runs(reversed(read_runs(sweep)), bootstrap=REPLICATES)
    for name in ("loss", "low", "high"):
        assert getattr(_predict(again), name) == pytest.approx(
            getattr(_predict(fitted), name), rel=1e-9
        )


@pytest.mark.parametrize("name", ["N", "D", "flops"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_prediction_needs_positive_numbers(fitted, name, value):
    with pytest.raises(ValueError, match=f"{name} is .*; expected a positive number"):
        _predict(fitted, **{name: value})


def test_a_prediction_needs_a_bootstrap(sweep):
    fitted = fitting.fit_runs(read_runs(sweep), bootstrap=0)
    with pytest.raises(ValueError, match="bootstrap"):
        _predict(fitted)


def test_a_prediction_survives_its_file(fitted, tmp_path):
    prediction = _predict(fitted)
    path = tmp_path / "prediction.json"
    fitting.save_prediction(path, prediction)
    assert fitting.load_prediction(path) == prediction


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "schema is not 1"),
        ({"low": None}, "low is null"),
        ({"loss": "2"}, "loss is a text"),
        ({"run": 3}, "run is a number"),
        ({"fitted_runs": "abc"}, "fitted_runs is a text"),
    ],
)
def test_a_bad_prediction_file_is_named(fitted, tmp_path, change, reason):
    path = tmp_path / "prediction.json"
    fitting.save_prediction(path, _predict(fitted))
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(LogError, match=rf"prediction\.json: {reason}"):
        fitting.load_prediction(path)


# fit.json


def test_a_saved_fit_holds_the_numbers_and_where_they_come_from(fitted, tmp_path):
    path = tmp_path / "fit.json"
    fitting.save_fit(path, fitted, command="farwide fit runs", corpus="abc")
    saved = json.loads(path.read_text())
    estimates = fitting.parameter_estimates(fitted.fit)
    assert saved["params"] == {name: e._asdict() for name, e in estimates.items()}
    assert saved["objective"]["name"] == fitting.objective_name(fitted.fit)
    assert saved["status"] == "converged"
    assert saved["left_out"] == [{"run": "going", "reason": "it is unfinished"}]
    assert saved["held_out"] == ["big"]
    assert len(saved["points"]) == 18
    assert saved["noise"]["sd"] == fitted.noise.sd
    assert sum(saved["bootstrap"]["status"].values()) == REPLICATES
    assert saved["provenance"]["command"] == "farwide fit runs"
    assert saved["provenance"]["corpus"] == "abc"
    assert saved["provenance"]["packages"]["jax"]


def test_a_fit_without_a_bootstrap_saves_plain_numbers(sweep, tmp_path):
    fitted = fitting.fit_runs(read_runs(sweep), bootstrap=0)
    fitting.save_fit(tmp_path / "fit.json", fitted)
    saved = json.loads((tmp_path / "fit.json").read_text())
    assert saved["params"] == fitted.fit.params
    assert saved["bootstrap"] is None


def test_a_saved_fit_can_be_fitted_again(fitted, tmp_path):
    """The points in fit.json are enough to make the fit once more."""
    fitting.save_fit(tmp_path / "fit.json", fitted)
    points = json.loads((tmp_path / "fit.json").read_text())["points"]
    (tmp_path / "points.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    again = fitting.fit_table(read_table(tmp_path / "points.jsonl"), bootstrap=0)
    assert again.fit.params == pytest.approx(fitted.fit.params, rel=1e-9)


@pytest.mark.slow
def test_intervals_of_a_run_to_come_cover_as_often_as_they_say(tmp_path):
    """Coverage of 95% intervals at 3 times the compute, over 80 sweeps with Gaussian noise.

    A coverage of 0.95 falls below 0.87 in 80 trials with probability 0.4%.
    """
    inside = 0
    trials = 80
    for seed in range(trials):
        runs = read_runs(write_sweep(tmp_path / str(seed), seed=seed))
        fitted = fitting.fit_runs(runs, bootstrap=200)
        (held_out,) = [run for run in runs if run.role == "held_out"]
        final = held_out.final
        assert final is not None
        assert final.validation_loss is not None
        prediction = fitting.predict_run(
            fitted, held_out.run, final.params_non_embedding, final.tokens, final.flops
        )
        inside += prediction.low <= final.validation_loss <= prediction.high
    print(f"{inside} of {trials} inside")
    assert inside / trials >= 0.87
