"""Keep rows out of a fit, to see how well the law foretells them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from farwide.tables import Table
from theory import scaling

FLOPS_PER_PARAMETER_TOKEN = 6.0  # C = 6 N D (Kaplan et al. 2020, section 2.1)
SAME = 1e-3  # values nearer than this in log are one: budgets are planned, N and D rounded
_COMPARISONS: Mapping[str, Callable] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_RULE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(>=|<=|>|<)\s*(\S+)\s*")


class HoldOut(NamedTuple):
    """Which rows are kept out: those where a column is beyond a value, or the largest share."""

    text: str  # as it was given
    share: float | None = None  # of the rows: those of the largest compute
    column: str = ""
    comparison: str = ""
    value: float = math.nan


class Score(NamedTuple):
    """How far a law is from rows: the root mean square of log observed - log predicted."""

    rmsle: float
    points: int


def parse_hold_out(text: str) -> HoldOut:
    """Read a rule: "C>1e20", "N <= 3e8", or a share of the rows such as "0.3".

    Raises ValueError for anything else, and for a share outside (0, 1).
    """
    if found := _RULE.fullmatch(text):
        column, comparison, number = found.groups()
        try:
            value = float(number)
        except ValueError:
            raise ValueError(f"{text!r}: {number!r} is not a number") from None
        if math.isfinite(value):
            return HoldOut(text, None, column, comparison, value)
    try:
        share = float(text)
    except ValueError:
        raise ValueError(
            f"{text!r}; expected a comparison such as 'C>1e20', or a share of the rows such as 0.3"
        ) from None
    if not 0 < share < 1:
        raise ValueError(f"{text}; expected a share between 0 and 1")
    return HoldOut(text, share)


def compute_of(columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Training compute of rows, FLOPs: the column C, else 6 N D, else None."""
    if "C" in columns:
        return columns["C"]
    if "N" in columns and "D" in columns:
        return FLOPS_PER_PARAMETER_TOKEN * columns["N"] * columns["D"]
    return None


def split(table: Table, rule: HoldOut, law: scaling.Form) -> tuple[Table, Table, str]:
    """The rows that are fitted, those that are held out, and the rule in words.

    A share means the rows of largest compute (the column C, else 6 N D, else the law's first
    column); rows of one value, to 0.1%, stay together, so the nearest share that allows this is
    taken. Raises ValueError for an unknown column and where one of the two sides has no row.
    """
    compute = compute_of(table.columns)
    counted = "C" if "C" in table.columns else "C = 6ND"
    values: np.ndarray
    if rule.share is None:
        if rule.column == "C" and compute is not None:
            name, values = counted, compute
        elif rule.column in table.columns and table.columns[rule.column].dtype.kind == "f":
            name, values = rule.column, table.columns[rule.column]
        else:
            known = [n for n, column in table.columns.items() if column.dtype.kind == "f"]
            known += ["C"] if compute is not None and "C" not in known else []
            raise ValueError(f"{rule.text!r}: no column {rule.column!r}; there are {known}")
        held = _COMPARISONS[rule.comparison](values, rule.value)
        words = f"{name} {rule.comparison} {rule.value:g}"
    else:
        name = counted if compute is not None else law.columns[0]
        values = compute if compute is not None else table.columns[name]
        ordered = np.sort(values)
        edges = ordered[1:][np.diff(np.log(ordered)) > SAME]  # the first of each group but one
        if not len(edges):
            raise ValueError(f"{rule.text!r}: all rows have {name} = {values[0]:g}")
        shares = np.array([np.mean(values >= edge) for edge in edges])
        edge = edges[int(np.argmin(np.abs(shares - rule.share)))]
        held = values >= edge
        words = f"{name} >= {edge:.4g}, the largest {np.mean(held):.0%}"
    if held.all() or not held.any():
        side = "every row" if held.all() else "no row"
        low, high = float(values.min()), float(values.max())
        raise ValueError(f"{rule.text!r} holds out {side}: {name} is {low:g} to {high:g}")
    return _rows(table, ~held), _rows(table, held), f"{words} ({held.sum()} of {len(held)} rows)"


def _rows(table: Table, keep: np.ndarray) -> Table:
    columns = {name: column[keep] for name, column in table.columns.items()}
    origin = tuple(where for where, kept in zip(table.origin, keep, strict=True) if kept)
    return replace(table, columns=columns, origin=origin)


def joined(first: Table, second: Table) -> Table:
    """The rows of two tables of runs of ours, in the columns that both have."""
    both = [name for name in first.columns if name in second.columns]
    columns = {n: np.concatenate([first.columns[n], second.columns[n]]) for n in both}
    return replace(first, columns=columns, origin=(*first.origin, *second.origin))


def shared_runs(fitted: Table, held: Table) -> tuple[str, ...]:
    """Runs with rows on both sides: what is held out of those is not new to the law."""
    if "run" not in fitted.columns or "run" not in held.columns:
        return ()
    both = {*fitted.columns["run"].tolist()} & {*held.columns["run"].tolist()}
    return tuple(sorted(both))


def log_errors(fit: scaling.Fit, table: Table) -> np.ndarray:
    """log observed - log predicted for each row of a table."""
    columns = {name: table.columns[name] for name in fit.law.columns}
    return np.log(table.columns[fit.law.target]) - np.log(fit.predict(columns))


def score(errors: np.ndarray, weights: Sequence[float] | np.ndarray | None = None) -> Score:
    """The RMSLE of log errors over the rows whose weight is not zero, each counted once."""
    kept = np.asarray(errors) if weights is None else np.asarray(errors)[np.asarray(weights) > 0]
    return Score(float(np.sqrt(np.mean(np.square(kept)))), len(kept))
