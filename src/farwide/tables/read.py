"""Read results for a fit from any mix of CSV files, JSON Lines files and folders of our runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from farwide.runlog import LogError, read_runs
from farwide.runlog.files import decode, read_bytes
from farwide.runlog.reading import CONFIG, METRICS
from farwide.tables.cells import json_number, text_label, text_number
from farwide.tables.csv_text import cut_short, read_csv_text
from farwide.tables.json_lines import absent, dotted_names, lookup, read_json_lines
from farwide.tables.records import is_our_log, records_table
from farwide.tables.runs import Parameters, runs_table
from farwide.tables.table import Rejections, Table, concatenate

RUN = "run"
WEIGHT = "weight"
OPTIONAL = (RUN, WEIGHT)
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_MAGIC = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip or spreadsheet file",
          b"\x1f\x8b": "a gzip file", b"\xff\xfe": "UTF-16 text",
          b"\xfe\xff": "UTF-16 text"}  # fmt: skip


def read_table(
    paths: str | Path | Iterable[str | Path],
    *,
    columns: Mapping[str, str] | None = None,
    required: Sequence[str] = ("N", "D", "loss"),
    skip_bad: bool = False,
    parameters: Parameters = "non_embedding",
) -> Table:
    """Read positive numbers in named columns, one row a result.

    Arguments: `paths`, a file or folder or several; `columns` {our name: the name in the files},
    where a name that is not mapped stands for itself and a dotted name reaches into nested JSON;
    `required`, the columns to read; `run` (text) and `weight` are read too where a file has them.
    `parameters` says which count is N for runs of ours, whose columns need no mapping (they
    are those of `runs_table`).
    `skip_bad` removes bad rows and files and lists them in `Table.removed`; else the first one
    raises.

    Raises LogError naming file and line for: a file that is missing, unreadable, empty, not text
    or cut short, a row with too few cells or invalid JSON, a missing column (with those present
    and the nearest), a cell that is no finite positive number; and, `skip_bad` or not, when no row
    is left.
    """
    sources = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not sources:
        raise ValueError("paths is empty; expected at least one file or folder")
    mapping = dict(columns or {})
    reject = Rejections(skip_bad)
    parts = []
    for path in sources:
        try:
            parts.append(_read_source(path, mapping, required, parameters, reject))
        except LogError as error:
            reject(error)
    parts = [part for part in parts if len(part)]
    if not parts:
        raise LogError(sources[0], _nothing_left(sources, reject))
    return concatenate(parts, reject.removed)


def is_our_runs(path: Path) -> bool:
    """Whether a path means run folders: a folder, or the metrics.jsonl inside a run's folder."""
    return path.is_dir() or (path.name == METRICS and (path.parent / CONFIG).is_file())


def _read_source(
    path: Path,
    mapping: Mapping[str, str],
    required: Sequence[str],
    parameters: Parameters,
    reject: Rejections,
) -> Table:
    if is_our_runs(path):
        runs = read_runs(path, on_error=reject)
        table = runs_table(runs, parameters=parameters)
        reject.removed.extend(table.removed)
        return _select(table, mapping, required, path)
    raw = read_bytes(path)
    _refuse_binary(raw, path)
    text = decode(raw.removeprefix(b"\xef\xbb\xbf"), path)
    if not text.strip():
        raise LogError(path, "empty file", line=1)
    if is_our_log(text):
        return _select(records_table(raw, path, parameters), mapping, required, path)
    if path.suffix.lower() in _JSON_SUFFIXES or text.lstrip().startswith(("{", "[")):
        return _read_json(text, path, mapping, required, reject)
    return _read_csv(text, path, mapping, required, reject)


def _select(table: Table, mapping: Mapping[str, str], required: Sequence[str], path: Path) -> Table:
    """The required columns of a table of our runs, and `run`."""
    columns = {}
    for name in dict.fromkeys((*required, *mapping, RUN)):
        column = mapping.get(name, name)
        column = {"tokens": "D", "validation_loss": "loss"}.get(column, column)
        if column not in table.columns:
            raise LogError(path, missing_column(name, column, [*table.columns]))
        columns[name] = table.columns[column]
    return Table(columns, table.origin)


def _read_csv(
    text: str,
    path: Path,
    mapping: Mapping[str, str],
    required: Sequence[str],
    reject: Rejections,
) -> Table:
    table = read_csv_text(text, path, reject)
    wanted = _wanted(mapping, required, table.names)
    for name, column in wanted.items():
        if column not in table.names:
            reason = missing_column(name, column, table.names)
            raise LogError(path, reason, line=table.header_line)
        if table.names.count(column) > 1:
            reason = f"the header has the column {column!r} twice"
            raise LogError(path, reason, line=table.header_line)
    cut = cut_short(table, set(wanted.values()))
    rows = list(table.rows)
    if cut is not None:
        reject(LogError(path, cut, line=rows.pop()[0]))
    index = {name: table.names.index(column) for name, column in wanted.items()}

    def parse(cells: list[str]) -> dict[str, Any]:
        return {
            name: (text_label if name == RUN else text_number)(_label(name, wanted), cells[at])
            for name, at in index.items()
        }

    return _collect(rows, parse, wanted, path, reject)


