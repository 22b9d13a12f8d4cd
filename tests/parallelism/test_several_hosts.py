"""The loop by several processes, and by another number of them after a stop."""

from __future__ import annotations

import time

import jax
import numpy as np
import pytest

from farwide.parallelism import initialize
from farwide.parallelism.hosts import Place, detected
from farwide.runlog import read_run
from farwide.training import AdamW, Checkpoints, StepOptions, make_trainer
from tests.parallelism.launching import finish, free_port, start
from tests.parallelism.several_hosts import CONFIG, OPTIONS
from tests.training.problems import mlp

PROGRAM = "tests.parallelism.several_hosts"


def test_one_process_needs_nothing():
    assert not initialize("127.0.0.1:1", 1, 0)
    assert jax.process_count() == 1


def test_places_are_detected():
    ours = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
    assert detected({}) is None
    assert detected({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}) is None
    assert detected(step) == Place(None, 2, 1)
    assert detected(step | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}) is None
    assert detected(step | ours) == Place("a:1", 4, 3)


def test_bad_places_are_named():
    with pytest.raises(ValueError, match="JAX_PROCESS_ID without JAX_COORDINATOR_ADDRESS, JAX_NUM"):
        detected({"JAX_PROCESS_ID": "3"})
    with pytest.raises(ValueError, match="SLURM_STEP_NUM_TASKS is 'x'"):
        detected({"SLURM_STEP_NUM_TASKS": "x"})
    with pytest.raises(ValueError, match=r"rank is 2; accepted: 0 to 1"):
        initialize("127.0.0.1:1", 2, 2)
    with pytest.raises(ValueError, match="rank None; accepted: all three"):
        initialize("127.0.0.1:1", 2)


def run(folder, processes, stop_at=0):
    """Four devices in all; the outputs of the processes. The last may stop them all."""
    ending = f"SIGTERM:{stop_at}:{processes - 1}" if stop_at else ""
    return finish(*begin(folder, processes, ending))


def begin(folder, processes, ending=""):
    """The processes, started, with four devices in all."""
    port = free_port()
    return [
        start(PROGRAM, folder, 4 // processes, ending, port, rank, processes)
        for rank in range(processes)
    ]


def outcome(folder):
    """Parameters and moving average of the last checkpoint, and the log but for its seconds."""
    options = StepOptions(ema_decay=OPTIONS.ema_decay)
    trainer = make_trainer(mlp(), AdamW(epsilon=1e-3).transformation(), options)
    with jax.default_prng_impl("threefry2x32"):  # as `launching.environment` has it
        like = trainer.init(0)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        restored = checkpoints.restore(like)
    assert restored is not None
    assert restored.step == CONFIG.steps
    leaves = jax.tree.leaves((restored.state.params, restored.state.ema))
    records = [record._replace(wall_seconds=0.0) for record in read_run(folder).records]
    return [np.asarray(leaf) for leaf in leaves], records


@pytest.mark.slow
def test_runs_of_any_number_of_processes_end_alike(tmp_path):
    run(tmp_path / "undisturbed", 1)
    leaves, records = outcome(tmp_path / "undisturbed")
    assert len(records) == 8
    run(tmp_path / "two", 2)
    outcomes = {"two": outcome(tmp_path / "two")}
    for first, second in ((2, 1), (1, 2), (2, 2)):
        name = f"{first}_then_{second}"
        for output in run(tmp_path / name, first, stop_at=9):
            assert "asked to stop; update 9 of 24 is saved" in output
        for output in run(tmp_path / name, second):
            assert "update 9\n" in output
            assert "update 3\n" not in output
            assert "finished with 4 devices" in output
        outcomes[name] = outcome(tmp_path / name)
    for name, (found, lines) in outcomes.items():
        for a, b in zip(found, leaves, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, rtol=0, err_msg=name)
        assert [line.step for line in lines] == [line.step for line in records]
        for a, b in zip(lines, records, strict=True):
            assert a.train_loss == pytest.approx(b.train_loss, abs=1e-5)
            assert (a.validation_loss is None) == (b.validation_loss is None)
    # with the devices spread alike the order of all sums is the same
    for a, b in zip(outcomes["2_then_2"][0], outcomes["two"][0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert outcomes["2_then_2"][1] == outcomes["two"][1]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", ["error", "SIGKILL"])
def test_a_process_that_fails_ends_the_others(tmp_path, how, rank):
    """JAX alone lets both wait for each other for five minutes; `begin` to the end is 10 s here."""
    began = time.monotonic()
    processes = begin(tmp_path / "run", 2, f"{how}:9:{rank}")
    outputs = finish(*processes, status=None)
    assert time.monotonic() - began < 90  # below the heartbeat's 100 seconds
    assert all(process.returncode for process in processes)
    assert ("no space left" in outputs[rank]) == (how == "error")
    assert "no space left" not in outputs[1 - rank]
    for output in run(tmp_path / "run", 2):
        assert "finished with 4 devices" in output
    assert len(outcome(tmp_path / "run")[1]) == 8
