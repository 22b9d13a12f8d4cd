"""A run killed twenty times at random moments against an undisturbed one."""

from __future__ import annotations

import random
import time

import jax
import numpy as np
import pytest

from farwide.runlog import read_run
from farwide.training import Checkpoints
from tests.parallelism.launching import finish, start
from tests.training.killed_run import CONFIG, trainer

KILLS = 20
PROGRAM = "tests.training.killed_run"


def outcome(folder):
    """Every leaf of the last checkpoint, and the log but for its seconds."""
    with Checkpoints(folder / "checkpoints") as checkpoints:
        restored = checkpoints.restore(trainer().shapes())
    assert restored is not None
    assert restored.step == CONFIG.steps
    state = restored.state._replace(key=jax.random.key_data(restored.state.key))
    records = [record._replace(wall_seconds=0.0) for record in read_run(folder).records]
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)], records


@pytest.mark.slow
def test_twenty_kills_change_no_bit(tmp_path):
    undisturbed = start(PROGRAM, tmp_path / "undisturbed")
    assert undisturbed.stdout is not None
    assert undisturbed.stdout.readline() == "update 0\n"
    began = time.monotonic()
    finish(undisturbed)
    seconds = time.monotonic() - began
    leaves, records = outcome(tmp_path / "undisturbed")
    assert len(records) == 60

    rng = random.Random(20261122)
    kills, folders, resumed = 0, [], []
    while kills < KILLS:
        folders.append(tmp_path / f"disturbed_{len(folders)}")
        ended = False
        while not ended:
            process = start(PROGRAM, folders[-1])
            assert process.stdout is not None
            resumed.append(process.stdout.readline().strip())
            if kills == KILLS:
                finish(process)
                break
            time.sleep(rng.uniform(0, seconds / 8))
            ended = process.poll() is not None
            if not ended:
                process.kill()
                kills += 1
            process.communicate()

    assert len({*resumed}) > KILLS / 2  # they began in different places
    for folder in folders:
        found, lines = outcome(folder)
        assert lines == records
        for a, b in zip(found, leaves, strict=True):
            np.testing.assert_array_equal(a, b)
    print(f"{kills} kills in {len(folders)} runs of {seconds:.0f} s; begun at {resumed}")
