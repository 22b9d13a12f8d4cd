"""Predict a run before it trains, and keep the prediction on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from farwide.fitting.fits import RunsFit
from farwide.runlog import SCHEMA, LogError, write_json
from farwide.runlog.environment import utc_now
from farwide.runlog.files import json_type, read_json


@dataclass(frozen=True)
class Prediction:
    """What a law says of one run: its loss will be in [low, high] with probability `level`.

    The interval holds the uncertainty of the law's parameters and the noise of one run.
    """

    run: str
    N: float  # parameters
    D: float  # training tokens
    loss: float  # validation, nats per byte
    low: float
    high: float
    level: float
    noise: float  # standard deviation of one run's log loss about the law
    noise_df: int
    fitted_runs: tuple[str, ...]
    made_at: str  # UTC, ISO 8601
    max_fitted_flops: float  # of the largest run that was fitted
    flops: float  # of the run that is predicted

    @property
    def extrapolation(self) -> float:
        """Training compute over that of the largest run that was fitted."""
        return self.flops / self.max_fitted_flops


def predict_run(
    runs_fit: RunsFit, run: str, N: float, D: float, flops: float, *, level: float = 0.95
) -> Prediction:
    """Predict the final validation loss of a run of N parameters on D tokens.

    Arguments: `runs_fit`, from `fit_runs` with a bootstrap; `run`, its name; N, counted as the
    fit counts it; D, tokens; `flops`, training FLOPs by the model's own count, as in the logs;
    `level` of the interval.
    Raises ValueError when the fit has no bootstrap, or N, D or flops is not positive.
    """
    for name, value in (("N", N), ("D", D), ("flops", flops)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value!r}; expected a positive number")
    data = {"N": np.array([N], dtype=np.float64), "D": np.array([D], dtype=np.float64)}
    noise = runs_fit.noise
    interval = runs_fit.fit.interval(data, level=level, noise=noise.sd, noise_df=noise.df)
    columns = runs_fit.table.columns
    largest = columns["flops"] if "flops" in columns else 6.0 * columns["N"] * columns["D"]
    return Prediction(
        run=run,
        N=float(N),
        D=float(D),
        loss=float(runs_fit.fit.predict(data)[0]),
        low=float(np.asarray(interval.low)[0]),
        high=float(np.asarray(interval.high)[0]),
        level=level,
        noise=noise.sd,
        noise_df=noise.df,
        fitted_runs=tuple(str(name) for name in columns.get("run", runs_fit.table.origin)),
        made_at=utc_now(),
        max_fitted_flops=float(np.max(largest)),
        flops=float(flops),
    )


def save_prediction(path: str | Path, prediction: Prediction) -> None:
    """Write a prediction as JSON, atomically."""
    write_json(path, {"schema": SCHEMA, **asdict(prediction)})


def load_prediction(path: str | Path) -> Prediction:
    """Read a prediction back; LogError names the file and what is wrong with it."""
    path = Path(path)
    obj = read_json(path)
    if obj.pop("schema", None) != SCHEMA:
        raise LogError(path, f"schema is not {SCHEMA}")
    names = [field.name for field in fields(Prediction)]
    if missing := [name for name in names if name not in obj]:
        raise LogError(path, f"missing {', '.join(missing)}")
    texts = {name: _checked(obj, name, str, path) for name in ("run", "made_at")}
    runs = _checked(obj, "fitted_runs", list, path)
    numbers = {
        name: _checked(obj, name, (int, float), path)
        for name in names
        if name not in (*texts, "fitted_runs")
    }
    values: dict[str, Any] = {**texts, **{name: float(value) for name, value in numbers.items()}}
    values["noise_df"] = int(values["noise_df"])
    return Prediction(**values, fitted_runs=tuple(str(run) for run in runs))


def _checked(obj: dict[str, Any], name: str, kind: type | tuple[type, ...], path: Path) -> Any:
    if not isinstance(obj[name], kind) or isinstance(obj[name], bool):
        raise LogError(path, f"{name} is {json_type(obj[name])}, which it cannot be")
    return obj[name]
