"""A run of the loop by one process or several. Run as a program by tests.

    python -m tests.parallelism.several_hosts FOLDER DEVICES ENDING [PORT RANK PROCESSES]

ENDING is "" or HOW:UPDATE:RANK: after the log line of that update the process of that rank sends
itself the signal HOW, or has an OSError if HOW is "error".
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import jax

from farwide.endings import plain_endings
from farwide.parallelism import data_mesh, initialize
from farwide.training import AdamW, RunConfig, Schedule, StepOptions, describe, make_trainer, train
from farwide.training.trainer import Trainer
from tests.training.problems import mlp, toy_task

OPTIONS = StepOptions(run="shard_map", ema_decay=0.99, clip_norm=1.0, evaluation_size=24)
TASK = toy_task("mlp")
CONFIG = RunConfig(
    name="hosts",
    model={"kind": "mlp"},
    task=describe(TASK),
    optimizer={"kind": "adamw"},
    steps=24,
    batch_size=16,
    log_lines=8,
    evaluations=4,
    step=OPTIONS.arithmetic(),
)


def trainer() -> Trainer:
    """Over all devices of all processes."""
    return make_trainer(mlp(), AdamW(epsilon=1e-3).transformation(), OPTIONS, mesh=data_mesh())


def main() -> None:
    """Train, and say what this process is."""
    folder, devices, ending, *where = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", int(devices))
    if where:
        port, rank, processes = map(int, where)
        assert initialize(f"127.0.0.1:{port}", processes, rank) == (processes > 1)
    how, update, who = ending.split(":") if ending else ("", "0", "0")

    def progress(done: int) -> None:
        print(f"update {done}", flush=True)
        if how and done == int(update) and jax.process_index() == int(who):
            if how == "error":
                raise OSError(errno.ENOSPC, "no space left", folder)
            os.kill(os.getpid(), signal.Signals[how])

    with plain_endings():
        summary = train(
            CONFIG,
            TASK,
            trainer(),
            Path(folder),
            rates=Schedule(peak=0.02).rates(CONFIG.steps),
            environment={"schema": 1, "processes": jax.process_count()},
            checkpoint_seconds=1e9,
            on_progress=progress,
        )
        print(f"{summary['status']} with {jax.device_count()} devices")


if __name__ == "__main__":
    main()
