"""Predicted scaling laws end to end at a size of seconds, and the pieces against known answers."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments import predict_scaling as experiment
from experiments.predict_scaling import Arguments
from experiments.predicting import networks
from experiments.predicting.kernels import Tiles
from experiments.predicting.regression import (
    Descent,
    Draw,
    Errors,
    descend,
    drawn,
    measured,
    regress,
)
from experiments.predicting.sets import patches, sequences
from experiments.predicting.verdicts import network_row
from farwide.models import Model, WideConfig, wide_model
from farwide.runlog import LogError
from theory import stax
from theory.spectra import log_log_exponent, predicted_curve


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    console = Console(file=shown, width=160)
    folder = experiment.run(Arguments("smoke", data="line-digits", out=out), console)
    return folder, shown.getvalue()


def test_a_pair_leaves_prediction_regression_networks_and_pictures(finished):
    folder, shown = finished
    pair = folder / "line-digits-cnn"
    prediction, regression, results = (
        json.loads((pair / f"{name}.json").read_text())
        for name in ("prediction", "regression", "results")
    )
    assert prediction["written"] <= regression["written"]
    assert (
        not (pair / "prediction.json").stat().st_mtime > (pair / "regression.json").stat().st_mtime
    )
    for name in ("ntk", "nngp"):
        predicted, measured = prediction[name], regression[name]
        assert predicted["n"] == measured["n"] == [8, 16, 32]
        np.testing.assert_allclose(predicted["test"], measured["error"], rtol=0.5)
        assert predicted["exponent"]["value"] == pytest.approx(
            float(log_log_exponent(predicted["n"], predicted["test"]))
        )
        assert measured["exponent"]["value"] == pytest.approx(
            float(log_log_exponent(measured["n"], measured["error"]))
        )
        assert f"{predicted['exponent']['value']:.3f}" in shown
    assert [(r["parametrisation"], r["width"]) for r in results["networks"]] == [
        (p, w) for p in ("ntk", "mup") for w in (4, 8)
    ]
    same = [r["by_draw"] for r in results["networks"] if r["width"] == experiment.WIDTH0]
    np.testing.assert_allclose(same[0], same[1])  # the two parametrisations are one there
    for row in results["networks"]:
        ratio = np.array(row["by_draw"]) / np.array(results["limit"]["by_draw"])
        np.testing.assert_allclose(row["log_distance"], np.log(ratio).mean(1))
    for picture in (pair / "prediction.png", folder / "summary.png"):
        assert picture.read_bytes()[:4] == b"\x89PNG"
    summary = json.loads((folder / "results.json").read_text())
    assert summary["environment"]["packages"]["jax"]
    assert [p["operator"] for p in summary["pairs"]] == ["cnn"]


def test_the_equations_are_set_beside_draws_of_their_own_points(finished):
    folder, shown = finished
    found = json.loads((folder / "line-digits-cnn" / "equations.json").read_text())
    for name in ("ntk", "nngp"):
        each = found[name]
        sampled = each["drawn"]
        np.testing.assert_allclose(
            np.array(each["test"]) / sampled["error"], each["ratio"], rtol=1e-12
        )
        np.testing.assert_allclose(each["ratio"], 1, atol=0.3)
        gap = each["exponent"] - sampled["exponent"]["value"]
        assert f"{gap:+.3f} ± {1.96 * sampled['exponent']['standard_error']:.3f}" in shown


def test_equations_are_exact_for_gaussian_features():
    rng, modes, N = np.random.default_rng(2), 800, [8, 16, 32]
    X = rng.standard_normal((400, modes))
    values = np.arange(1.0, modes + 1) ** -1.5
    K, y = (X * values) @ X.T, X @ (values**0.6)[:, None]
    K /= np.trace(K) / len(K)
    found, curve = drawn(K, y, N, 0.01, 0), predicted_curve(K, y, N, ridge=0.01, bias="kept")
    sigma = np.array(found["standard_error"]) / found["error"]
    assert (np.abs(np.log(found["error"] / curve.test)) < 4 * sigma + 0.02).all()
    slope = found["exponent"]
    assert slope["value"] == pytest.approx(curve.exponent.value, abs=4 * slope["standard_error"])


def test_every_part_of_a_draw_is_measured():
    rng = np.random.default_rng(3)
    X, T = rng.standard_normal((12, 20)), rng.standard_normal((5, 20))
    y, y_test = rng.standard_normal((12, 2)), rng.standard_normal((5, 2))
    found = measured([Draw(X @ X.T, T @ X.T, y)] * 2, y_test, [4, 10], 0.1)
    parts = [slice(0, 4), slice(4, 8), slice(8, 12)]
    errors = [
        ((regress(X[p] @ X[p].T, y[p], T @ X[p].T, 0.1) - y_test) ** 2).sum(1).mean() for p in parts
    ]
    assert found["error"][0] == pytest.approx(np.mean(errors))
    p = slice(0, 10)
    whole = ((regress(X[p] @ X[p].T, y[p], T @ X[p].T, 0.1) - y_test) ** 2).sum(1).mean()
    assert found["error"][1] == pytest.approx(whole)


def test_without_networks_and_with_two_choices_of_examples(tmp_path, monkeypatch):
    size = replace(experiment.PRESETS["smoke"], splits=2)
    monkeypatch.setitem(experiment.PRESETS, "smoke", size)
    asked = Arguments("smoke", data="line-digits", out=tmp_path, networks=False)
    shown = io.StringIO()
    folder = experiment.run(asked, Console(file=shown, width=200))
    pair = folder / "line-digits-cnn"
    results = json.loads((pair / "results.json").read_text())
    assert results["networks"] == []
    assert not list(pair.glob("networks-*"))
    one, two = (
        json.loads((path / "prediction.json").read_text()) for path in (pair, pair / "split-1")
    )
    assert one["ntk"]["exponent"] != two["ntk"]["exponent"]
    assert [s["ntk"]["predicted"] for s in results["splits"]] == [
        each["ntk"]["exponent"] for each in (one, two)
    ]
    assert "of 2 with every choice of examples" in shown.getvalue()


def test_test_and_pool_stay_where_the_spectrum_has_more_points():
    few, many = (sequences("line-digits", points, 60, 40, 3) for points in (50, 90))
    np.testing.assert_array_equal(few.y_pool, many.y_pool)
    np.testing.assert_array_equal(few.y_test, many.y_test)


@pytest.mark.parametrize(("failed", "kept"), [((), 5), ((1,), 4), ((0, 3), 3), ((0, 2, 3), 2)])
def test_networks_that_failed_are_left_out_and_most_must_not_have(failed, kept):
    rng = np.random.default_rng(4)
    limit = {"by_draw": (1 + rng.random((2, 5))).tolist()}
    pieces = []
    for i in range(2):
        squared: list = (2 + rng.random((5, 7))).tolist()
        for j in failed if i else ():  # at the second n
            squared[j] = None
        means = [None if s is None else float(np.mean(s)) for s in squared]
        pieces.append({"squared": squared, "by_draw": means, "steps": [9] * 5, "loss": [0.1] * 5})
    row = network_row(pieces, limit, [8, 16])
    assert (row["lost"], row["seeds"]) == (len(failed), kept)
    assert ("error" in row) == (kept >= 3)
    if kept >= 3:
        good = [j for j in range(5) if j not in failed]
        ratio = np.array([[p["by_draw"][j] for j in good] for p in pieces], float)
        ratio = ratio / np.array(limit["by_draw"])[:, good]
        np.testing.assert_allclose(row["log_distance"], np.log(ratio).mean(1))


def test_pieces_that_are_there_are_not_computed_again(finished, monkeypatch):
    folder, _ = finished
    again = Arguments("smoke", data="line-digits", out=folder.parent)
    pair = folder / "line-digits-cnn"
    lost = pair / "networks-mup-8-16.json"
    before = json.loads(lost.read_text())
    lost.unlink()
    (pair / "results.json").unlink()
    monkeypatch.setattr(experiment, "tiles_of", None)  # no kernel is computed
    experiment.run(again, Console(file=io.StringIO()))
    after = json.loads(lost.read_text())
    np.testing.assert_allclose(after["by_draw"], before["by_draw"], rtol=1e-4)
    with pytest.raises(LogError, match="another job"):
        experiment.run(
            Arguments("smoke", data="line-digits", out=folder.parent, seed=1),
            Console(file=io.StringIO()),
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"operator": "gru"}, "operator 'gru'; accepted are mlp"),
        ({"data": "mnist"}, "data 'mnist'"),
    ],
)
def test_unknown_names(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        experiment.run(Arguments("smoke", out=tmp_path, **given), Console(file=io.StringIO()))


def test_parts_are_disjoint_and_standardised():
    parts = sequences("digits", 300, 400, 100, 0)
    rows = np.concatenate([parts.points, parts.pool, parts.test]).reshape(800, -1)
    assert parts.points.shape == (300, 16, 4)
    # a few digits of the set are alike to the last pixel; parts that overlapped would have many
    assert len(np.unique(rows, axis=0)) > 795
    assert parts.points.mean() == pytest.approx(0, abs=1e-12)
    assert parts.points.std() == pytest.approx(1)
    np.testing.assert_allclose(parts.y_pool.sum(1), 0, atol=1e-12)
    with pytest.raises(ValueError, match="digits has 1797 examples"):
        sequences("digits", 1000, 700, 100, 0)


def test_patches_are_read_row_by_row():
    image = np.arange(16).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(patches(image, 2)[0, 1], [2, 3, 6, 7])
    np.testing.assert_array_equal(patches(image, 2)[0, 2], [8, 9, 12, 13])


def test_tiles_are_the_kernel():
    config = WideConfig("cnn", 5, 2, depth=1)
    x = np.random.default_rng(0).standard_normal((11, 5, 2))
    counted: list[int] = []
    tiles = Tiles(config.limit(), tile=4)
    own, cross = tiles.own(x, counted.append), tiles.cross(x[:6], x[6:], counted.append)
    assert sum(counted) == tiles.entries(11) + tiles.entries(6, 5)
    with jax.enable_x64(True):
        for name in ("ntk", "nngp"):
            whole = np.asarray(config.limit()(x, None, name))
            np.testing.assert_allclose(own[name], whole, rtol=1e-6)
            np.testing.assert_allclose(cross[name], whole[:6, 6:], rtol=1e-6)


def test_the_limit_of_training_ends_where_regression_does():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((40, 90))
    K, cross, y = (
        A @ A.T / 90,
        rng.standard_normal((7, 90)) @ A.T / 90,
        rng.standard_normal((40, 2)),
    )
    long = descend(K, y, cross, Descent(4000, 0.9, 0.0, 1.0))
    np.testing.assert_allclose(long["predictions"], regress(K, y, cross, 0.0), atol=1e-5)
    short = descend(K, y, cross, Descent(4000, 0.9, 0.01, 1.0))
    assert short["loss"] <= 0.02
    assert short["steps"] < 4000
    assert descend(K, y, cross, Descent(3, 0.9, 0.01))["steps"] == 3


@pytest.mark.parametrize("parametrisation", ["ntk", "mup"])
def test_a_linear_model_trains_as_its_limit(parametrisation):
    """Outputs linear in the parameters: the kernel does not move, at any width."""
    rng = np.random.default_rng(2)
    x, xt, y = (
        rng.standard_normal((12, 3, 4)),
        rng.standard_normal((5, 3, 4)),
        rng.standard_normal((12, 2)),
    )
    net = stax.serial(stax.Flatten(), stax.Dense(2, 1.0, None))

    model = Model(
        lambda key: net.init_fn(key, (1, 3, 4))[1],
        lambda params, inputs, key=None: net.apply_fn(params, inputs),
    )
    K, cross = (np.asarray(net.kernel_fn(a, b, "ntk"), float) for a, b in ((x, None), (xt, x)))
    how = Descent(60, 0.9, 0.01, 1.0)
    limit = descend(K, y, cross, how)
    yt = np.zeros((5, 2))
    (found,) = networks.train_all(
        model, how, networks.gamma_of(parametrisation, 64, 4), [(x, y)],
        [np.linalg.eigvalsh(K)[-1] / 12], (xt, yt), jax.random.split(jax.random.key(0), 1),
    )  # fmt: skip
    assert found.steps == limit["steps"]
    assert found.loss == pytest.approx(limit["loss"], rel=0.02)
    np.testing.assert_allclose(
        found.squared, (limit["predictions"] ** 2).sum(1), rtol=0.02, atol=1e-4
    )


def test_mup_moves_features_at_every_width_alike():
    """Of muP the hidden change in training does not fall with the width, of NTK as its root."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((8, 4, 2)), rng.standard_normal((8, 10))
    moved: dict[str, list[float]] = {"ntk": [], "mup": []}
    for width in (16, 144):
        model = wide_model(WideConfig("cnn", 4, 2, width=width, depth=1))
        for name, changes in moved.items():
            run = networks.trainer(model, Descent(30, 0.5, 0.0))
            gamma = networks.gamma_of(name, width, 4)
            params = model.init(jax.random.key(0))
            ends, _, _ = run(params, jnp.float32(x), jnp.float32(y), 0.02 / gamma**2, gamma)
            parts = zip(jax.tree.leaves(params), jax.tree.leaves(ends), strict=True)
            total = sum(float(jnp.sum((b - a) ** 2)) for a, b in parts)
            changes.append(total**0.5)
    # the distance that all parameters move: constant in NTK parametrisation, root of width in muP
    assert moved["ntk"][1] / moved["ntk"][0] == pytest.approx(1, abs=0.4)
    assert moved["mup"][1] / moved["mup"][0] == pytest.approx(3, rel=0.4)


