"""fit.json: a fit with its points, replicates and settings, written and read back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from farwide.fitting.fits import Certainty, RunsFit, known_form
from farwide.fitting.hold_out import log_errors, score
from farwide.fitting.noise import NoiseEstimate
from farwide.fitting.summary import compute_optimal_exponents, objective_name, parameter_estimates
from farwide.runlog import SCHEMA, LogError
from farwide.runlog.environment import commit, package_versions, this_command, utc_now
from farwide.runlog.files import json_type, read_json, to_json, write_atomically
from farwide.tables import LeftOut, Table
from theory import scaling

DIGITS = 9  # of a bootstrap draw


@dataclass(frozen=True)
class SavedFit:
    """What a fit.json holds."""

    runs_fit: RunsFit
    level: float  # of the intervals in it
    provenance: Mapping[str, Any]
    path: Path


def fit_summary(runs_fit: RunsFit, *, level: float = 0.95) -> dict[str, Any]:
    """Everything about a fit that a reader may ask, as plain values."""
    fit, noise, held = runs_fit.fit, runs_fit.noise, runs_fit.held
    residuals = np.asarray(fit.residuals)
    errors = None if held is None else log_errors(fit, held)
    return {
        "form": fit.form,
        "formula": fit.law.formula,
        "params": {
            name: estimate.value if estimate.low is None else estimate._asdict()
            for name, estimate in parameter_estimates(fit, level).items()
        },
        "level": level,
        "status": str(fit.status),
        "notes": list(fit.notes),
        "reading": list(runs_fit.table.notes),
        "objective": {"name": objective_name(fit), "value": fit.objective},
        "loss": fit.loss,
        "delta": fit.delta,
        "tau": fit.tau,
        "solver": [float(value) for value in fit.solution.theta],
        "n_points": fit.n_points,
        "parameters": runs_fit.parameters,
        "compute_optimal": {
            name: estimate._asdict()
            for name, estimate in compute_optimal_exponents(fit, level).items()
        },
        "certainty": None if runs_fit.certainty is None else runs_fit.certainty._asdict(),
        "comparison": [{**row._asdict(), "status": str(row.status)} for row in runs_fit.comparison],
        "rmsle": score(residuals, fit.data["weight"])._asdict(),
        "hold_out": None
        if held is None or errors is None
        else {"rule": runs_fit.hold_out, **score(errors, held.columns.get("weight"))._asdict()},
        "noise": {**asdict(noise), "sentence": noise.sentence},
        "bootstrap": None
        if fit.bootstrap is None
        else {
            "replicates": len(next(iter(fit.bootstrap.values()))),
            "status": fit.bootstrap_status,
            "redrawn": fit.bootstrap_redrawn,
            "seed": fit.seed,
            "draws": {
                name: [float(f"{value:.{DIGITS}g}") for value in values]
                for name, values in fit.bootstrap.items()
            },
        },
        "points": _points(runs_fit.table, residuals),
        "held_out_points": [] if held is None or errors is None else _points(held, errors),
        "left_out": [item._asdict() for item in runs_fit.left_out],
        "held_out": list(runs_fit.held_out),
    }


def _points(table: Table, residuals: np.ndarray) -> list[dict[str, Any]]:
    """One object a row: where it is from, its columns, and log observed - log predicted."""
    rows = []
    for i, where in enumerate(table.origin):
        cells = {name: column[i] for name, column in table.columns.items()}
        plain = {n: c.item() if isinstance(c, np.generic) else c for n, c in cells.items()}
        rows.append({"origin": where, **plain, "residual": float(residuals[i])})
    return rows


def save_fit(
    path: str | Path,
    runs_fit: RunsFit,
    *,
    level: float = 0.95,
    command: str | None = None,
    **provenance: Any,
) -> None:
    """Write fit.json, atomically: the law, its intervals, its points and where it all comes from.

    `params` is {name: {value, low, high}}, or {name: value} for a fit without a bootstrap.
    Arguments: `command`, this process's own when None; more `provenance` goes in as it is.
    """
    origin = {
        "made_at": utc_now(),
        "command": this_command() if command is None else command,
        "commit": commit(),
        "packages": package_versions(),
        **provenance,
    }
    summary = fit_summary(runs_fit, level=level)
    text = to_json({"schema": SCHEMA, **summary, "provenance": origin}, indent=2)
    # A list of numbers on one line: thousands of draws would be thousands of lines.
    numbers = re.compile(r"\[\s+((?:-?[\d.]+(?:e[-+]?\d+)?|null)(?:,\s+(?:[-\d.e+]+|null))*)\s+\]")
    text = numbers.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text)
    write_atomically(Path(path), (text + "\n").encode())


def load_fit(path: str | Path) -> SavedFit:
    """Read a fit.json back: the law, its points and replicates, without fitting again.

    Raises LogError, naming the file, for a file that is not one, a field that is missing or wrong,
    and a form that is unknown.
    """
    path = Path(path)
    found = _Fields(read_json(path), path)
    if found.of("schema", object) != SCHEMA:
        raise LogError(path, f"schema is not {SCHEMA}")
    try:
        law = known_form(found.of("form", str))
    except ValueError as error:
        raise LogError(path, str(error)) from None
    table = replace(_table(found, "points", law), notes=tuple(map(str, found.of("reading", list))))
    if not len(table):
        raise LogError(path, "points is empty")
    held = _table(found, "held_out_points", law)
    noise = _Fields(found.of("noise", dict), path, "noise.")
    inputs = (*law.columns, law.target, "run", "weight")
    parameters = found.of("parameters", (str, None))
    draws, status, redrawn, seed = _bootstrap(found, law)
    try:
        fit = scaling.restore(
            law,
            {name: table.columns[name] for name in inputs if name in table.columns},
            found.of("solver", list),
            loss=found.of("loss", str),
            delta=found.of("delta", (float, int, None)),
            tau=found.of("tau", (float, int, None)),
            status=found.of("status", str),
            notes=tuple(map(str, found.of("notes", list))),
            bootstrap=draws,
            bootstrap_status=status,
            bootstrap_redrawn=redrawn,
            seed=seed,
        )
    except (ValueError, TypeError) as error:
        raise LogError(path, str(error)) from None
    stated = found.of("params", dict)
    for name, value in fit.params.items():
        if not np.isclose(_number(stated.get(name), f"params.{name}", path), value, rtol=1e-6):
            raise LogError(path, f"params.{name} is not what solver says, {value:.9g}")
    rule = found.of("hold_out", (dict, None))
    runs_fit = RunsFit(
        fit=fit,
        table=table,
        noise=NoiseEstimate(
            sd=float(noise.of("sd", (float, int))),
            df=int(noise.of("df", (float, int))),
            source=noise.of("source", str),
            residual_sd=float(noise.of("residual_sd", (float, int))),
            residual_df=int(noise.of("residual_df", (float, int))),
            seed_sd=noise.of("seed_sd", (float, int, None)),
            seed_df=int(noise.of("seed_df", (float, int))),
            replicates=tuple(tuple(map(str, group)) for group in noise.of("replicates", list)),
        ),
        left_out=tuple(
            LeftOut(str(item.get("run")), str(item.get("reason")))
            for item in found.of("left_out", list)
            if isinstance(item, dict)
        ),
        held_out=tuple(map(str, found.of("held_out", list))),
        parameters=parameters,
        held=held if len(held) else None,
        hold_out="" if rule is None else str(rule.get("rule", "")),
        certainty=_certainty(found),
        comparison=_comparison(found),
    )
    level = float(found.of("level", (float, int)))
    return SavedFit(runs_fit, level, found.of("provenance", dict), path)


class _Fields:
    """Fields of a JSON object by name and type; LogError for one that is missing or wrong."""

    def __init__(self, obj: Mapping[str, Any], path: Path, prefix: str = "") -> None:
        self.obj, self.path, self.prefix = obj, path, prefix

    def of(self, name: str, kinds: Any) -> Any:
        if name not in self.obj:
            advice = "" if self.prefix else "; it is no fit.json, or one of an older version"
            raise LogError(self.path, f"missing {self.prefix}{name}{advice}")
        value = self.obj[name]
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        types = tuple(type(None) if kind is None else kind for kind in kinds)
        if not isinstance(value, types) or (isinstance(value, bool) and object not in types):
            reason = f"{self.prefix}{name} is {json_type(value)}, which it cannot be"
            raise LogError(self.path, reason)
        return value


def _number(value: Any, name: str, path: Path) -> float:
    """A number, or the "value" of an object with one."""
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LogError(path, f"{name} is {json_type(value)}; expected a number")
    return float(value)


def _certainty(found: _Fields) -> Certainty | None:
    """The profile intervals, where null stands for an infinite end."""
    obj = found.of("certainty", (dict, None))
    if obj is None:
        return None
    fields = _Fields(obj, found.path, "certainty.")
    profile = {}
    for name, ends in fields.of("profile", dict).items():
        if not isinstance(ends, list) or len(ends) != 2:
            raise LogError(found.path, f"certainty.profile.{name} is no pair of numbers")
        low, high = ends
        profile[name] = (
            -np.inf if low is None else _number(low, name, found.path),
            np.inf if high is None else _number(high, name, found.path),
        )
    condition = fields.of("condition", (float, int, None))
    return Certainty(
        profile,
        np.inf if condition is None else float(condition),
        tuple(map(str, fields.of("sentences", list))),
    )


def _comparison(found: _Fields) -> tuple[scaling.Comparison, ...]:
    """The laws that were compared, where null stands for a score that is not a number."""
    out = []
    for i, row in enumerate(found.of("comparison", list)):
        fields = _Fields(row if isinstance(row, dict) else {}, found.path, f"comparison[{i}].")
        scores = {
            name: np.nan if (value := fields.of(name, (float, int, None))) is None else float(value)
            for name in ("aicc", "rmsle_fit", "rmsle_held_out", "reach")
        }
        try:
            status = scaling.Status(fields.of("status", str))
        except ValueError as error:
            raise LogError(found.path, f"comparison[{i}]: {error}") from None
        out.append(
            scaling.Comparison(
                form=fields.of("form", str),
                parameters=int(fields.of("parameters", int)),
                status=status,
                notes=tuple(map(str, fields.of("notes", list))),
                **scores,
            )
        )
    return tuple(out)


def _table(found: _Fields, name: str, law: scaling.Form) -> Table:
    """The rows of a list of points."""
    rows: Sequence[Any] = found.of(name, list)
    needed = (*law.columns, law.target, "origin")
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or (missing := [n for n in needed if n not in row]):
            lacks = f"lacks {missing[0]}" if isinstance(row, dict) else "is no object"
            raise LogError(found.path, f"{name}[{i}] {lacks}")
    columns: dict[str, np.ndarray] = {}
    for column in dict.fromkeys(key for row in rows for key in row):
        if column in ("origin", "residual"):
            continue
        cells = [row.get(column) for row in rows]
        if column == "run":
            columns[column] = np.asarray(list(map(str, cells)), dtype=np.str_)
        elif all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells):
            columns[column] = np.asarray(cells, dtype=np.float64)
        elif column in (*needed, "weight"):
            raise LogError(found.path, f"{name}: {column} holds something that is not a number")
    for column in (*law.columns, law.target):
        if column in columns and not np.all(columns[column] > 0):
            raise LogError(found.path, f"{name}: {column} holds a number that is not above 0")
    return Table(columns, tuple(str(row["origin"]) for row in rows))


def _bootstrap(
    found: _Fields, law: scaling.Form
) -> tuple[dict[str, np.ndarray] | None, dict[str, int] | None, int, int]:
    """Draws, counts of how they ended, draws replaced, and the seed."""
    obj = found.of("bootstrap", (dict, None))
    if obj is None:
        return None, None, 0, 0
    fields = _Fields(obj, found.path, "bootstrap.")
    drawn = fields.of("draws", dict)
    draws = {}
    for name in law.params:
        values = drawn.get(name)
        if not isinstance(values, list) or not all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in values
        ):
            raise LogError(found.path, f"bootstrap.draws.{name} is no list of numbers")
        draws[name] = np.asarray(values, dtype=np.float64)
    if len({len(values) for values in draws.values()}) > 1:
        raise LogError(found.path, "bootstrap.draws has lists of different lengths")
    status = {str(name): int(count) for name, count in fields.of("status", dict).items()}
    return draws, status, int(fields.of("redrawn", int)), int(fields.of("seed", int))
