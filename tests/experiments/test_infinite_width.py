"""The classification experiment end to end on made-up images, at a size of seconds."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments import infinite_width as experiment
from experiments.infinite_width import Arguments, Cell, Kernels
from farwide.data import LabelledImages
from farwide.runlog import LogError

ROOT = Path(__file__).parents[2]
PRESETS = experiment.PRESETS
CELLS = (Cell("blobs", "FC", 60, 40),)


def blobs() -> LabelledImages:
    """Three noisy patterns of 4 x 4."""
    rng = np.random.default_rng(0)
    patterns = rng.standard_normal((3, 4, 4, 1))
    y = rng.integers(0, 3, 200)
    x = (patterns[y] + 0.8 * rng.standard_normal((200, 4, 4, 1))).astype(np.float32)
    return LabelledImages("blobs", x[:100], y[:100], x[100:], y[100:], ("a", "b", "c"))


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "DATA", {"blobs": blobs})
        patch.setattr(experiment, "PRESETS", {"smoke": CELLS})
        patch.setattr(experiment, "RIDGES", (1e-2, 1e-1))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, patched):
    out = tmp_path_factory.mktemp("runs")
    shown = io.StringIO()
    folder = experiment.run(Arguments(preset="smoke", out=out), Console(file=shown, width=120))
    return folder, shown.getvalue()


def test_results_table_and_pictures(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    (cell,) = results["cells"]
    for name in ("nngp", "ntk"):
        found = cell["kernels"][name]
        assert found["scores"]["accuracy"] > 0.8
        assert found["scores"]["nll"] < np.log(3)
        assert [point["examples"] for point in found["curve"]] == [50, 60]
        assert sum(found["reliability"]["count"]) == 40
        assert f"{100 * found['scores']['accuracy']:.1f}" in shown
    assert cell["times"]["cross_us_an_entry"] > 0
    assert results["environment"]["packages"]["jax"]
    for picture in ("reliability.png", "learning_curves.png"):
        assert (folder / picture).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("patched")
def test_a_second_call_computes_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.delattr(experiment, "classify")
    before = (folder / "blobs-FC-60.json").read_bytes()
    arguments = Arguments(preset="smoke", out=folder.parent)
    experiment.run(arguments, Console(file=io.StringIO()))
    assert (folder / "blobs-FC-60.json").read_bytes() == before


@pytest.mark.usefixtures("patched")
def test_another_job_in_the_same_folder_is_refused(finished):
    folder, _ = finished
    arguments = Arguments(preset="smoke", out=folder.parent, seed=1)
    with pytest.raises(LogError, match="another job"):
        experiment.run(arguments, Console(file=io.StringIO()))


def test_the_page_is_written_from_the_results(finished, tmp_path, monkeypatch):
    folder, _ = finished
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    path = ROOT / "tools" / "publish_infinite_width.py"
    spec = importlib.util.spec_from_file_location("publish_infinite_width", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, tool)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "PAGE", tmp_path / "page.md")
    tool.PAGE.write_text("# Title\n<!-- figures:begin -->\nold\n<!-- figures:end -->\nend\n")
    tool.main([str(folder), str(tmp_path)])
    page = tool.PAGE.read_text()
    results = json.loads((folder / "results.json").read_text())
    accuracy = results["cells"][0]["kernels"]["ntk"]["scores"]["accuracy"]
    assert f"| blobs | FC | 60 | 40 | NTK | {100 * accuracy:.1f} ± " in page
    assert "old" not in page
    assert (tmp_path / "infinite_width" / "reliability.png").is_file()


def random_kernels(n: int = 12, test: int = 5) -> Kernels:
    rng = np.random.default_rng(1)
    z = rng.standard_normal((n + test, 30))
    nngp = z @ z.T / 30
    ntk = nngp**3 + nngp
    cross = {"nngp": nngp[n:, :n], "ntk": ntk[n:, :n]}
    return Kernels({"nngp": nngp[:n, :n], "ntk": ntk[:n, :n]}, cross, np.diag(nngp)[n:])


@pytest.mark.parametrize("name", ["nngp", "ntk"])
def test_the_posterior_is_that_of_the_formulas(name):
    """NumPy's own: mean T y, and for the ensemble K + T K T' - T K' - K T'."""
    kernels = random_kernels()
    y = np.random.default_rng(2).standard_normal((12, 3))
    mean, variance = experiment.posterior(name, kernels, y, ridge=0.1)
    a = kernels.train[name] + 0.1 * np.mean(np.diag(kernels.train[name])) * np.eye(12)
    t = kernels.cross[name] @ np.linalg.inv(a)
    if name == "nngp":
        expected = kernels.variance - (t * kernels.cross["nngp"]).sum(1)
    else:
        k = kernels.train["nngp"]
        expected = kernels.variance + (t @ k * t).sum(1) - 2 * (t * kernels.cross["nngp"]).sum(1)
    np.testing.assert_allclose(mean, t @ y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(variance, expected, rtol=1e-9)


def test_held_back_examples_are_no_part_of_what_predicts_them():
    kernels = random_kernels()
    kept, inner = experiment.held_back(kernels)
    assert kept == 10
    whole = kernels.train["ntk"]
    np.testing.assert_array_equal(inner.train["ntk"], whole[:10, :10])
    np.testing.assert_array_equal(inner.cross["ntk"], whole[10:, :10])
    np.testing.assert_array_equal(inner.variance, np.diag(kernels.train["nngp"])[10:])


def test_the_cells_of_every_preset_fit_their_data():
    limits = {"digits": (1000, 797), "fashion-mnist": (60000, 10000)}
    for cells in PRESETS.values():
        assert len({cell.name for cell in cells}) == len(cells)
        for cell in cells:
            train, test = limits[cell.data]
            assert cell.train <= train
            assert cell.test <= test
            experiment.network(cell.network)
