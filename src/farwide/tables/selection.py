"""Which rows of each run are used, and which runs at all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from farwide.tables.cells import lenient_number
from farwide.tables.conditions import Condition
from farwide.tables.mapping import RUN, STEP, Columns
from farwide.tables.source import Row
from farwide.tables.table import Rejections, Removal, error_at

RowsOfRun = Literal["all", "last", "lowest"]
ROWS: tuple[RowsOfRun, ...] = ("all", "last", "lowest")


class Candidate(NamedTuple):
    """A row that the filters let through, with the columns of its file."""

    row: Row
    columns: Columns

    @property
    def where(self) -> str:
        """Where the row is, as messages say it."""
        return self.row.where

    def number(self, name: str, *, positive: bool = True) -> float:
        """A number in one of our columns; ValueError says why there is none."""
        return self.columns.number(self.row, name, positive=positive)


class RunRules(NamedTuple):
    """What is asked of runs as a whole."""

    rows: RowsOfRun | None
    finished: Sequence[Condition]
    diverged: float | None  # a final loss above this many times the run's lowest
    target: str
    required: Sequence[str]

    @property
    def asked(self) -> str | None:
        """The option that needs to know the runs; None when none does."""
        if self.rows in ("last", "lowest"):
            return f"--rows {self.rows}"
        if self.finished:
            return self.finished[0].option
        return "--drop-diverged" if self.diverged is not None else None


def select(
    candidates: Sequence[Candidate], rules: RunRules, reject: Rejections, notes: list[str]
) -> list[Candidate]:
    """The rows that are used, in their order; everything else goes to `reject`.

    Rows of files that name no run are runs of their own, unless a rule needs to know the runs.
    """
    if rules.asked:
        for candidate in candidates:
            if RUN not in candidate.columns:
                reason = (
                    f"{rules.asked} needs the run of each row, and no column names it; map it with "
                    "--columns run=COLUMN, or run=@file where each file is one run"
                )
                raise candidate.columns.error(reason)
    runs = _group(candidates, reject)
    if rules.asked:
        order = _order(runs, rules)
        runs = _sorted(runs, order, reject)
        notes.append(f"the rows of a run are ordered by {_said(order, candidates)}")
        runs = {run: rows for run, rows in runs.items() if rows}
        runs = _whole_runs(runs, rules, reject)
    elif rules.rows is None:
        _warn_of_curves(runs)
    if rules.rows in ("last", "lowest"):
        for run, rows in runs.items():
            kept = _one(run, rows, rules, reject)
            runs[run] = [kept] if kept is not None else []
    kept = {id(candidate) for rows in runs.values() for candidate in rows}
    return [candidate for candidate in candidates if id(candidate) in kept]


def _group(candidates: Sequence[Candidate], reject: Rejections) -> dict[str, list[Candidate]]:
    runs: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if RUN not in candidate.columns:
            runs.setdefault(f"\0{candidate.where}", []).append(candidate)
            continue
        try:
            run = candidate.columns.label(candidate.row)
        except ValueError as error:
            reject(error_at(candidate.row.path, candidate.row.place, str(error)))
            continue
        runs.setdefault(run, []).append(candidate)
    return runs


def _order(runs: dict[str, list[Candidate]], rules: RunRules) -> str | None:
    """The column that orders the rows of a run: the step, else D; None for the files' order."""
    columns = {id(row.columns): row.columns for rows in runs.values() for row in rows}
    if all(one.order() is not None for one in columns.values()):
        return STEP
    if "D" not in rules.required:
        return None
    for rows in runs.values():
        tokens = [lenient_number(_quietly(row, "D")) for row in rows]
        if len({*tokens}) < len(rows):
            return None
    return "D"


def _quietly(candidate: Candidate, name: str) -> object:
    try:
        return candidate.columns.raw(candidate.row, name)
    except ValueError:
        return None


def _said(order: str | None, candidates: Sequence[Candidate]) -> str:
    if order is None or not candidates:
        return "their place in the files"
    column = candidates[0].columns.text(order)
    return f"{'step' if order == STEP else order}{'' if column == order else f' ({column})'}"


