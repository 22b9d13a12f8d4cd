"""Replicates and intervals: reproducible, by run, degenerate draws counted, coverage sane."""

import numpy as np
import pytest
from scipy import stats

from tests.theory.scaling.planted import SMALL, chinchilla
from theory import scaling
from theory.scaling import bootstrap as resampling


@pytest.fixture(scope="module")
def fit():
    return scaling.fit("chinchilla", chinchilla(24, 0, 0.01, small=True), bootstrap=200, seed=3)


def test_planted_parameters_lie_in_their_intervals(fit):
    for name, (low, high) in fit.interval(level=0.99).items():
        assert low <= SMALL[name] <= high, name
        assert low <= fit.params[name] <= high, name


def test_a_seed_gives_its_replicates_again_and_another_gives_others(fit):
    data = {name: fit.data[name] for name in ("N", "D", "loss")}
    again = scaling.fit("chinchilla", data, bootstrap=200, seed=3)
    other = scaling.fit("chinchilla", data, bootstrap=20, seed=4)
    for name, values in fit.bootstrap.items():
        np.testing.assert_array_equal(values, again.bootstrap[name])
    assert other.params == fit.params
    assert not np.array_equal(fit.bootstrap["E"][:20], other.bootstrap["E"])


def test_replicates_are_finite_and_counted(fit):
    assert sum(fit.bootstrap_status.values()) == 200
    assert fit.bootstrap_status["failed"] == 0
    for values in fit.bootstrap.values():
        assert values.shape == (200,)
        assert np.all(np.isfinite(values))


def test_a_replicate_is_the_fit_of_its_rows():
    """Replicates solved in the batch against the same rows fitted one set at a time."""
    data = chinchilla(32, 1, 0.01)
    fit = scaling.fit("chinchilla", data, bootstrap=3, seed=1)
    rng = np.random.default_rng([1, 0])
    order = np.lexsort((np.zeros(32), np.ones(32), data["loss"], data["N"], data["D"]))
    weights = rng.multinomial(32, np.full(32, 1 / 32), size=3)
    assert fit.bootstrap is not None
    for i, counts in enumerate(weights):
        rows = {name: np.repeat(column[order], counts) for name, column in data.items()}
        alone = scaling.fit("chinchilla", rows)
        assert alone.params["E"] == pytest.approx(fit.bootstrap["E"][i], rel=1e-5)


def test_runs_are_drawn_whole():
    rng = np.random.default_rng(0)
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    weights = np.array([1.0, 2.0, 1.0, 1.0, 3.0, 1.0, 0.0, 0.0])
    draws = resampling.draw(rng, 50, weights, groups, lambda w: np.zeros(len(w), bool))
    for row in draws.weights:
        counts = row[:6] / weights[:6]
        assert counts[0] == counts[1] == counts[2]
        assert counts[3] == counts[4]
        assert counts[0] + counts[3] + counts[5] == 3  # the run of weight zero is not drawn
        assert row[6] == row[7] == 0


def test_dependent_rows_widen_the_interval_when_the_runs_are_named():
    rng = np.random.default_rng(0)
    x = np.repeat(np.geomspace(1, 1e4, 8), 4)
    run = np.repeat(np.arange(8), 4)
    y = 2 * x**-0.3 * np.exp(0.05 * rng.normal(size=8)[run] + 0.002 * rng.normal(size=32))
    by_row = scaling.fit("m1", {"x": x, "y": y}, loss="squared", bootstrap=200)
    by_run = scaling.fit("m1", {"x": x, "y": y, "run": run}, loss="squared", bootstrap=200)
    widths = [np.ptp(f.interval()["c"]) for f in (by_row, by_run)]
    assert widths[1] > 1.4 * widths[0]


def test_draws_that_cannot_determine_the_law_are_redrawn_and_counted():
    # Three values of D, one of them in a single run: a third of the draws lack it.
    N = np.tile(np.geomspace(1e4, 1e6, 6), 3)[:13]
    D = np.repeat([1e5, 1e6, 1e7], 6)[:13]
    loss = SMALL["E"] + SMALL["A"] * N**-0.35 + SMALL["B"] * D**-0.38
    loss *= np.exp(0.005 * np.random.default_rng(0).normal(size=13))
    fit = scaling.fit("chinchilla", {"N": N, "D": D, "loss": loss}, bootstrap=40)
    assert fit.bootstrap_redrawn > 0
    assert fit.bootstrap_status is not None
    assert sum(fit.bootstrap_status.values()) == 40
    assert fit.bootstrap_status["unidentifiable"] == 0


def test_the_interval_of_predictions_is_the_quantiles_of_its_draws(fit):
    at = {"N": np.array([1e5, 1e6]), "D": 1e7}
    interval = fit.interval(at, level=0.9)
    draws = np.array(
        [
            fit.bootstrap["E"]
            + fit.bootstrap["A"] * n ** -fit.bootstrap["alpha"]
            + fit.bootstrap["B"] * 1e7 ** -fit.bootstrap["beta"]
            for n in at["N"]
        ]
    )
    np.testing.assert_allclose(interval.low, np.quantile(draws, 0.05, axis=1), rtol=1e-3)
    np.testing.assert_allclose(interval.high, np.quantile(draws, 0.95, axis=1), rtol=1e-3)


@pytest.mark.parametrize("df", [None, 4.0])
def test_noise_widens_a_prediction_by_its_own_quantiles(df):
    """With no doubt about the law the interval is that of the noise."""
    x = np.geomspace(1, 1e4, 12)
    fit = scaling.fit("m1", {"x": x, "y": 2 * x**-0.3}, bootstrap=50)
    interval = fit.interval({"x": 100.0}, level=0.9, noise=0.02, noise_df=df)
    law = stats.norm if df is None else stats.t(df)
    expected = fit.predict({"x": 100.0}) * np.exp(0.02 * law.ppf(0.95))
    assert interval.high.shape == ()
    assert interval.high == pytest.approx(expected, rel=1e-4)


def test_prediction_intervals_cover_new_runs():
    """Over planted data sets, near the nominal 90 percent of unseen runs fall inside."""
    inside = []
    for seed in range(12):
        data = chinchilla(40, 50 + seed, 0.01, small=True)
        train = {name: column[:28] for name, column in data.items()}
        fit = scaling.fit("chinchilla", train, bootstrap=60, seed=seed)
        interval = fit.interval(
            {"N": data["N"][28:], "D": data["D"][28:]}, level=0.9, noise=0.01, noise_df=5
        )
        new = data["loss"][28:]
        inside.append((interval.low <= new) & (new <= interval.high))
    # 144 dependent draws at 0.9: three standard errors of independent draws are 0.075
    assert 0.8 <= np.mean(inside) <= 1.0


def test_an_interval_without_replicates_says_how_to_get_one():
    fit = scaling.fit("chinchilla", chinchilla(24, 0, 0.01))
    assert fit.bootstrap is None
    with pytest.raises(ValueError, match="bootstrap=1000"):
        fit.interval()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 1.5}, "level = 1.5"),
        ({"noise": -1.0}, "noise = -1.0"),
        ({"noise": 0.1}, "give the data"),
        ({"data": {"N": 1.0, "D": 1.0}, "noise": 0.1, "noise_df": -2.0}, "noise_df = -2.0"),
    ],
)
def test_bad_interval_arguments_are_named(fit, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit.interval(**arguments)