def test_intervals_cover_over_draws_and_test_points():
    """Levels and exponents of a crossed design, in about 95% of repetitions."""
    rng = np.random.default_rng(4)
    n, hits, levels = [16, 64], 0, 0
    for _ in range(200):
        draw, point = 0.1 * rng.standard_normal((2, 5, 1)), 0.8 * rng.standard_normal((2, 1, 200))
        noise = 0.5 * rng.standard_normal((2, 5, 200))
        squared = np.array([1.0, 0.6])[:, None, None] * np.clip(
            1 + draw + point + noise, 0.01, None
        )
        found = Errors(n, squared).record()
        truth = np.array([1.0, 0.6]) * CLIPPED
        exponent = float(log_log_exponent(n, truth))
        hits += found["exponent"]["low"] <= exponent <= found["exponent"]["high"]
        levels += found["low"][0] <= truth[0] <= found["high"][0]
    assert 0.9 < hits / 200 <= 1
    assert 0.9 < levels / 200 <= 1


# the mean of max(1 + g, 0.01) with g normal of the variance above
_S = np.sqrt(0.01 + 0.64 + 0.25)
_draws = np.random.default_rng(5).standard_normal(2_000_000)
CLIPPED = float(np.clip(1 + _S * _draws, 0.01, None).mean())
