"""Rows of a CSV file, each with the line it starts on.

Accepted: UTF-8 with or without a byte order mark; cells apart by comma, semicolon or tab,
whichever splits the header into most cells; quoted cells; any line ends; blank lines at the end.

A file cut short. A last line that lacks cells is refused like any other. A cut in the middle of
the last cell shows in nothing but the missing line end, which some editors also leave out of whole
files. So a last line without its end is used only where its last cell shows that it is whole: it
is not one of the cells that are read, or it is quoted, or it has at least as many characters after
its decimal point as every other row (a cut one would have fewer; a number of 15 digits may be one
short, for what a cut could take from it is below rounding). Every other such line is refused, with
what to do about it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from farwide.runlog import LogError
from farwide.tables.cells import shortened

_DECIMALS = re.compile(r"[+-]?\d*\.(\d+(?:[eE][+-]\d\d)?)", re.ASCII)
_ROUNDING_DIGITS = 15
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}


class CsvText(NamedTuple):
    """A CSV file, split into cells."""

    names: list[str]  # of the columns
    rows: list[tuple[int, list[str]]]  # (line, as many cells as names)
    header_line: int
    ended: bool  # whether the last row is whole: it has a line end, or was refused already


def read_csv_text(text: str, path: Path, reject: Callable[[LogError], None]) -> CsvText:
    """Split the text of a CSV file into cells.

    Raises LogError for a file that is no CSV; hands rows of the wrong length to `reject`.
    """
    records = _records(text, _delimiter(text, path), path)
    header_line, header = next(records)
    names = [name.strip() for name in header]
    rows = []
    blank = last = 0
    for line, cells in records:
        if not cells:
            blank = blank or line
            continue
        if blank:
            reject(LogError(path, "blank line between rows", line=blank))
            blank = 0
        last = line
        if len(cells) == len(names):
            rows.append((line, cells))
            continue
        reason = f"{len(cells)} cells where the header has {len(names)}"
        if len(cells) < len(names):
            reason += ": a line cut short?"
        reject(LogError(path, reason, line=line))
    ended = text.endswith(("\n", "\r")) or not rows or rows[-1][0] != last
    return CsvText(names, rows, header_line, ended or text.rstrip(" \t").endswith('"'))


def cut_short(table: CsvText, used: Collection[str]) -> str | None:
    """Why the last row may have been cut, or None when it is whole (see the file's docstring)."""
    *others, last = [row[-1].strip() for _, row in table.rows] or [""]
    if table.ended or table.names[-1] not in used:
        return None
    tail, longest = _tail(last), max(map(_tail, others), default=0)
    slack = 1 if "e" not in last.lower() and len(last) > _ROUNDING_DIGITS else 0
    if tail and longest and tail >= longest - slack:
        return None
    return (
        f"the last line has no line end, so its last cell, {table.names[-1]} = {shortened(last)}, "
        "may be cut short; if the file is whole, end it with a newline"
    )


def _tail(cell: str) -> int:
    """How many characters follow the decimal point; 0 for a cell whose end cannot be told."""
    match = _DECIMALS.fullmatch(cell.strip())
    return len(match.group(1)) if match else 0


def _delimiter(text: str, path: Path) -> str:
    header = re.split(r"\r\n|\n|\r", text, maxsplit=1)[0]
    if not header.strip():
        raise LogError(path, "the first line is blank; expected the names of the columns", line=1)
    counts: dict[str, int] = {}
    failure = LogError(path, "the header holds no column", line=1)
    for delimiter in _DELIMITERS:
        try:
            counts[delimiter] = len(next(_records(header, delimiter, path))[1])
        except LogError as error:  # quotes that do not end where this delimiter would have them end
            counts[delimiter], failure = 0, error
    if not any(counts.values()):
        raise failure
    best = max(counts.values())
    winners = [delimiter for delimiter, count in counts.items() if count == best]
    if best > 1 and len(winners) > 1:
        names = " and ".join(_DELIMITERS[delimiter] for delimiter in winners)
        reason = f"the header splits into {best} cells at {names} alike; use one of them"
        raise LogError(path, reason, line=1)
    return winners[0]


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line the record starts on, cells); cells is empty for a blank line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise LogError(path, f"not a CSV row: {error}", line=line) from None
        yield line, ([] if not any(cell.strip() for cell in cells) and len(cells) <= 1 else cells)
