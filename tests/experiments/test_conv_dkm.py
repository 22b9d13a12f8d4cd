"""The convolutional sweep, end to end at a size of seconds, on images that are made here."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from experiments import conv_dkm as experiment
from experiments.conv_dkm import INF, Arguments
from farwide.data import DataError, LabelledImages
from farwide.runlog import LogError
from theory import dkm

JOB = replace(
    experiment.DEMO,
    train=60, test=40, counts=(6,), batch=20, steps=8, tuning_steps=4, rates=(1e-2,),
    prices=(INF, 1.0), seeds=2, exact=(("flattened", 30, 20),),
)  # fmt: skip


def made_images(*_):
    """Bars, upright or lying, at random places."""
    rng = np.random.default_rng(0)
    x = 0.1 * rng.random((100, 12, 12, 1)).astype(np.float32)
    y = rng.integers(0, 2, 100).astype(np.int32)
    for image, label, at in zip(x, y, rng.integers(2, 10, 100), strict=True):
        image[at if label else slice(None), slice(None) if label else at] += 1
    return LabelledImages("bars", x[:60], y[:60], x[60:], y[60:], ("upright", "lying"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(experiment.PRESETS, "smoke", JOB)
        patch.setattr(experiment, "images", made_images)
        folder = experiment.run(Arguments(preset="smoke", out=out), Console(file=shown, width=120))
    return folder, shown.getvalue()


def test_results_table_and_picture(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    assert [row["nu"] for row in results["rows"]] == ["inf", "1"]
    assert len(results["fits"]) == 4
    for each in results["fits"]:
        assert np.isfinite(each["train"]["value"])
        assert 0 <= each["test"]["accuracy"] <= 1
        assert each["test"]["log_likelihood"] < 0
        assert each["rate"] in JOB.rates
    assert [each["readout"] for each in results["exact"]] == ["flattened"]
    assert all(each["scores"]["accuracy"] > 0.7 for each in results["exact"])
    assert "inf (NNGP)" in shown
    assert results["environment"]["packages"]["jax"]
    assert (folder / "nu_sweep.png").read_bytes()[:4] == b"\x89PNG"


def test_means_and_errors_are_over_seeds(finished):
    folder, _ = finished
    results = json.loads((folder / "results.json").read_text())
    for row in results["rows"]:
        own = [f["test"]["accuracy"] for f in results["fits"] if f["nu"] == row["nu"]]
        assert row["accuracy"] == pytest.approx(np.mean(own))
        assert row["accuracy_error"] == pytest.approx(np.std(own, ddof=1) / 2**0.5)


def test_a_second_call_trains_nothing_and_another_job_is_refused(finished, monkeypatch):
    folder, _ = finished
    arguments = Arguments(preset="smoke", out=folder.parent, name=folder.name)
    monkeypatch.setattr(experiment, "images", made_images)
    monkeypatch.setitem(experiment.PRESETS, "smoke", JOB)
    monkeypatch.delattr(experiment, "fit")
    experiment.run(arguments, Console(file=io.StringIO()))
    monkeypatch.setitem(experiment.PRESETS, "smoke", replace(JOB, steps=9))
    with pytest.raises(LogError, match="another job"):
        experiment.run(arguments, Console(file=io.StringIO()))


def test_every_arm_sees_the_same_batches():
    x, y = np.arange(60.0), np.arange(60)
    one, two = (list(experiment.batches(x, y, JOB, 5, seed=3)) for _ in range(2))
    assert all((a[1] == b[1]).all() for a, b in zip(one, two, strict=True))
    assert len(np.unique(np.concatenate([b[1] for b in one[:3]]))) == 60  # an epoch


def test_a_rate_that_diverges_is_not_chosen(monkeypatch):
    job = replace(JOB, rates=(1e-2, 1e-3))

    def fit(job, nu, rate, *rest):
        if rate == 1e-2:
            raise dkm.Diverged("gram", np.inf, 3)
        return None, None, None

    monkeypatch.setattr(experiment, "fit", fit)
    monkeypatch.setattr(experiment, "scores", lambda *_: {"log_likelihood": -1.0})
    found = experiment.choose_rate(job, 1.0, made_images(), lambda done, total: None)
    assert found["rate"] == 1e-3
    assert found["held_back_log_likelihood"] == {"0.01": None, "0.001": -1.0}
    monkeypatch.setattr(experiment, "fit", lambda *_: fit(job, 1.0, 1e-2))
    with pytest.raises(dkm.Diverged, match="every learning rate"):
        experiment.choose_rate(job, 1.0, made_images(), lambda done, total: None)


@pytest.mark.parametrize(
    "given", [{"data": "cifar-10"}, {"folder": "anywhere"}], ids=["no folder", "no cifar"]
)
def test_cifar_needs_its_folder(given):
    with pytest.raises(DataError, match="--folder"):
        experiment.images(Arguments(**given))
