"""What the page says in words and tables, as rows of text."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np

from farwide.fitting import (
    SavedFit,
    compute_optimal_exponents,
    log_errors,
    objective_name,
    parameter_estimates,
    score,
)
from farwide.fitting.best_split import best_split, can_split
from farwide.fitting.hold_out import shared_runs
from farwide.plotting.interactive.style import percent, symbol
from farwide.plotting.style import power_of_ten, si
from farwide.report import numbers
from farwide.tables import Table
from theory import scaling


class Row(NamedTuple):
    """A number of the page with its intervals."""

    symbol: str
    value: str
    bootstrap: str
    other: str = ""  # the profile likelihood's interval, or what the number is


class PointRow(NamedTuple):
    """One point of the fit, as text."""

    label: str
    cells: tuple[str, ...]
    observed: str
    predicted: str
    residual: str


def headline(saved: SavedFit) -> str:
    """The page in one line: how well the law foretells, or else how well it describes."""
    found = saved.runs_fit
    points = f"{found.fit.n_points} points"
    fitted = percent(score(found.fit.residuals, found.fit.data["weight"]).rmsle)
    if found.held is None:
        return f"{found.fit.form} describes {points} with an RMSLE of {fitted}"
    held = _held_score(saved)
    assert held is not None
    return (
        f"{found.fit.form} fitted to {points} predicts {held.points} held-out ones with an RMSLE "
        f"of {percent(held.rmsle)}"
    )


def _held_score(saved: SavedFit):
    held = saved.runs_fit.held
    if held is None:
        return None
    return score(log_errors(saved.runs_fit.fit, held), held.columns.get("weight"))


def cards(saved: SavedFit) -> list[tuple[str, str, str]]:
    """(value, what it is, how sure) of the numbers that matter most."""
    found = saved.runs_fit
    fit, level = found.fit, f"{saved.level:.0%}"
    fitted = score(fit.residuals, fit.data["weight"])
    out = [(percent(fitted.rmsle), "RMSLE of the fitted points", f"{fitted.points} points")]
    held = _held_score(saved)
    if held is not None:
        out.append((percent(held.rmsle), "RMSLE held out", f"{held.points} points, not fitted"))
    exponents = compute_optimal_exponents(fit, saved.level)
    if exponents:
        value, interval = numbers.estimate(*exponents["a"])
        out.append((value, "a, in N* ∝ C^a", f"{level}: {interval}" if interval else "no interval"))
    out += _best_ratio(saved)
    for name in ("E", "e_inf"):
        if name in fit.params:
            value, interval = numbers.estimate(*parameter_estimates(fit, saved.level)[name])
            sure = f"{level}: {interval}" if interval else "no interval"
            out.append((value, f"{name}: what no scale removes", sure))
    return out


def _best_ratio(saved: SavedFit) -> list[tuple[str, str, str]]:
    """The card of the best tokens per parameter, where there is such."""
    fit, known = saved.runs_fit.fit, saved.runs_fit.table.columns
    if not ({"N", "D"} <= set(known) and can_split(fit.law)):
        return []
    C = float(6 * np.max(known["N"] * known["D"]))
    try:
        best = best_split(fit, np.array([C]), level=saved.level)
    except ValueError:
        return []
    sure = "the largest compute fitted"
    if best.ratio_band is not None:
        low, high = (float(end[0]) for end in best.ratio_band)
        sure = f"{saved.level:.0%}: {numbers.scientific(low, 2)} to {numbers.scientific(high, 2)}"
    what = f"tokens per parameter best at {power_of_ten(C)} FLOPs"
    return [(si(float(best.ratio[0]), 2), what, sure)]


def settings(saved: SavedFit) -> list[tuple[str, str]]:
    """What was fitted, and how: the lines that a reader needs to repeat it."""
    found = saved.runs_fit
    fit, table = found.fit, found.table
    out = [
        ("Law", f"{fit.form}: {fit.law.formula}"),
        ("Points", _points_line(saved)),
        *(("Read", note) for note in table.notes),
        ("Held out", _held_line(saved)),
        ("Left out", "nothing" if not found.left_out else f"{len(found.left_out)}, listed below"),
    ]
    if "N" in table.columns:
        out.append(("N", _counted(saved)))
    if compute := _compute_line(fit, table):
        out.append(("C", compute))
    out += [
        ("Objective", f"{objective_name(fit)} = {fit.objective:.6g} (a sum, not a mean)"),
        ("Loss", _loss_line(fit)),
        ("Status", str(fit.status)),
        *(("Note", note) for note in fit.notes),
        *_design_lines(saved),
        ("Intervals", _bootstrap_line(fit, saved.level)),
        ("Noise", found.noise.sentence),
    ]
    return out


def _points_line(saved: SavedFit) -> str:
    fit = saved.runs_fit.fit
    text = f"{fit.n_points}"
    if "run" in fit.data:
        text += f" of {len(np.unique(fit.data['run']))} runs"
    ranges = [
        f"{name} {si(float(fit.data[name].min()), 3)} to {si(float(fit.data[name].max()), 3)}"
        for name in fit.law.columns
    ]
    return f"{text}; {', '.join(ranges)}"


def _held_line(saved: SavedFit) -> str:
    found = saved.runs_fit
    if found.held is None:
        return "nothing"
    held = _held_score(saved)
    assert held is not None
    text = f"{found.hold_out}: RMSLE {percent(held.rmsle)} on {held.points} points"
    if both := shared_runs(found.table, found.held):
        text += f"; {len(both)} runs have points on both sides"
    return text


def _counted(saved: SavedFit) -> str:
    if saved.runs_fit.parameters:
        return f"{saved.runs_fit.parameters.replace('_', '-')} parameters"
    name = _mapping(saved).get("N") or "N"
    return f"the column {name} of the data; whether it counts embeddings is not recorded here"


def _mapping(saved: SavedFit) -> dict[str, Any]:
    options = saved.provenance.get("settings")
    columns = options.get("columns") if isinstance(options, dict) else None
    return columns if isinstance(columns, dict) else {}


def _compute_line(fit: scaling.Fit, table: Table) -> str:
    if "N" not in table.columns or "D" not in table.columns:
        return "the column C of the data, as given" if "C" in fit.law.columns else ""
    text = "6ND (6 times size times tokens) wherever C is used, not an exact count"
    own = table.columns.get("flops")
    if own is not None:
        ratio = np.median(own / (6 * table.columns["N"] * table.columns["D"]))
        text += f"; the runs' own count is {numbers.factor(float(ratio))} times that (median)"
    return text


def _loss_line(fit: scaling.Fit) -> str:
    if fit.loss == "huber":
        return (
            f"Huber of r = log observed − log predicted: r²/2 up to delta = {fit.delta:g}, linear "
            "beyond"
        )
    if fit.loss == "asymmetric":
        return (
            f"Huber (delta = {fit.delta:g}) of r = log observed − log predicted, times "
            f"{2 * (fit.tau or 0.5):g} where r is above 0 and {2 - 2 * (fit.tau or 0.5):g} below"
        )
    return {"squared": "r²/2", "l1": "|r|"}.get(fit.loss, fit.loss) + (
        ", r = log observed − log predicted"
    )


def _design_lines(saved: SavedFit) -> list[tuple[str, str]]:
    """How well these points determine the law, in a number and in words."""
    certainty = saved.runs_fit.certainty
    if certainty is None:
        return []
    told = [s for s in certainty.sentences if s not in saved.runs_fit.fit.notes]
    start = f"condition number {numbers.scientific(certainty.condition, 2)} (1 is best)"
    return [("Design", start + (f"; {told[0]}" if told else "")), *(("", s) for s in told[1:])]


def _bootstrap_line(fit: scaling.Fit, level: float) -> str:
    if fit.bootstrap is None or fit.bootstrap_status is None:
        return "none: the fit has no bootstrap"
    counts = ", ".join(f"{n} {name}" for name, n in fit.bootstrap_status.items() if n)
    unit = "runs" if "run" in fit.data else "points"
    text = (
        f"{level:.0%}, percentiles over {sum(fit.bootstrap_status.values())} bootstrap resamples "
        f"of {unit} (seed {fit.seed}): {counts}"
    )
    if fit.bootstrap_redrawn:
        text += f"; {fit.bootstrap_redrawn} draws that cannot determine the law drawn again"
    return text


def estimates(saved: SavedFit) -> list[Row]:
    """The law's parameters: by the bootstrap, and by the profile likelihood if that is there."""
    found = parameter_estimates(saved.runs_fit.fit, saved.level)
    certainty = saved.runs_fit.certainty
    out = []
    for name, estimate in found.items():
        value, interval = numbers.estimate(*estimate)
        profile = ""
        if certainty is not None and name in certainty.profile:
            low, high = certainty.profile[name]
            profile = f"{_end(low)} to {_end(high)}"
            if np.isfinite([low, high]).all():
                shown, profile = numbers.estimate(estimate.value, low, high)
                value = value if interval else shown
        out.append(Row(symbol(name), value, interval, profile))
    return out


