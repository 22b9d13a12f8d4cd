"""Run folders made from a planted law, through the public interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from farwide.runlog import Record, RunLog, write_json

E, A, B, ALPHA, BETA = 1.2, 8.0, 30.0, 0.4, 0.35
SIZES = (4_000, 12_000, 40_000, 120_000)
BUDGETS = (130_000, 260_000, 520_000, 1_040_000)


def law(N, D):
    """The planted loss."""
    return E + A * np.asarray(N, float) ** -ALPHA + B * np.asarray(D, float) ** -BETA


def records(run: str, N: int, D: int, loss: float, lines: int = 4) -> list[Record]:
    """A log whose last record is of `D` tokens and has the validation loss `loss`."""
    return [
        Record(
            run=run,
            step=10 * i,
            tokens=D * i // lines,
            params_total=N + 1000,
            params_non_embedding=N,
            flops=6.0 * N * (D * i // lines),
            train_loss=loss + 0.5 / i,
            validation_loss=loss + 0.1 * (lines - i) if i % 2 == 0 else None,
            wall_seconds=1.5 * i,
            learning_rate=1e-3,
        )
        for i in range(1, lines + 1)
    ]


def write_run(
    root: Path,
    run: str,
    N: int,
    D: int,
    loss: float,
    *,
    role: str = "fit",
    seed: int = 0,
    status: str | None = "finished",
) -> Path:
    """A run folder; status None leaves the run unfinished."""
    folder = root / run
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"schema": 1, "run": run, "role": role, "seed": seed})
    written = records(run, N, D, loss)
    with RunLog(folder) as log:
        for record in written:
            log.write(record)
    if status is not None:
        summary = {"schema": 1, "run": run, "status": status, "step": written[-1].step}
        write_json(folder / "summary.json", summary)
    return folder


def write_sweep(root: Path, *, noise: float = 0.002, seed: int = 0) -> Path:
    """16 fitted runs, 2 replicates of one of them, 1 held out at 3 times the compute."""
    rng = np.random.default_rng(seed)

    def observed(N, D):
        return float(law(N, D) * np.exp(noise * rng.standard_normal()))

    for N in SIZES:
        for D in BUDGETS:
            write_run(root, f"n{N:06d}-d{D:07d}-s0", N, D, observed(N, D))
    for s in (1, 2):
        N, D = SIZES[1], BUDGETS[2]
        name = f"n{N:06d}-d{D:07d}-s{s}"
        write_run(root, name, N, D, observed(N, D), role="seed", seed=s)
    N, D = 180_000, 2_080_000
    write_run(root, "big", N, D, observed(N, D), role="held_out")
    return root
