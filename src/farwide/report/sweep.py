"""Everything a report is made of, read from a sweep's folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from farwide.fitting import Prediction, RunsFit, fit_runs, load_prediction
from farwide.plotting import Curve, HeldOut, Points
from farwide.runlog import LogError, Record, Run, read_runs
from farwide.runlog.files import read_json
from farwide.tables.runs import Parameters, final_or_reason


@dataclass(frozen=True)
class Sweep:
    """A sweep as it stands now; None for what is not there yet."""

    directory: Path
    description: dict[str, Any]  # sweep.json, {} without one
    corpus: dict[str, Any]  # corpus.json, {} without one
    runs: tuple[Run, ...]
    runs_fit: RunsFit | None
    no_fit: str  # why there is no fit; "" where there is one
    prediction: Prediction | None
    parameters: Parameters

    @property
    def name(self) -> str:
        return str(self.description.get("name") or self.directory.resolve().name)

    @property
    def held_out_run(self) -> Run | None:
        """The run that was predicted; without a prediction, the first held-out run."""
        if self.prediction is not None:
            return next((run for run in self.runs if run.run == self.prediction.run), None)
        return next((run for run in self.runs if run.role == "held_out"), None)

    @property
    def outcome(self) -> Record | str | None:
        """The end of the held-out run, or why it has none; None without a held-out run."""
        run = self.held_out_run
        return None if run is None else final_or_reason(run, ("held_out", "fit", "seed"))

    @property
    def planned(self) -> int | None:
        """How many runs the sweep is to have, where sweep.json says so; no fewer than there are."""
        fitted = self.description.get("fitted")
        if not isinstance(fitted, list):
            return None
        return max(len(fitted) + (self.description.get("held_out") is not None), len(self.runs))

    @property
    def finished(self) -> int:
        return sum(run.finished for run in self.runs)

    def size_of(self, run: Run) -> float | None:
        """N of a run as the fit counts it; None before its first log line."""
        last = run.records[-1] if run.records else None
        return float(getattr(last, f"params_{self.parameters}")) if last else None


def read_sweep(
    directory: str | Path,
    *,
    bootstrap: int | None = None,
    seed: int | None = None,
    parameters: Parameters | None = None,
) -> Sweep:
    """Read a sweep's folder and fit its finished runs again, as its fit.json says.

    Args:
        directory: a folder with runs below it; sweep.json, corpus.json, fit.json and
            prediction.json are read where they exist.
        bootstrap, seed, parameters: of the fit; None takes those of fit.json, and without one
            1000 replicates, seed 0 and non-embedding parameters.

    Raises:
        LogError: there is no run, or a file is damaged; the message names the file.
    """
    folder = Path(directory)
    runs = tuple(read_runs(folder))
    earlier = _optional(folder / "fit.json")
    drawn = earlier.get("bootstrap") if isinstance(earlier.get("bootstrap"), dict) else {}
    assert isinstance(drawn, dict)
    if bootstrap is None:
        status = drawn.get("status")
        bootstrap = sum(status.values()) if isinstance(status, dict) and status else 1000
    if seed is None:
        seed = int(drawn.get("seed", 0))
    if parameters is None:
        parameters = "total" if earlier.get("parameters") == "total" else "non_embedding"
    runs_fit, no_fit = None, ""
    try:
        runs_fit = fit_runs(runs, parameters=parameters, bootstrap=bootstrap, seed=seed)
    except LogError:
        raise
    except ValueError as error:
        no_fit = str(error)
    path = folder / "prediction.json"
    prediction = load_prediction(path) if path.is_file() else None
    return Sweep(
        directory=folder,
        description=_optional(folder / "sweep.json"),
        corpus=_optional(folder / "corpus.json"),
        runs=runs,
        runs_fit=runs_fit,
        no_fit=no_fit,
        prediction=prediction,
        parameters=parameters,
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def curves(sweep: Sweep) -> list[Curve]:
    """The logs of all runs that have begun."""
    found = []
    for run in sweep.runs:
        n = sweep.size_of(run)
        if n is None:
            continue
        validation = [
            np.nan if r.validation_loss is None else r.validation_loss for r in run.records
        ]
        found.append(
            Curve(
                run=run.run,
                role=run.role,
                N=n,
                tokens=np.array([r.tokens for r in run.records], float),
                train=np.array([r.train_loss for r in run.records], float),
                validation=np.array(validation, float),
                state=run.state,  # pyright: ignore[reportArgumentType]
            )
        )
    return found


def points(runs_fit: RunsFit) -> Points:
    """The fitted runs, in the order of the fit's residuals."""
    columns = runs_fit.table.columns
    names = tuple(str(name) for name in columns["run"])
    return Points(names, columns["N"], columns["D"], columns["loss"])


def held_out(sweep: Sweep) -> HeldOut | None:
    """The held-out run with its prediction and its outcome, as far as they are known."""
    prediction, run, outcome = sweep.prediction, sweep.held_out_run, sweep.outcome
    observed = outcome.validation_loss if isinstance(outcome, Record) else None
    if prediction is not None:
        return HeldOut(
            run=prediction.run,
            N=prediction.N,
            D=prediction.D,
            observed=observed,
            predicted=prediction.loss,
            low=prediction.low,
            high=prediction.high,
            level=prediction.level,
        )
    if run is None or not isinstance(outcome, Record):
        return None
    n = sweep.size_of(run)
    assert n is not None  # a run with an outcome has records
    return HeldOut(run.run, n, float(outcome.tokens), observed, None, None, None)


@dataclass(frozen=True)
class Times:
    """When a run began and ended, UTC, from the times of its files; None where unknown."""

    began: datetime | None
    ended: datetime | None


def times(run: Run) -> Times:
    """When config.json (a run's first file) and summary.json (its last) were written.

    A copy that does not keep file times moves them closer together than the run's own training
    time; then neither is believed.
    """
    began = _written(run.path / "config.json")
    ended = _written(run.path / "summary.json")
    trained = run.records[-1].wall_seconds if run.records else 0.0
    if began and ended and (ended - began).total_seconds() < 0.9 * trained - 1:
        return Times(None, None)
    return Times(began, ended)


def _written(path: Path) -> datetime | None:
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC) if path.is_file() else None
