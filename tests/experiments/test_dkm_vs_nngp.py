"""The sweep of nu end to end on made-up images, at a size of seconds."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from experiments import dkm_vs_nngp as experiment
from experiments.dkm_vs_nngp import Arguments, Size
from farwide.data import LabelledImages
from farwide.runlog import LogError

SIZE = Size((np.inf, 0.01), (40,), 1, 8, 20, 20, 40, 2)
TASKS = ("sparse-40", "full", "known_noise", "learned_noise")


def blobs(seed: int = 0) -> LabelledImages:
    """Ten noisy patterns of 4 x 4."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(1).standard_normal((10, 4, 4, 1))
    y = np.tile(np.arange(10), 20).astype(np.int32)
    x = (patterns[y] + 0.3 * rng.standard_normal((200, 4, 4, 1))).astype(np.float32)
    return LabelledImages("blobs", x[:100], y[:100], x[100:], y[100:], tuple("0123456789"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(experiment.PRESETS, "smoke", SIZE)
        patch.setattr(experiment, "digits", blobs)
        patch.setattr(experiment, "NOISES", (1e-4, 0.1))
        folder = experiment.run(Arguments(preset="smoke", out=out), Console(file=shown, width=120))
        yield folder, shown.getvalue()


def test_results_table_and_picture(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    assert tuple(results["tasks"]) == TASKS
    for name, cells in results["tasks"].items():
        assert [float(cell["nu"]) for cell in cells] == [np.inf, 0.01]
        for cell in cells:
            assert len(cell["splits"]) == 2
            assert np.isfinite([list(split.values()) for split in cell["splits"]]).all()
        if name == "sparse-40":
            assert all(s["good_steps"] == 20 for cell in cells for s in cell["splits"])
        if name == "full":
            assert all(s["error"] < 0.3 for cell in cells for s in cell["splits"])
        means, errors = experiment.mean_and_error(cells, "nll")
        nlls = [[split["nll"] for split in cell["splits"]] for cell in cells]
        np.testing.assert_allclose(means, [np.mean(pair) for pair in nlls])
        np.testing.assert_allclose(errors, [abs(a - b) / 2 for a, b in nlls])
        assert f"{means[0]:.3g} ± " in shown
    known, learned = (results["tasks"][name] for name in TASKS[2:])
    assert {s["noise_variance"] for cell in known for s in cell["splits"]} == {0.09}
    # Learned along with a cheap representation the noise goes to zero; the NNGP keeps it.
    assert {s["noise_variance"] for s in learned[0]["splits"]} == {0.1}
    assert {s["noise_variance"] for s in learned[1]["splits"]} == {1e-4}
    assert results["environment"]["packages"]["jax"]
    assert (folder / "dkm_vs_nngp.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("finished")
def test_a_second_call_trains_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.setattr(experiment, "DO", {})
    experiment.run(Arguments(preset="smoke", out=folder.parent), Console(file=io.StringIO()))
    arguments = Arguments(preset="smoke", out=folder.parent, seed=1)
    with pytest.raises(LogError, match="another job"):
        experiment.run(arguments, Console(file=io.StringIO()))


def test_splits_are_what_they_say():
    split = experiment.sines(4000, 3)
    noise = split.y - np.sin(2 * split.x[:, 0] / 1.5)
    assert noise.var() == pytest.approx(experiment.TRUE_NOISE, rel=0.1)
    assert split.x_test.shape == (500, 1)
