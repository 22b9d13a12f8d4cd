"""Random features in four regimes beside theory, end to end at a size of seconds."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from experiments import random_features as experiment
from experiments.random_features import Arguments
from farwide.runlog import LogError
from theory import spectra


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    folder = experiment.run(Arguments("smoke", out=out), Console(file=shown, width=160))
    return folder, shown.getvalue()


def test_results_table_and_picture(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    assert set(results["panels"]) == set(experiment.PANELS)
    assert results["counts"] == {"settings": 16, "within_3_standard_errors": 16}
    for name, panel in results["panels"].items():
        which, kind = experiment.PANELS[name]
        for row in panel["rows"]:
            assert row["predicted"] == pytest.approx(row["measured"], rel=0.15)
            off = row["above_limit_predicted"] - row["above_limit"]
            assert abs(off) < 5 * row["above_limit_error"]
            # the panel is in the regime that it is named after
            other = "width" if which == "n" else "data"
            assert row["regime"]["data" if which == "n" else "width"] == kind
            assert row["regime"][other] != kind
            assert f"{row['measured']:.5f}" in shown
        assert panel["measured_slope"] == pytest.approx(panel["predicted_slope"], abs=0.15)
        assert panel["predicted_slope"] == pytest.approx(panel["exponent"], abs=0.15)
    assert results["environment"]["packages"]["numpy"]
    assert (folder / "random_features.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_call_draws_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.delattr(experiment, "one")
    experiment.run(Arguments("smoke", out=folder.parent), Console(file=io.StringIO()))
    with pytest.raises(LogError, match="another job"):
        experiment.run(Arguments("smoke", out=folder.parent, seed=1), Console(file=io.StringIO()))


def test_limits_are_those_of_the_same_draw():
    """With very many examples, or features, the error is the limit."""
    size = experiment.Size(30, 3, 3, (3,), 4)
    errors, limits = experiment.draw_errors(size, 200_000, 5, 0.0, True, 0)
    np.testing.assert_allclose(errors, limits, rtol=1e-3)
    errors, limits = experiment.draw_errors(size, 5, 200_000, 1e-9, True, 0)
    np.testing.assert_allclose(errors, limits, rtol=0.1)
    s = spectra.power_law(30, experiment.A, experiment.B)
    assert (limits > s.coefficients[-1]).all()
