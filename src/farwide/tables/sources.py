"""Open a file or a folder of any format that is read here."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from farwide.runlog import LogError, read_runs
from farwide.runlog.files import decode, read_bytes
from farwide.runlog.reading import CONFIG, METRICS
from farwide.tables import event_files, parquet, wandb_exports
from farwide.tables.cells import shortened
from farwide.tables.csv_text import CsvText, cut_short, read_csv_text
from farwide.tables.json_text import dotted_names, lookup, read_json_rows
from farwide.tables.mapping import FILE
from farwide.tables.records import is_our_log, records_table
from farwide.tables.runs import Parameters, runs_table
from farwide.tables.source import ABSENT, Row, Source
from farwide.tables.table import Rejections, Removal, Table

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")  # read where a folder is given
_GZIP = b"\x1f\x8b"
_MAGIC = {b"PK\x03\x04": "a zip or spreadsheet file", b"\xff\xfe": "UTF-16 text",
          b"\xfe\xff": "UTF-16 text"}  # fmt: skip
_EXPECTED = "expected CSV or JSON in UTF-8"
_OUR_NAMES = {"tokens": "D", "validation_loss": "loss"}


def is_our_runs(path: Path) -> bool:
    """Whether a path means run folders: a folder, or the metrics.jsonl inside a run's folder.

    A folder with no metrics.jsonl at any depth is none of ours where it holds logs of others:
    TensorBoard event files, Weights & Biases summaries, or else tables.
    """
    if path.is_dir():
        return next(_foreign(path), None) is None
    return path.name == METRICS and (path.parent / CONFIG).is_file()


def open_sources(
    paths: Sequence[Path], parameters: Parameters, reject: Rejections, notes: list[str]
) -> Iterator[Source]:
    """One source a file, a folder of our runs, or a folder with the event files of one run.

    What cannot be opened goes to `reject`; `notes` says how many files of a folder are read.
    """
    done: set[Path] = set()
    for path in paths:
        files = [path]
        if path.is_dir() and not is_our_runs(path):
            files = list(_foreign(path))
            there = sum(len(names) for _, _, names in os.walk(path))
            notes.append(f"{len(files)} of the {there} files in {path} are logs, by their names")
        for file in files:
            together = [file]
            if event_files.is_event_file(file) and file.is_file():
                if file in done:
                    continue
                together = [o for o in (*files, *paths) if event_files.is_event_file(o)]
                together = [o for o in dict.fromkeys(together) if o.parent == file.parent]
                done.update(together)
            try:
                yield _open(together, parameters, reject)
            except LogError as error:
                reject(error)


def _foreign(folder: Path) -> Iterator[Path]:
    """The logs of others in a folder, at any depth, sorted; none where it holds logs of ours."""
    found = []
    for where, folders, names in os.walk(folder):
        folders.sort()
        if METRICS in names:
            return
        found += [Path(where, name) for name in sorted(names)]
    special = [
        path
        for path in found
        if event_files.is_event_file(path) or path.name == wandb_exports.SUMMARY
    ]
    yield from special or [
        path for path in found if path.name.lower().removesuffix(".gz").endswith(_TABLES)
    ]


def _open(paths: Sequence[Path], parameters: Parameters, reject: Rejections) -> Source:
    path = paths[0]
    if is_our_runs(path):
        table = runs_table(read_runs(path, on_error=reject), parameters=parameters)
        reject.removed.extend(table.removed)
        return table_source(table, path)
    if event_files.is_event_file(path):
        return event_files.event_source(paths, reject)
    raw = read_bytes(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if raw.startswith(_GZIP):
        raw = _decompressed(raw, path)
        suffixes = suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes
    suffix = suffixes[-1] if suffixes else ""
    if raw.startswith(parquet.MAGIC) or (suffix in (".parquet", ".pq") and raw.strip()):
        return parquet.parquet_source(raw, path)
    _refuse_binary(raw, path)
    text = decode(raw.removeprefix(b"\xef\xbb\xbf"), path)
    if not text.strip():
        raise LogError(path, "empty file", line=1)
    if is_our_log(text):
        return table_source(records_table(raw, path, parameters), path)
    if suffix in _JSON_SUFFIXES or text.lstrip().startswith(("{", "[")):
        return _json_source(text, path, suffix, reject)
    return _csv_source(text, path, reject)


def table_source(table: Table, path: Path) -> Source:
    """A table of our runs as a source."""
    names = [*table.columns]
    cells = [
        dict(zip(names, (column.item() for column in row), strict=True))
        for row in zip(*table.columns.values(), strict=True)
    ]
    rows = [
        Row(*_place(where), row) for where, row in zip(table.origin, cells, strict=True)
    ]  # fmt: skip

    def look(cells: Any, column: str) -> Any:
        return cells.get(column, cells.get(_OUR_NAMES.get(column, column), ABSENT))

    present = {*names, *_OUR_NAMES, FILE}
    return Source(
        path, tuple(names), lambda used, reject: rows, look, present.__contains__, ours=True
    )


def _place(where: str) -> tuple[Path, int | None]:
    file, colon, line = where.rpartition(":")
    return (Path(file), int(line)) if colon and line.isdecimal() else (Path(where), None)


def _csv_source(text: str, path: Path, reject: Rejections) -> Source:
    table = read_csv_text(text, path, reject)
    if wandb_exports.is_wide(table.names):
        return _wide_source(table, path)

    def rows(used: Collection[str], reject: Rejections) -> list[Row]:
        for column in table.names:
            if column in used and table.names.count(column) > 1:
                reason = f"the header has the column {column!r} twice"
                raise LogError(path, reason, line=table.header_line)
        return _whole_rows(table, path, used, reject)

    index = {name: i for i, name in reversed([*enumerate(table.names)])}

    def look(cells: Any, column: str) -> Any:
        return cells[index[column]] if column in index else ABSENT

    present = {*table.names, FILE}
    return Source(
        path, tuple(table.names), rows, look, present.__contains__, table.header_line, texts=True
    )


def _whole_rows(table: CsvText, path: Path, used: Collection[str], reject: Rejections) -> list[Row]:
    """The rows of a CSV file but for a last one that may be cut short."""
    kept = list(table.rows)
    if not kept:
        _say_empty(path, "has a header and no rows", reject)
    cut = cut_short(table, set(used))
    if cut is not None:
        reject(LogError(path, cut, line=kept.pop()[0]))
    return [Row(path, line, cells) for line, cells in kept]


def _wide_source(table: CsvText, path: Path) -> Source:
    """A chart exported from Weights & Biases: a row for each run and line."""
    names, _, _ = wandb_exports.unfold_wide(table.names, [])
    twice = next((name for name in table.names if name and table.names.count(name) > 1), None)
    if twice is not None:
        reason = f"the header has the column {shortened(twice)!r} twice: two runs of one name?"
        raise LogError(path, reason, line=table.header_line)

    def rows(used: Collection[str], reject: Rejections) -> list[Row]:
        whole = len(_whole_rows(table, path, table.names, reject))
        _, unfolded, empty = wandb_exports.unfold_wide(table.names, table.rows[:whole])
        if table.rows and not unfolded:
            raise LogError(path, "no run has a value in any line", line=table.header_line)
        reject.removed.extend(Removal(f"{path}:{line}", "no run has a value") for line in empty)
        return [Row(path, place, cells) for place, cells in unfolded]

    def look(cells: Any, column: str) -> Any:
        return cells.get(column, ABSENT)

    present = {*names, FILE}
    return Source(
        path, tuple(names), rows, look, present.__contains__, table.header_line, texts=True
    )


def _json_source(text: str, path: Path, suffix: str, reject: Rejections) -> Source:
    found = read_json_rows(text, path, suffix, reject)
    if path.name == wandb_exports.SUMMARY:
        found = [(place, wandb_exports.complete_summary(obj, path)) for place, obj in found]
    if not found:
        _say_empty(path, "holds no rows", reject)
    names = tuple(dict.fromkeys(name for _, obj in found for name in dotted_names(obj)))
    present = {*names, FILE}

    def has(name: str) -> bool:
        return name in present or any(lookup(obj, name) is not ABSENT for _, obj in found)

    def rows(used: Collection[str], reject: Rejections) -> list[Row]:
        return [
            Row(path, place, obj) for place, obj in wandb_exports.with_histories(found, used)
        ]  # fmt: skip

    return Source(path, names, rows, lookup, has, found[0][0] if found else 1)


def _say_empty(path: Path, reason: str, reject: Rejections) -> None:
    """Reject a file without rows, unless its rows are listed as bad already."""
    if not any(removal.where.startswith(f"{path}:") for removal in reject.removed):
        reject(LogError(path, reason, line=1))


def _decompressed(raw: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise LogError(path, f"damaged gzip data: {error}", line=1) from None
    except MemoryError:
        raise LogError(path, "gzip data that does not fit into memory", line=1) from None


def _refuse_binary(raw: bytes, path: Path) -> None:
    for magic, what in _MAGIC.items():
        if raw.startswith(magic):
            raise LogError(path, f"{what}; {_EXPECTED}", line=1)
    if (at := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, at) + 1
        raise LogError(path, f"binary file (a zero byte); {_EXPECTED}", line=line)