def _read_json(
    text: str,
    path: Path,
    mapping: Mapping[str, str],
    required: Sequence[str],
    reject: Rejections,
) -> Table:
    rows = read_json_lines(text, path, reject)
    present = list(dict.fromkeys(name for _, obj in rows for name in dotted_names(obj)))
    wanted = _wanted(mapping, required, present)
    for name, column in wanted.items():
        if rows and all(absent(lookup(obj, column)) for _, obj in rows):
            raise LogError(path, missing_column(name, column, present), line=rows[0][0])

    def parse(obj: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for name, column in wanted.items():
            value = lookup(obj, column)
            if absent(value):
                raise ValueError(missing_column(name, column, list(dotted_names(obj))))
            read = text_label if name == RUN else json_number
            values[name] = read(_label(name, wanted), value)
        return values

    return _collect(rows, parse, wanted, path, reject)


def _collect(rows, parse, wanted: Mapping[str, str], path: Path, reject: Rejections) -> Table:
    """Parse rows of (line, content) into a table; a ValueError becomes a rejection."""
    if not rows and not reject.skip_bad:
        raise LogError(path, "has a header and no rows", line=1)
    values: dict[str, list[Any]] = {name: [] for name in wanted}
    origin = []
    for line, content in rows:
        try:
            parsed = parse(content)
        except ValueError as error:
            reject(LogError(path, str(error), line=line))
            continue
        origin.append(f"{path}:{line}")
        for name, value in parsed.items():
            values[name].append(value)
    columns = {
        name: np.asarray(cells, dtype=np.str_ if name == RUN else np.float64)
        for name, cells in values.items()
    }
    return Table(columns, tuple(origin))


def _wanted(
    mapping: Mapping[str, str], required: Sequence[str], present: Sequence[str]
) -> dict[str, str]:
    """{our name: column of the file}: all that is required or mapped, and what else is there."""
    wanted = {name: mapping.get(name, name) for name in (*required, *mapping)}
    for name in OPTIONAL:
        if name not in wanted and name in present:
            wanted[name] = name
    return wanted


def _label(name: str, wanted: Mapping[str, str]) -> str:
    """How a message calls a column: "loss", or "loss (column val_loss)"."""
    return name if wanted[name] == name else f"{name} (column {wanted[name]!r})"


def missing_column(name: str, column: str, present: Sequence[str]) -> str:
    """The message for a column that a file lacks: what is there, the nearest, how to map it."""
    shown = ", ".join(present[:30]) + (f" and {len(present) - 30} more" if present[30:] else "")
    lower = {other.lower(): other for other in reversed(present)}
    parts = {part: other for other in reversed(present) for part in _parts(other)}
    near = difflib.get_close_matches(column.lower(), [*lower], 1, 0.6)
    guess = lower[near[0]] if near else parts.get(column.lower())
    for alias in _ALIASES.get(name, ()):
        guess = guess or lower.get(alias) or parts.get(alias)
    hint = f"; map it with --columns {name}={guess or 'COLUMN'}"
    nearest = f" (nearest: {guess})" if guess else ""
    if present and all(_looks_like_number(other) for other in present):
        hint = "; is the line with the names of the columns missing?"
    return f"no column {column!r}{nearest}; present: {shown or 'none'}{hint}"


def _looks_like_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_ALIASES = {
    "N": ("params", "parameters", "n_params", "num_params"),
    "D": ("tokens", "n_tokens", "num_tokens"),
    "loss": ("val_loss", "validation_loss", "final_loss", "eval_loss"),
}


def _parts(name: str) -> list[str]:
    """The words of a column's name, in lower case."""
    return "".join(c.lower() if c.isalnum() else " " for c in name).split()


def _refuse_binary(raw: bytes, path: Path) -> None:
    for magic, what in _MAGIC.items():
        if raw.startswith(magic):
            raise LogError(path, f"{what}; expected CSV or JSON Lines in UTF-8", line=1)
    if (at := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, at) + 1
        raise LogError(path, "binary file (a zero byte); expected CSV or JSON Lines", line=line)


def _nothing_left(sources: Sequence[Path], reject: Rejections) -> str:
    others = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    if not reject.removed:
        return f"no rows{others}"
    first = reject.removed[0]
    count = len(reject.removed)
    return f"no row is left{others}: {count} left out, the first {first.where}: {first.reason}"