def _end(value: float) -> str:
    return numbers.fixed(value, 0) if math.isinf(value) else numbers.scientific(value, 3)


def exponents(saved: SavedFit) -> list[Row]:
    """The compute-optimal exponents; empty for a law without."""
    meanings = {"a": "N* ∝ C^a", "b": "D* ∝ C^b"}
    return [
        Row(name, *numbers.estimate(*e), meanings[name])
        for name, e in compute_optimal_exponents(saved.runs_fit.fit, saved.level).items()
    ]


def labels(table: Table) -> tuple[str, ...]:
    """What each row is called: its run, else where it was read, by what tells the files apart."""
    if "run" in table.columns:
        return tuple(str(run) for run in table.columns["run"])
    folders = {os.path.dirname(where) for where in table.origin}
    if len(folders) == 1:
        return tuple(os.path.basename(where) for where in table.origin)
    return table.origin


def point_rows(fit: scaling.Fit, table: Table, residuals: np.ndarray) -> list[PointRow]:
    """Every row of a table with its prediction."""
    observed = table.columns[fit.law.target]
    out = []
    for i, label in enumerate(labels(table)):
        cells = tuple(si(float(table.columns[name][i]), 4) for name in fit.law.columns)
        predicted = float(observed[i] * math.exp(-residuals[i]))
        out.append(
            PointRow(
                label,
                cells,
                f"{observed[i]:.4g}",
                f"{predicted:.4g}",
                numbers.signed_percent(float(residuals[i])),
            )
        )
    return out


def provenance(saved: SavedFit) -> list[tuple[str, str]]:
    """Where the numbers come from, as fit.json says."""
    given = saved.provenance
    out = []
    for key, name in (("command", "Command"), ("made_at", "Fitted at"), ("commit", "Commit")):
        if given.get(key):
            out.append((name, str(given[key])))
    packages = given.get("packages")
    if isinstance(packages, dict) and packages:
        out.append(("Versions", ", ".join(f"{n} {v}" for n, v in packages.items())))
    files = given.get("files")
    if isinstance(files, dict):
        out += [("Data", f"{path} (sha256 {digest})") for path, digest in files.items()]
    return out
