"""The whole job, killed ten times at random moments, against an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from farwide.runlog import read_runs
from farwide.training import Checkpoints, language_model_trainer

ROOT = Path(__file__).parents[2]
KILLS = 10


def start(out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "experiments.scaling_sweep", "--preset", "smoke"]
    options = ["--out", str(out), "--bootstrap", "200", "--checkpoint-seconds", "0.2"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    return subprocess.Popen(
        command + options,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output.decode()


def final_parameters(folder: Path):
    """Parameters and optimiser state of each run's last checkpoint, restored afresh."""
    from experiments.scaling_sweep import PRESETS, sweep_configs

    fitted, held_out = sweep_configs(PRESETS["smoke"], "", 0)
    found = {}
    for config in [*fitted, held_out]:
        like = language_model_trainer(config).shapes()
        with Checkpoints(folder / "train" / config.name / "checkpoints") as checkpoints:
            restored = checkpoints.restore(like)
        assert restored is not None
        assert restored.step == config.steps
        state = restored.state._replace(key=jax.random.key_data(restored.state.key))
        found[config.name] = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    return found


def logs(folder: Path):
    """Every line of every log, the seconds aside."""
    return {
        run.run: [record._replace(wall_seconds=0.0) for record in run.records]
        for run in read_runs(folder / "train")
    }


def without_times(path: Path):
    facts = json.loads(path.read_text())
    return {key: facts[key] for key in ("run", "N", "D", "loss", "low", "high", "fitted_runs")}


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    began = time.monotonic()
    finish(start(tmp_path / "undisturbed"))
    whole = time.monotonic() - began
    expected = tmp_path / "undisturbed" / "smoke"

    rng = random.Random(20261121)
    kills, attempt, disturbed = 0, 0, []
    while kills < KILLS:
        out = tmp_path / f"disturbed_{attempt}"
        attempt += 1
        disturbed.append(out / "smoke")
        while kills < KILLS:
            process = start(out)
            try:
                process.wait(timeout=rng.uniform(0.1, 0.6) * whole)
                finish(process)
                break  # this one came to its end: the next kills go to a new sweep
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
        else:
            finish(start(out))

    parameters, lines = final_parameters(expected), logs(expected)
    assert len(lines) == 12
    for folder in disturbed:
        assert logs(folder) == lines
        for name, leaves in final_parameters(folder).items():
            for a, b in zip(leaves, parameters[name], strict=True):
                np.testing.assert_array_equal(a, b)
        assert without_times(folder / "prediction.json") == without_times(
            expected / "prediction.json"
        )
        for name in ("fit.json", "report.html"):
            assert (folder / name).stat().st_size > 0
    print(f"{kills} kills over {attempt} sweeps; one undisturbed sweep took {whole:.0f} s")
