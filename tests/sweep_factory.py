"""A synthetic sweep on disk, made from a planted law through the public run logs.

The law is known, so what a report says of a sweep can be checked against it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from farwide.fitting import fit_runs, predict_run, save_fit, save_prediction
from farwide.fitting.prediction import Prediction
from farwide.runlog import Record, RunLog, append_environment, read_runs, write_json

LAW = {"E": 0.9, "A": 25.0, "B": 60.0, "alpha": 0.40, "beta": 0.34}
SIZES = (4_000, 9_000, 20_000, 45_000, 80_000)
BUDGETS = (131_072, 262_144, 524_288, 1_048_576)
HELD_OUT = (150_000, 2_097_152)
REPLICATES = 40  # of the bootstrap, the same everywhere: each number costs a compilation
ENVIRONMENT = {
    "schema": 1,
    "started": "2026-01-02T03:04:05+00:00",
    "command": "python -m experiments.scaling_sweep --preset demo",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "python": "3.11.7",
    "packages": {"jax": "0.10.2", "numpy": "2.4.6"},
    "backend": "cpu",
    "device": "cpu",
}
BEGAN = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)


def law(N, D):
    """The planted loss, nats per byte."""
    return (
        LAW["E"]
        + LAW["A"] * np.asarray(N, float) ** -LAW["alpha"]
        + LAW["B"] * np.asarray(D, float) ** -LAW["beta"]
    )


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
    lines: int = 24,
) -> Path:
    """A run folder with curves that end at `loss`; status None is a run that was cut at half.

    A diverged run stops at half of its tokens, too.
    """
    folder = root / run
    folder.mkdir(parents=True)
    config = {
        "schema": 1,
        "run": run,
        "role": role,
        "seed": seed,
        "tokens": D,
        "model": {"width": 8 * round((N / 96) ** 0.5), "depth": 2},
    }
    write_json(folder / "config.json", config)
    append_environment(folder / "environment.jsonl", ENVIRONMENT)
    rng = np.random.default_rng([N, D, seed])
    written = []
    with RunLog(folder) as log:
        for i in range(1, lines + 1):
            if status != "finished" and i > lines // 2:
                break
            tokens = D * i // lines
            smooth = float(law(N, tokens) - law(N, D)) + loss
            start = (5.5 - smooth) * np.exp(-tokens / 2e4)  # the first thousands of bytes
            record = Record(
                run=run,
                step=10 * i,
                tokens=tokens,
                params_total=N + 4096,
                params_non_embedding=N,
                flops=7.2 * N * tokens,
                train_loss=(smooth + start) * float(np.exp(0.01 * rng.standard_normal())),
                validation_loss=(smooth + start if i < lines else loss) if i % 3 == 0 else None,
                wall_seconds=0.25 * i,
                learning_rate=1e-2,
            )
            log.write(record)
            written.append(record)
    if status is not None:
        last = written[-1]
        summary = {
            "schema": 1,
            "run": run,
            "status": status,
            "step": last.step,
            "tokens": last.tokens,
            "params_total": last.params_total,
            "params_non_embedding": last.params_non_embedding,
            "flops": last.flops,
            "train_loss": last.train_loss,
            "validation_loss": last.validation_loss,
            "wall_seconds": last.wall_seconds,
        }
        write_json(folder / "summary.json", summary)
    set_times(folder, BEGAN, seconds=0.25 * lines)
    return folder


def set_times(folder: Path, began: datetime, *, seconds: float) -> None:
    """Date a run's first and last file, as training it would have done."""
    for name, when in (("config.json", 0.0), ("summary.json", seconds + 1)):
        if (folder / name).exists():
            at = began.timestamp() + when
            os.utime(folder / name, (at, at))


def make_sweep(
    root: Path,
    *,
    sizes: Sequence[int] = SIZES,
    budgets: Sequence[int] = BUDGETS,
    seeds: int = 2,
    held_out: tuple[int, int] | None = HELD_OUT,
    held_out_status: str | None = "finished",
    surprise: float = 0.0,
    predict: bool = True,
    noise: float = 0.006,
    name: str = "planted",
) -> Path:
    """A sweep folder: every size at every budget, seed replicates of one run, one held-out run.

    Args:
        root: the folder to fill.
        sizes, budgets: N (parameters) and D (tokens) of the grid.
        seeds: replicates beside the grid's own run of the middle size and budget.
        held_out: N and D of the held-out run; None for a sweep without one.
        held_out_status: finished, diverged, or None for a run that is still going.
        surprise: log of held-out loss over the planted law, beside the noise.
        predict: whether fit.json and prediction.json are written before the held-out run.
        noise: standard deviation of one run's log loss.
        name: of the sweep.

    Returns:
        `root`.
    """
    rng = np.random.default_rng(0)

    def observed(N: int, D: int) -> float:
        return float(law(N, D) * np.exp(noise * rng.standard_normal()))

    runs = root / "train"
    for N in sizes:
        for D in budgets:
            write_run(runs, run_name(N, D, 0), N, D, observed(N, D))
    N, D = sizes[len(sizes) // 2], budgets[len(budgets) // 2]
    for seed in range(1, seeds + 1):
        write_run(runs, run_name(N, D, seed), N, D, observed(N, D), role="seed", seed=seed)
    fitted = [{"run": path.name} for path in sorted(runs.iterdir())]
    write_json(
        root / "sweep.json",
        {
            "schema": 1,
            "name": name,
            "question": "Does a law of small runs predict a larger one?",
            "fitted": fitted,
            "held_out": None if held_out is None else {"run": run_name(*held_out, 0)},
        },
    )
    write_json(
        root / "corpus.json",
        {"schema": 1, "root": "text", "sha256": "ab" * 32, "train_bytes": 30_000_000,
         "validation_bytes": 1_500_000, "files": []},
    )  # fmt: skip
    if held_out is not None:
        N, D = held_out
        if predict:
            predict_held_out(root, N, D)
        loss = observed(N, D) * float(np.exp(surprise))
        write_run(
            runs, run_name(N, D, 0), N, D, loss, role="held_out", status=held_out_status, lines=24
        )
    return root


def predict_held_out(root: Path, N: int, D: int) -> Prediction:
    """Write fit.json and prediction.json, dated a minute before the held-out run began."""
    runs_fit = fit_runs(read_runs(root / "train"), bootstrap=REPLICATES)
    save_fit(root / "fit.json", runs_fit, command="farwide fit")
    prediction = predict_run(runs_fit, run_name(N, D, 0), N, D, 7.2 * N * D)
    dated = Prediction(**{**prediction.__dict__, "made_at": "2026-01-02T03:59:00+00:00"})
    save_prediction(root / "prediction.json", dated)
    return dated


def run_name(N: int, D: int, seed: int) -> str:
    return f"n{N:07d}-d{D:08d}-s{seed}"
