"""The demo of every experiment, as a user calls it, ends in its files and says what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from farwide.data import DataError, fashion_mnist
from farwide.runlog.files import read_json

ROOT = Path(__file__).parents[2]
HOURS = {"conv_dkm"}  # its demo fits for an hour; `--preset smoke` is in tests/experiments
NAMES = sorted(
    path.stem
    for path in (ROOT / "experiments").glob("*.py")
    if '"demo"' in path.read_text() and path.stem not in HOURS
)


def long_range(results):
    accuracy = {cell["model"]: cell["accuracy"] for cell in results["cells"]}
    gated = [accuracy[name] for name in ("attention", "gated_long_conv", "h3", "hyena")]
    assert min(gated) > 0.85, accuracy
    assert max(accuracy["s4d"], accuracy["long_conv"]) < 0.8, accuracy


def neighborhood_images(results):
    floors = {"Fashion-MNIST": 0.75, "digits": 0.9}
    assert len(results["cells"]) == 8
    for cell in results["cells"]:
        assert cell["accuracy"] > floors[cell["task"]], cell


def adaptive_shape(results):
    assert len(results["plan"]) >= 2
    for cell in results["cells"]:
        assert cell["test_accuracy"] > 0.7, cell["name"]


def width_to_ntk(results):
    slopes = results["slopes"]
    for name in ("ntk_error", "nngp_error"):
        assert slopes[name]["value"] == pytest.approx(-0.5, abs=4 * slopes[name]["error"]), name
    assert -1 < slopes["ntk_change"]["value"] < -0.5  # at least as fast as width^(-1/2)


def mup_transfer(results):
    for name, found in results["results"].items():
        assert found["mup"]["moved_factor"] < 2 < found["standard"]["moved_factor"], name


def coordinate_check(results):
    for name, check in results["checks"].items():
        values = [slope["value"] for slope in check["slopes"].values()]
        steepest = max(float("inf") if value is None else abs(value) for value in values)
        if "mup" in name:
            assert steepest < 0.1, name
        elif "standard" in name:
            assert steepest > 0.5, name


def predict_scaling(results):
    (pair,) = results["pairs"]
    (split,) = pair["splits"]
    for name in ("ntk", "nngp"):
        assert split[name]["exponent_inside"], name
        assert max(abs(ratio - 1) for ratio in split[name]["ratio"]) < 0.1, name
        assert pair["predicted_at"] <= pair["measured_at"]
    rows = [row for row in pair["networks"] if row["parametrisation"] == "ntk"]
    distances = [row["log_distance"][-1] for row in rows]
    assert distances == sorted(distances, reverse=True)
    assert 0 < distances[-1] < 0.4


def operator_limits(results):
    for row in results["operators"]:
        for name in ("nngp", "ntk"):
            for found in row["errors"][name].values():
                assert found["slope"]["value"] == pytest.approx(-0.5, abs=0.2), row["label"]
                # of order 1 / width, and noise
                assert found["widest"]["error"] < 4 * found["widest"]["noise"] + 0.05, row["label"]
    for row in results["gaps"]:
        for name in ("nngp", "ntk"):
            assert all(f["exact"] < 0.05 for f in row["errors"][name].values()), row["label"]


CLAIMS = {
    claim.__name__: claim
    for claim in (
        long_range,
        neighborhood_images,
        adaptive_shape,
        width_to_ntk,
        mup_transfer,
        coordinate_check,
        operator_limits,
        predict_scaling,
    )
}
"""What a docstring says of its demo; experiments of theory assert theirs in tests of their own."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_demo(name, tmp_path):
    if "fashion_mnist" in (ROOT / "experiments" / f"{name}.py").read_text():
        try:
            fashion_mnist()
        except DataError as missing:
            pytest.skip(str(missing))
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    environment.pop("JAX_DEFAULT_PRNG_IMPL", None)  # of the tests alone; it draws other numbers
    command = [sys.executable, "-m", f"experiments.{name}", "--preset", "demo"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path), "--name", "job"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "job"
    if name == "scaling_sweep":
        assert (folder / "report.html").stat().st_size > 10_000
        return
    assert all(figure.stat().st_size > 10_000 for figure in folder.glob("*.png"))
    assert any(folder.glob("*.png"))
    CLAIMS.get(name, bool)(read_json(folder / "results.json"))


def test_every_claim_is_of_an_experiment():
    assert set(CLAIMS) <= set(NAMES)
    assert len(NAMES) >= 12
