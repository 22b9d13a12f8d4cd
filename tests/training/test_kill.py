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


def line(process):
    """The next line that a process says of its updates; "" where it has ended."""
    assert process.stdout is not None
    said = (text.strip() for text in process.stdout)
    return next((text for text in said if text.startswith("update")), "")


@pytest.mark.slow
def test_twenty_kills_change_no_bit(tmp_path):
    undisturbed = start(PROGRAM, tmp_path / "undisturbed")
    assert [line(undisturbed), line(undisturbed)] == ["update 0", "update 50"]  # it is compiled
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
            resumed.append(line(process))
            if kills == KILLS:
                finish(process)
                break
            if rng.random() < 0.8:  # the others die while they compile
                line(process)
            time.sleep(rng.uniform(0, seconds / 5))
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