def _sorted(
    runs: dict[str, list[Candidate]], order: str | None, reject: Rejections
) -> dict[str, list[Candidate]]:
    if order is None:
        return runs
    ordered = {}
    for run, rows in runs.items():
        keyed = []
        for i, candidate in enumerate(rows):
            try:
                keyed.append((candidate.number(order, positive=False), i, candidate))
            except ValueError as error:
                reject(error_at(candidate.row.path, candidate.row.place, str(error)))
        ordered[run] = [candidate for _, _, candidate in sorted(keyed, key=lambda key: key[:2])]
    return ordered


def _whole_runs(
    runs: dict[str, list[Candidate]], rules: RunRules, reject: Rejections
) -> dict[str, list[Candidate]]:
    kept = {}
    for run, rows in runs.items():
        reason, last, bad = None, rows[-1], False
        for condition in rules.finished:
            try:
                failure = condition.failure(last.row, last.columns)
            except ValueError as error:  # the run cannot be shown to be finished
                reject(error_at(last.row.path, last.row.place, str(error)))
                failure, bad = str(error), True
            if failure is not None:
                reason = f"{condition.option}: at the end of run {run} {failure}"
                break
        if reason is None and rules.diverged is not None:
            reason = _divergence(run, rows, rules)
        if reason is None:
            kept[run] = rows
            continue
        others = rows[:-1] if bad else rows  # a bad last row is listed already
        reject.removed.extend(Removal(row.where, reason) for row in others)
    return kept


def _divergence(run: str, rows: Sequence[Candidate], rules: RunRules) -> str | None:
    """Why a run counts as diverged: its last loss is not finite, or far above its lowest."""
    assert rules.diverged is not None
    losses = [lenient_number(_loss(row, rules.target)) for row in rows]
    known = [loss for loss in losses if loss is not None]
    if not known:
        return None
    option = f"--drop-diverged {rules.diverged:g}"
    if not math.isfinite(known[-1]):
        return f"{option}: run {run} ends with {rules.target} {known[-1]}"
    lowest = min(loss for loss in known if math.isfinite(loss))
    if known[-1] > rules.diverged * lowest:
        ratio = f"{known[-1]:.4g}, {known[-1] / lowest:.3g} times its lowest" if lowest else "> 0"
        return f"{option}: run {run} ends with {rules.target} {ratio}"
    return None


def _loss(candidate: Candidate, target: str) -> object:
    value = _quietly(candidate, target)
    return value.strip() if isinstance(value, str) else value


def _one(run: str, rows: list[Candidate], rules: RunRules, reject: Rejections) -> Candidate | None:
    """The last or the lowest row of a run; the others are listed."""
    if rules.rows == "lowest":
        losses: list[tuple[float, int]] = []
        for i, candidate in enumerate(rows):
            try:
                losses.append((candidate.number(rules.target), i))
            except ValueError as error:
                reject(error_at(candidate.row.path, candidate.row.place, str(error)))
        if not losses:
            return None
        usable = [rows[i] for _, i in losses]
        kept = rows[min(losses)[1]]
    else:
        usable, kept = rows, rows[-1]
    reject.removed.extend(
        Removal(row.where, f"--rows {rules.rows}: run {run} is used at {kept.where}")
        for row in usable
        if row is not kept
    )
    return kept


def _warn_of_curves(runs: dict[str, list[Candidate]]) -> None:
    """Say so when runs have several rows and nobody said which to use."""
    counts = [len(rows) for rows in runs.values()]
    several = sum(count > 1 for count in counts)
    if not several:
        return
    low, high = min(counts), max(counts)
    each = f"{low} each" if low == high else f"{low} to {high} each"
    warnings.warn(
        f"{sum(counts)} rows of {len(counts)} runs ({each}): all are used; --rows last or --rows "
        "lowest uses one row a run, --rows all says that this is meant",
        stacklevel=4,
    )


def warn_of_repeats(
    rows: Sequence[tuple], origin: Sequence[str], warn: Callable[[str], None]
) -> None:
    """Say so when a row repeats another one in every column that is read."""
    seen: dict[tuple, str] = {}
    repeats = []
    for row, where in zip(rows, origin, strict=True):
        if row in seen:
            repeats.append((where, seen[row]))
        else:
            seen[row] = where
    if repeats:
        later, first = repeats[0]
        many = "1 row repeats" if len(repeats) == 1 else f"{len(repeats)} rows repeat"
        warn(f"{many} another in every column that is read; the first, {later}, repeats {first}")
