"""The coordinate check's figure and results at a size of seconds."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from experiments import coordinate_check as experiment
from experiments.coordinate_check import Arguments, Size
from farwide.runlog import LogError


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "PRESETS", {"smoke": Size((32, 256), 2, steps=2)})
        every = [key for key in experiment.CHECKS if key[0] == "perceptron" and key[1] == "adam"]
        patch.setattr(experiment, "CHECKS", every)
        yield


def test_results_figure_and_resumption(tmp_path, monkeypatch, patched):
    shown = io.StringIO()
    folder = experiment.run(Arguments("smoke", out=tmp_path), Console(file=shown, width=120))
    results = json.loads((folder / "results.json").read_text())
    found = results["checks"]
    assert set(found) == {"perceptron, adam, mup", "perceptron, adam, standard"}
    mup, standard = (each["slopes"]["hidden_2"]["value"] for each in found.values())
    assert abs(mup) < 0.1 < 0.2 < standard
    stored = json.loads((folder / "perceptron-adam-mup.json").read_text())
    change = np.array(stored["change"]["hidden_2"])
    assert change.shape == (2, 2, 2)  # widths, seeds, steps
    expected = np.sqrt((change[:, :, -1] ** 2).mean(1))
    np.testing.assert_allclose(found["perceptron, adam, mup"]["change"]["hidden_2"], expected)
    assert f"{mup:+.3f}" in shown.getvalue()
    assert (folder / "coordinate_check.png").read_bytes()[:4] == b"\x89PNG"
    monkeypatch.delattr(experiment, "check")
    experiment.run(Arguments("smoke", out=tmp_path), Console(file=io.StringIO()))
    with pytest.raises(LogError, match="another job"):
        experiment.run(Arguments("smoke", out=tmp_path, seed=1), Console(file=io.StringIO()))
