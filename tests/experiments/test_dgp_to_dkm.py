"""Deep Gaussian processes beside their limit, end to end at a size of seconds."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from experiments import dgp_to_dkm as experiment
from experiments.dgp_to_dkm import Arguments, Size
from farwide.runlog import LogError

SIZE = Size((8,), 4, 200, 500)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    pytest.importorskip("blackjax")
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(experiment.PRESETS, "smoke", SIZE)
        folder = experiment.run(Arguments(preset="smoke", out=out), Console(file=shown, width=120))
        yield folder, shown.getvalue()


def test_results_table_and_picture(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    machine = results["limit"]
    # Published: -5.54315753 and -6.670768, without jitter on the outputs' covariance.
    assert machine["objective"] == pytest.approx(-5.54315753, abs=2e-5)
    assert machine["nngp_objective"] == pytest.approx(-6.670768, abs=2e-5)
    assert machine["moved"] == pytest.approx(0.318, abs=5e-4)
    assert machine["converged"]
    assert [each["width"] for each in results["widths"]] == [8]
    for each in results["widths"]:
        assert each["error"] < 0.063 * 4 / each["width"] + 4 * each["noise_floor"]
        assert f"{each['error']:.4f}" in shown
    assert results["environment"]["packages"]["jax"]
    assert (folder / "dgp_to_dkm.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_call_samples_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.delattr(experiment, "finite")
    before = (folder / "width-8.json").read_bytes()
    experiment.run(Arguments(preset="smoke", out=folder.parent), Console(file=io.StringIO()))
    assert (folder / "width-8.json").read_bytes() == before
    arguments = Arguments(preset="smoke", out=folder.parent, seed=1)
    with pytest.raises(LogError, match="another job"):
        experiment.run(arguments, Console(file=io.StringIO()))


def test_the_figure_of_several_widths(tmp_path):
    rows = [
        {"width": n, "error": 0.3 / n, "standard_error": 0.1 / n, "noise_floor": 0.01 / n**0.5}
        for n in (4, 8, 16, 32)
    ]
    experiment.draw(tmp_path, {"nngp_distance": 0.3}, rows)
    assert (tmp_path / "dgp_to_dkm.png").read_bytes()[:4] == b"\x89PNG"


def test_errors_of_means_over_chains():
    """Chains of a known spread about a known mean."""
    rng = np.random.default_rng(0)
    G = np.eye(3)
    chains = G * 1.1 + 0.01 * rng.standard_normal((400, 3, 3))
    found = experiment.compare(chains, G)
    assert found["error"] == pytest.approx(0.1, rel=0.02)
    floor = 0.01 * 3 / 400**0.5 / 3**0.5
    assert found["noise_floor"] == pytest.approx(floor, rel=0.05)
    # Only what lies along the error changes its length: one direction of nine.
    assert found["standard_error"] == pytest.approx(floor / 3, rel=0.2)
