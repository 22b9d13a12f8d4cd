"""Read results for a fit from any mix of files and folders, and say what becomes of every row."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from farwide.runlog import LogError, Run
from farwide.tables.conditions import Condition, parse_condition
from farwide.tables.mapping import FILE, RUN, STEP, WEIGHT, Columns
from farwide.tables.runs import Parameters, runs_table
from farwide.tables.selection import (
    ROWS,
    Candidate,
    RowsOfRun,
    RunRules,
    select,
    warn_of_repeats,
)
from farwide.tables.source import Source
from farwide.tables.sources import open_sources, table_source
from farwide.tables.table import Rejections, Removal, Table, error_at

REQUIRED = ("N", "D", "loss")


def read_table(
    paths: str | Path | Iterable[str | Path],
    *,
    columns: Mapping[str, str] | None = None,
    required: Sequence[str] = REQUIRED,
    skip_bad: bool = False,
    parameters: Parameters = "non_embedding",
    guess: bool = False,
    where: Sequence[str | Condition] = (),
    finished: Sequence[str | Condition] = (),
    diverged: float | None = None,
    rows: RowsOfRun | None = None,
) -> Table:
    """Read positive numbers in named columns, one row a result.

    Files: CSV, JSON Lines, JSON (an array of objects, or one object), each also gzipped; Parquet;
    TensorBoard event files; exports of Weights & Biases; and folders of our runs.

    Arguments: `paths`, a file or folder or several; `columns` {our name: the name in the files, or
    a formula of such names}, where a name that is not mapped stands for itself and a dotted name
    reaches into nested values; `required`, the columns to read, the loss last; `run` (text) and
    `weight` are read too where a file has them. `parameters` says which count is N for runs of
    ours, whose columns need no mapping (they are those of `runs_table`).
    `guess` takes a column under a well-known other name where exactly one is there, and says so in
    `Table.notes`.
    `skip_bad` removes bad rows and files and lists them in `Table.removed`; else the first one
    raises.

    In this order: `where`, conditions that every row must meet; `finished`, conditions that the
    last row of a run must meet, or the run is left out; `diverged`, a factor: a run is left out
    that ends with a loss that is not finite or above this many times its lowest; `rows`, which rows
    of a run are used: "all", the "last" (by its step, else D where that differs in each row, else
    place in the files) or the one of "lowest" loss. None is "all" with a warning where a run has
    several. Only rows that are left then must hold numbers. What is left out is in
    `Table.removed`, a reason each; rows that repeat another are used and warned about.

    Raises LogError naming file and line for: a file that is missing, unreadable, empty, not of its
    format or cut short, a row with too few cells or invalid JSON, a missing column (with those
    present and the nearest), a cell that is no finite positive number; and, `skip_bad` or not, when
    no row is left. ValueError for arguments that cannot be used.
    """
    sources = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not sources:
        raise ValueError("paths is empty; expected at least one file or folder")
    rules = run_rules(required, finished, diverged, rows)
    conditions = [parse_condition(c) if isinstance(c, str) else c for c in where]
    reject = Rejections(skip_bad)
    notes: list[str] = []
    candidates: list[Candidate] = []
    for source in open_sources(sources, parameters, reject, notes):
        try:
            found = _bind(source, dict(columns or {}), rules, conditions, guess, notes)
            candidates += _filtered(source, found, rules, conditions, reject)
        except LogError as error:
            reject(error)
    candidates = select(candidates, rules, reject, notes)
    table = _collect(candidates, dict(columns or {}), rules, reject, notes)
    if table is None:
        raise LogError(sources[0], _nothing_left(sources, reject))
    labels = table.columns.values()
    warn_of_repeats(
        list(zip(*(column.tolist() for column in labels), strict=True)), table.origin,
        lambda message: warnings.warn(message, stacklevel=4),
    )  # fmt: skip
    return table


def filter_runs(
    runs: Sequence[Run],
    *,
    parameters: Parameters = "non_embedding",
    required: Sequence[str] = REQUIRED,
    where: Sequence[str | Condition] = (),
) -> tuple[list[Run], list[Removal]]:
    """Runs of ours that meet conditions at their end, and what was left out.

    Conditions speak of the columns of `runs_table`. Runs that it does not list (held out,
    unfinished) are kept: it says why they are not fitted.
    """
    conditions = [parse_condition(c) if isinstance(c, str) else c for c in where]
    table = runs_table(runs, parameters=parameters)
    if not conditions or not len(table):
        return list(runs), []
    reject = Rejections(False)
    source = table_source(table, Path(table.origin[0]))
    rules = run_rules(required, (), None, None)
    found = _bind(source, {}, rules, conditions, False, [])
    _filtered(source, found, rules, conditions, reject)
    gone = {removal.where for removal in reject.removed}
    return [run for run in runs if str(run.path) not in gone], reject.removed


def run_rules(
    required: Sequence[str],
    finished: Sequence[str | Condition],
    diverged: float | None,
    rows: RowsOfRun | None,
) -> RunRules:
    """The rules for runs, checked; ValueError for one that cannot be used."""
    if rows is not None and rows not in ROWS:
        raise ValueError(f"rows is {rows!r}; accepted are {', '.join(ROWS)}")
    if diverged is not None and not 1 <= diverged < float("inf"):
        raise ValueError(f"diverged is {diverged!r}; expected a factor of 1 or more")
    conditions = tuple(
        parse_condition(c, f"--finished {c}") if isinstance(c, str) else c for c in finished
    )
    return RunRules(rows, conditions, diverged, required[-1], required)


def _bind(
    source: Source,
    mapping: Mapping[str, str],
    rules: RunRules,
    conditions: Sequence[Condition],
    guess: bool,
    notes: list[str],
) -> Columns:
    found = Columns(source, mapping, rules.required, guess=guess and not source.ours)
    if source.ours and rules.rows in ("all", "lowest"):
        raise LogError(source.path, f"--rows {rules.rows}: runs of ours have one row, their last")
    for condition in (*conditions, *rules.finished):
        condition.bind(found)
    if rules.asked:
        found.order()
    if found.guessed:
        pairs = ", ".join(f"{name} = {column}" for name, column in found.guessed.items())
        note = f"{pairs} (guessed from the names of the columns; --columns says otherwise)"
        if note not in notes:
            notes.append(note)
    return found


def _filtered(
    source: Source,
    columns: Columns,
    rules: RunRules,
    conditions: Sequence[Condition],
    reject: Rejections,
) -> list[Candidate]:
    """The rows of a source that meet the conditions; the others are listed."""
    kept = []
    for row in source.rows(columns.all_used(), reject):
        try:
            for condition in conditions:
                if (failure := condition.failure(row, columns)) is not None:
                    reject.removed.append(Removal(row.where, f"{condition.option}: {failure}"))
                    break
            else:
                kept.append(Candidate(row, columns))
        except ValueError as error:
            reject(error_at(row.path, row.place, str(error)))
    return kept


def _collect(
    candidates: Sequence[Candidate],
    mapping: Mapping[str, str],
    rules: RunRules,
    reject: Rejections,
    notes: list[str],
) -> Table | None:
    """The numbers of the rows as a table; None when no row is left."""
    wanted = [name for name in dict.fromkeys((*rules.required, *mapping)) if name != STEP]
    rows: list[dict[str, Any]] = []
    origin = []
    files: dict[str, Path] = {}
    for candidate in candidates:
        columns, row = candidate.columns, candidate.row
        values: dict[str, Any] = {}
        try:
            for name in wanted:
                values[name] = columns.label(row) if name == RUN else candidate.number(name)
            for name in (RUN, WEIGHT):
                if name in columns and name not in values:
                    values[name] = columns.label(row) if name == RUN else candidate.number(name)
        except ValueError as error:
            reject(error_at(row.path, row.place, str(error)))
            continue
        rows.append(values)
        origin.append(candidate.where)
        files[candidate.where] = row.path
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    for row, where in zip(rows, origin, strict=True):
        if RUN in names:
            row.setdefault(RUN, where)
        for name in names:
            if name not in row:
                raise LogError(files[where], f"has no column {name!r}, and other files do")
    arrays = {
        name: np.asarray([row[name] for row in rows], dtype=np.str_ if name == RUN else np.float64)
        for name in names
    }
    _warn_of_sizes(arrays)
    return Table(arrays, tuple(origin), tuple(reject.removed), tuple(notes))


def _warn_of_sizes(columns: Mapping[str, np.ndarray]) -> None:
    """Say so when rows of one run have several N: they may be several runs of one name."""
    if RUN not in columns or "N" not in columns:
        return
    sizes: dict[str, set[float]] = {}
    for run, size in zip(columns[RUN].tolist(), columns["N"].tolist(), strict=True):
        sizes.setdefault(run, set()).add(size)
    several = [run for run, found in sizes.items() if len(found) > 1]
    if several:
        more = f" (and {len(several) - 1} more)" if several[1:] else ""
        warnings.warn(
            f"rows of run {several[0]}{more} differ in N: several runs of one name? The bootstrap "
            "and --rows take them for one",
            stacklevel=4,
        )


def _nothing_left(sources: Sequence[Path], reject: Rejections) -> str:
    others = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    if not reject.removed:
        return f"no rows{others}"
    first = reject.removed[0]
    count = len(reject.removed)
    return f"no row is left{others}: {count} left out, the first {first.where}: {first.reason}"


__all__ = ["FILE", "REQUIRED", "filter_runs", "read_table", "run_rules"]
