"""Finite networks beside their limit, end to end at a size of seconds."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from experiments import width_to_ntk as experiment
from experiments.width_to_ntk import Arguments, Size
from farwide.runlog import LogError

SIZE = Size((16, 64, 256), (16, 256), 8, angles=9, steps=60)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "PRESETS", {"smoke": SIZE})
        folder = experiment.run(Arguments("smoke", out=out), Console(file=shown, width=120))
    return folder, shown.getvalue()


def test_kernels_approach_the_limit_at_the_root_of_the_width(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    for name in ("ntk_error", "nngp_error"):
        fitted = results["slopes"][name]
        assert fitted["value"] == pytest.approx(-0.5, abs=max(0.15, 3 * fitted["error"])), name
        assert f"{fitted['value']:.3f}" in shown
        assert results["rows"][-1][name]["value"] < 0.3
    assert -1.4 < results["slopes"]["ntk_change"]["value"] < -0.3
    assert results["environment"]["packages"]["jax"]
    assert (folder / "width_to_ntk.png").read_bytes()[:4] == b"\x89PNG"


def test_wide_networks_train_to_what_the_limit_says(finished):
    folder, _ = finished
    results = json.loads((folder / "results.json").read_text())
    draws = json.loads((folder / "width_256.json").read_text())
    f = np.array(draws["function"])
    mean, deviation = (np.array(results["limit"][name]) for name in ("mean", "deviation"))
    # eight functions: their mean is within 4 standard errors of the ensemble's, and a width's bias
    assert (np.abs(f.mean(0) - mean) < 4 * deviation / 8**0.5 + 0.1).all()
    assert f.std(0, ddof=1).mean() == pytest.approx(deviation.mean(), rel=0.5)
    assert 0.5 < results["rows"][-1]["inside_percentiles"] <= 1


def test_a_second_call_trains_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.setattr(experiment, "PRESETS", {"smoke": SIZE})
    monkeypatch.delattr(experiment, "networks")
    experiment.run(Arguments("smoke", out=folder.parent), Console(file=io.StringIO()))
    with pytest.raises(LogError, match="another job"):
        experiment.run(Arguments("smoke", out=folder.parent, seed=1), Console(file=io.StringIO()))


def test_a_slope_is_that_of_a_power_law():
    rows = [
        {"width": n, "ntk_error": {"value": 3 * n**-0.5, "error": 0.1 * n**-0.5}}
        for n in (16, 64, 256)
    ]
    found = experiment.slope(rows, "ntk_error")
    assert found["value"] == pytest.approx(-0.5)
    x = np.log([16, 64, 256])
    assert found["error"] == pytest.approx((0.1 / 3) / np.linalg.norm(x - x.mean()))
