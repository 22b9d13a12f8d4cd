"""A training run that tests kill. `python -m tests.training.killed_run FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from farwide.training import (
    AdamW,
    RunConfig,
    Schedule,
    StepOptions,
    describe,
    make_trainer,
    train,
)
from farwide.training.trainer import Trainer
from tests.training.problems import mlp, toy_task

OPTIONS = StepOptions(accumulate=2, ema_decay=0.99, clip_norm=1.0)
TASK = toy_task("mlp")
CONFIG = RunConfig(
    name="killed",
    model={"kind": "mlp", "dropout": 0.2},
    task=describe(TASK),
    optimizer={"kind": "adamw"},
    steps=3000,
    batch_size=8,
    log_lines=60,
    evaluations=10,
    step=OPTIONS.arithmetic(),
)


def trainer() -> Trainer:
    """Of the run."""
    return make_trainer(mlp(dropout=0.2), AdamW().transformation(), OPTIONS)


def main() -> None:
    """Train; say so once the loop begins."""
    train(
        CONFIG,
        TASK,
        trainer(),
        Path(sys.argv[1]),
        rates=Schedule(peak=0.01).rates(CONFIG.steps),
        environment={"schema": 1},
        checkpoint_seconds=0.05,
        on_progress=lambda done: print(f"update {done}", flush=True),
    )


if __name__ == "__main__":
    main()
