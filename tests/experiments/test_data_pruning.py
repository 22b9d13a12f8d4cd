"""Pruned perceptrons beside theory, end to end at a size of seconds."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from experiments import data_pruning as experiment
from experiments.data_pruning import Arguments, Size
from farwide.runlog import LogError

SIZE = Size(40, 20, (0.5, 4.0), (1.0, 0.3), (10.0,))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(experiment.PRESETS, "smoke", SIZE)
        folder = experiment.run(Arguments("smoke", out=out), Console(file=shown, width=160))
        yield folder, shown.getvalue()


def test_results_table_and_picture(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    assert results["counts"] == {"settings": 7, "within_3_standard_errors": 7}
    for rows in results["panels"].values():
        for row in rows:
            assert row["predicted"] == pytest.approx(row["measured"], rel=0.2)
            assert f"{row['measured']:.5f}" in shown
    theory = results["theory"]
    assert 1 < theory["easy_and_hard_equal_at"] < 4
    by_alpha = {row["alpha"]: row for row in theory["choices"]}
    assert by_alpha[0.5]["hard, kept fixed"]["fraction"] == 1
    assert by_alpha[4.0]["hard, kept fixed"]["at_bound"]
    assert results["environment"]["packages"]["scipy"]
    assert (folder / "data_pruning.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_call_trains_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.delattr(experiment, "one")
    monkeypatch.setattr(experiment, "answers", lambda alphas: {})
    monkeypatch.setattr(experiment, "save_png", lambda figure, path: None)
    monkeypatch.setattr(experiment, "draw", lambda panels, size: None)
    experiment.run(Arguments("smoke", out=folder.parent), Console(file=io.StringIO()))
    with pytest.raises(LogError, match="another job"):
        experiment.run(Arguments("smoke", out=folder.parent, seed=1), Console(file=io.StringIO()))
