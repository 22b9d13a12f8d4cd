"""The learning-rate experiment end to end at a size of seconds, and its parabolas."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from experiments import mup_transfer as experiment
from experiments.mup_transfer import Arguments, Problem, Workload
from farwide.models import MLPConfig, mlp
from farwide.runlog import LogError

WORKLOAD = Workload("perceptron", (16, 64), 2, 16, 24, (-9.0, -7.0, -5.0, -3.0, 3.0, 15.0))


def blobs(workload: Workload, seeds: int, seed: int) -> Problem:
    """Three noisy patterns of 6 values."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, (seeds, workload.steps, workload.batch)).astype(np.int32)
    x = np.eye(3, 6)[y] * 3 + rng.standard_normal((*y.shape, 6))

    def make(width, parametrisation):
        del parametrisation
        return mlp(MLPConfig(width, workload.depth, 6, 3))

    return Problem(make, x.astype(np.float32), y)


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "PRESETS", {"smoke": (2, (WORKLOAD,))})
        patch.setattr(experiment, "problem", blobs)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, patched):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    folder = experiment.run(Arguments("smoke", out=out), Console(file=shown, width=160))
    return folder, shown.getvalue()


def test_results_table_and_picture(finished):
    folder, shown = finished
    found = json.loads((folder / "results.json").read_text())["results"]["perceptron"]
    for each in found.values():
        assert [row["width"] for row in each["rows"]] == [16, 64]
        for row in each["rows"]:
            assert row["best_loss"] < 0.7 < np.log(3)
            assert f"{row['best_loss']:.4f}" in shown
            # far too large rates: worse than no training
            assert all(loss is None or loss > np.log(3) for loss in row["loss"][-2:])
        best = [row["log2_best"] for row in each["rows"]]
        assert each["log2_moved"] == pytest.approx(best[1] - best[0])
        assert each["moved_factor"] == pytest.approx(2 ** abs(each["log2_moved"]))
    # at the smallest width both are one model, and above it they are not
    assert found["mup"]["rows"][0] == found["standard"]["rows"][0]
    assert found["mup"]["rows"][1]["loss"] != found["standard"]["rows"][1]["loss"]
    assert (folder / "mup_transfer.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("patched")
def test_a_second_call_trains_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.delattr(experiment, "losses")
    experiment.run(Arguments("smoke", out=folder.parent), Console(file=io.StringIO()))
    with pytest.raises(LogError, match="another job"):
        experiment.run(Arguments("smoke", out=folder.parent, seed=1), Console(file=io.StringIO()))


def test_the_optimum_is_the_vertex_of_a_parabola():
    rates = np.arange(-8.0, -2.0)
    assert experiment.optimum(rates, (rates + 4.7) ** 2 + 1) == (pytest.approx(-4.7), True)
    assert experiment.optimum(rates, rates) == (-8.0, False)
    values = (rates + 4.7) ** 2
    values[4:] = np.inf  # diverged beside the lowest point
    assert experiment.optimum(rates, values) == (-5.0, False)


def test_movement_is_paired_by_seed():
    def parabola(at):
        return ((np.array(WORKLOAD.rates[:4]) - at) ** 2).tolist()

    workload = Workload("perceptron", (16, 64), 2, 1, 1, WORKLOAD.rates[:4])
    narrow, wide = [parabola(-6.0), parabola(-5.0)], [parabola(-7.0), parabola(-6.2)]
    found = experiment.summarise(workload, {"standard": {16: narrow, 64: wide}})["standard"]
    assert found["log2_moved"] == pytest.approx(-1.1)
    assert found["log2_moved_error"] == pytest.approx(0.1)
    assert found["rows"][0]["log2_best_error"] == pytest.approx(0.5)
    assert all(row["inside"] for row in found["rows"])


@pytest.mark.slow
def test_text_and_images_train_at_the_size_of_the_smoke_preset(tmp_path):
    console = Console(file=io.StringIO())
    folder = experiment.run(Arguments("smoke", out=tmp_path), console)
    found = json.loads((folder / "results.json").read_text())["results"]
    assert found["perceptron"]["mup"]["rows"][1]["best_loss"] < np.log(10)
    assert found["language model"]["mup"]["rows"][1]["best_loss"] < np.log(256)
