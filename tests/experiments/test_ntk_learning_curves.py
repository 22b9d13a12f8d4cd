"""Learning curves predicted from a spectrum, end to end on images made here."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from experiments import ntk_learning_curves as experiment
from experiments.ntk_learning_curves import Arguments, Size
from farwide.data import LabelledImages
from farwide.runlog import LogError

SIZE = Size("blobs", 300, 300, 400, 6, 60)


def blobs() -> LabelledImages:
    """Three classes of noisy patterns of 6 x 6."""
    rng = np.random.default_rng(0)
    patterns = rng.standard_normal((3, 6, 6, 1))
    y = rng.integers(0, 3, 1000)
    x = (0.6 * patterns[y] + rng.standard_normal((1000, 6, 6, 1))).astype(np.float32)
    return LabelledImages("blobs", x[:600], y[:600], x[600:], y[600:], ("a", "b", "c"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(experiment.PRESETS, "smoke", SIZE)
        patch.setattr(experiment, "DATA", {"blobs": blobs})
        folder = experiment.run(Arguments("smoke", out=out), Console(file=shown, width=160))
        yield folder, shown.getvalue()


def test_results_table_and_picture(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    for name in ("ntk", "nngp"):
        found = results["kernels"][name]
        assert [row["n"] for row in found["curve"]] == experiment.sizes(SIZE)
        assert {300 // 50, 75, 150} <= {row["n"] for row in found["curve"]}
        ratios = found["ratios"]
        assert ratios["corrected, worst to M/4"] < 0.2
        assert ratios["corrected, worst to M/2 at any ridge"] < 0.25
        assert ratios["uncorrected"][-1] < 0.7  # half of the points: an error without correction
        assert np.abs(np.array(ratios["features"]) - 1).max() < 0.15
        for kind in ("n", "features"):
            assert found["predicted"][f"monotone_in_{kind}"]
        assert f"{found['curve'][0]['error'][0]:.4f}" in shown
    assert results["environment"]["packages"]["jax"]
    assert (folder / "ntk_learning_curves.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_call_computes_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.delattr(experiment, "grams")
    experiment.run(Arguments("smoke", out=folder.parent), Console(file=io.StringIO()))
    with pytest.raises(LogError, match="another job"):
        experiment.run(Arguments("smoke", out=folder.parent, seed=1), Console(file=io.StringIO()))


def test_training_images_are_no_spectrum_points(monkeypatch):
    """Kernel rows of the pool are not among those of the spectrum's points, and y goes with x."""
    monkeypatch.setattr(experiment, "DATA", {"blobs": blobs})
    g = experiment.grams("nngp", SIZE, 0)
    own, other = np.diag(g.points), np.diag(g.pool)
    assert np.abs(own[:, None] - other).min() > 0
    assert own.mean() == pytest.approx(1)
    assert g.y_points.shape == (300, 3)
    np.testing.assert_allclose(g.y_points.sum(1), 0, atol=1e-12)
    near = g.points - np.eye(300) * 10
    agree = (g.y_points[near.argmax(1)] == g.y_points).all(1).mean()
    assert agree > 0.6  # most have a neighbour of their class


def test_standard_errors_cover_draws_and_test_points():
    """A mean over draws that share a test set varies with that set too."""
    rng = np.random.default_rng(0)
    means, claimed = [], []
    for _ in range(300):
        of_points = rng.standard_normal(100)
        total = experiment.Sum((0.0,), 100)
        for _ in range(5):
            total.add(
                (of_points + 0.2 * rng.standard_normal() + 0.1 * rng.standard_normal(100))[None]
            )
        found = total.result()
        means.append(found["error"][0])
        claimed.append(found["standard_error"][0])
    assert np.std(means) == pytest.approx(np.mean(claimed), rel=0.2)
