"""Log files broken at random, in every format, with what can be said of their rows beforehand."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import random
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from farwide.runlog import LogError
from farwide.tables import Table
from tests.tables.formats import COLUMNS, FORMATS

GOOD = [{"run": f"r{i:02d}", "x": 1e6 * 2**i, "y": round(3.0 * 2 ** (-0.3 * i), 4)}
        for i in range(12)]  # fmt: skip
SPARSE = ("events", "chart")  # a missing value is no row there
COMPRESSED = ("gzipped CSV", "gzipped JSON Lines")
BINARY = ("Parquet", "events", *COMPRESSED)


class Broken(NamedTuple):
    """A file, and the number of its rows where that is known."""

    kind: str  # "CSV: NaN"
    format: str
    name: str
    raw: bytes
    rows: int | None = None
    bad: int = 0  # of these rows
    damaged: bool = True  # whether a strict reader must refuse it; False: it may

    @property
    def columns(self) -> dict[str, str]:
        return COLUMNS.get(self.format, {})


# Rows with a value that cannot be fitted: (value, whether it is one in a sparse format too)
VALUES: dict[str, Any] = {
    "NaN": float("nan"), "infinity": float("inf"), "zero": 0.0, "negative": -1.5,
    "a huge integer": 10**400, "huge": 1e308 * 10, "a text": "three", "true": True, "null": None,
    "a list": [1, 2], "deep nesting": "DEEP", "a long text": "9" * 200_000, "blank": "  ",
    "many digits": "1" + "0" * 5000, "a comma": "3,5",
}  # fmt: skip


def broken_files(seed: int, count: int) -> Iterator[Broken]:
    """`count` broken files; the same for the same seed."""
    rng = random.Random(seed)
    makers: list[Callable[[random.Random, str], Broken]] = [
        _bad_value, _bad_value, _null_column, _repeated, _truncated, _flipped, _inserted, _deleted,
        _emptied, _binary, _encoded, _delimiters, _renamed, _appended, _one_name,
    ]  # fmt: skip
    names = [*FORMATS]
    for i in range(count):
        yield makers[i % len(makers)](rng, names[(i // len(makers) + i) % len(names)])


def _write(format: str, rows: list[dict[str, Any]]) -> bytes:
    return FORMATS[format][1](rows)


def _rows(format: str) -> list[dict[str, Any]]:
    """The good rows; curves of a few runs where a format means curves."""
    runs = {"chart": 3, "histories": 4}.get(format)
    return [{**row, "run": f"run{i % runs}"} if runs else dict(row) for i, row in enumerate(GOOD)]


def _bad_value(rng: random.Random, format: str) -> Broken:
    what = rng.choice([*VALUES])
    value = VALUES[what]
    rows = _rows(format)
    at = rng.randrange(len(rows))
    if format in ("Parquet", "events") and (isinstance(value, int) or what == "deep nesting"):
        what, value = "NaN", float("nan")  # these have a type for a column
    column = "y" if format in SPARSE else rng.choice(["x", "y"])
    if format == "Parquet" and isinstance(value, str | list):
        rows = [{**row, column: value if isinstance(value, list) else str(row[column])}
                for row in rows]  # fmt: skip
    rows[at][column] = value
    raw = _write(format, rows)
    if what == "deep nesting" and format in ("JSON Lines", "JSON", "histories"):
        raw = raw.replace(b'"DEEP"', b"[" * 5000 + b"]" * 5000)
    sparse = format in SPARSE and (value is None or isinstance(value, str | list))
    whole = format == "Parquet" and isinstance(value, str | list)
    known = not (sparse or format in SPARSE or whole or what in ("deep nesting", "many digits"))
    damaged = not sparse and not (format == "chart" and what == "blank")
    return Broken(f"{format}: {what}", format, FORMATS[format][0], raw,
                  len(rows) if known else None, 1, damaged)  # fmt: skip


def _null_column(rng: random.Random, format: str) -> Broken:
    rows = _rows(format)
    column = rng.choice(["x", "y"])
    absent = rng.random() < 0.5
    for row in rows:
        row[column] = None
        if absent:
            del row[column]
    if format == "chart" and column == "x":
        rows = [{**row, "x": ""} for row in rows]
    kind = f"{format}: {'no' if absent else 'null'} column"
    return Broken(kind, format, FORMATS[format][0], _write(format, rows))


def _repeated(rng: random.Random, format: str) -> Broken:
    rows = _rows(format)
    again = rng.sample(rows, 5)
    rows = [*rows, *again]
    known = None if format in (*SPARSE,) else len(rows)
    return Broken(f"{format}: repeated rows", format, FORMATS[format][0], _write(format, rows),
                  known, 0, False)  # fmt: skip


def _one_name(rng: random.Random, format: str) -> Broken:
    rows = [{**row, "run": "one"} for row in GOOD]
    if format == "events":
        rows = [{**row, "step": 7} for row in GOOD[:6]] + [*GOOD[6:]]
    known = None if format in SPARSE else len(rows)
    return Broken(f"{format}: runs of one name", format, FORMATS[format][0],
                  _write(format, rows), known, 0, False)  # fmt: skip


def _mangled(
    rng: random.Random, format: str, what: str, mangle: Callable[[bytes], bytes], damaged=False
) -> Broken:
    """The bytes of a good file, changed; those within a gzipped file half of the time."""
    raw = _write(format, _rows(format))
    if format in COMPRESSED and rng.random() < 0.5:
        raw = gzip.compress(mangle(gzip.decompress(raw)), mtime=0)
    else:
        raw = mangle(raw)
    return Broken(f"{format}: {what}", format, FORMATS[format][0], raw, None, 0, damaged)


def _truncated(rng: random.Random, format: str) -> Broken:
    return _mangled(rng, format, "cut short", lambda raw: raw[: rng.randrange(len(raw))])


def _flipped(rng: random.Random, format: str) -> Broken:
    def flip(raw: bytes) -> bytes:
        changed = bytearray(raw)
        for _ in range(rng.choice([1, 1, 3, 20])):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)

    return _mangled(rng, format, "flipped bytes", flip)


def _inserted(rng: random.Random, format: str) -> Broken:
    junk = [b"\n", b"\r", b",", b'"', b"\x00", b"\xff\xfe", b"{}\n", b"\n\n", b"1,2\n", b"[",
            b"]", b"}", b"\xe2\x80\xa8", b"x" * 2_000_000, b"\\", b"NaN", b"null", b"- y",
            b"."]  # fmt: skip

    def insert(raw: bytes) -> bytes:
        at = rng.randrange(len(raw) + 1)
        return raw[:at] + rng.choice(junk) + raw[at:]

    return _mangled(rng, format, "inserted bytes", insert)


def _deleted(rng: random.Random, format: str) -> Broken:
    def delete(raw: bytes) -> bytes:
        at = rng.randrange(len(raw))
        return raw[:at] + raw[at + rng.randrange(1, 60) :]

    return _mangled(rng, format, "deleted bytes", delete)


def _emptied(rng: random.Random, format: str) -> Broken:
    raw = rng.choice([b"", b"", b" \n\n", b"\n", b"[]", b"{}", b"null\n", b"\xef\xbb\xbf", b"x,y"])
    return _mangled(rng, format, "emptied", lambda _: raw, damaged=True)


def _binary(rng: random.Random, format: str) -> Broken:
    magic = rng.choice([b"", b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08", b"\x89PNG\r\n", b"\x93NUMPY"])
    raw = magic + rng.randbytes(rng.randrange(1, 3000))
    return _mangled(rng, format, "binary", lambda _: raw, damaged=True)


def _encoded(rng: random.Random, format: str) -> Broken:
    encoding = rng.choice(["utf-16", "utf-16-le", "utf-32", "latin-1", "cp037"])

    def encode(raw: bytes) -> bytes:
        if format in BINARY and not raw.isascii():
            return raw[::-1]
        lines = raw.decode().split("\n")
        at = rng.randrange(len(lines))
        if encoding == "latin-1":
            lines[at] += "é"
            return "\n".join(lines).encode(encoding)
        if rng.random() < 0.5:
            return raw.decode().encode(encoding)
        return b"\n".join(line.encode(encoding if i == at else "utf-8")
                          for i, line in enumerate(lines))  # fmt: skip

    return _mangled(rng, format, f"in {encoding}", encode, damaged=format in ("Parquet", "events"))


def _delimiters(rng: random.Random, format: str) -> Broken:
    old, new = rng.choice([(b",", b";"), (b",", b"|"), (b"\t", b" "), (b":", b"="), (b"\n", b"\r")])
    part = rng.random() < 0.5

    def swap(raw: bytes) -> bytes:
        lines = raw.split(b"\n")
        chosen = rng.randrange(len(lines))
        return b"\n".join(
            line.replace(old, new) if not part or i == chosen else line
            for i, line in enumerate(lines)
        )

    if format in ("Parquet", "events"):
        return _flipped(rng, format)
    return _mangled(rng, format, "other delimiters", swap)


def _renamed(rng: random.Random, format: str) -> Broken:
    other = rng.choice([name for name, _ in FORMATS.values()] + ["a", "a.txt", "a.xlsx", "a.log"])
    raw = _write(format, _rows(format))
    return Broken(f"{format}: named {other}", format, other, raw, None, 0, False)


def _appended(rng: random.Random, format: str) -> Broken:
    other = rng.choice([*FORMATS])
    more = _write(other, _rows(other))
    return _mangled(rng, format, f"and {other} after it", lambda raw: raw + more)


# What must hold of a reader's answer


def check_error(message: str, path: Path, text: bool) -> None:
    """One line that starts with the file, and with a line where the file has lines."""
    assert "\n" not in message
    assert message.startswith(f"{path}:"), message
    if text:
        assert re.match(rf"{re.escape(str(path))}:(\d+| line \d+)", message), message
    assert len(message) < len(str(path)) * 4 + 900, len(message)


def check_rows(case: Broken, path: Path, origin, removed) -> None:
    """Every row of the file is used or listed; `removed` holds (where, reason)."""
    assert len({*origin}) == len(origin)
    named = [where for where, _ in removed]
    assert all(where.startswith(str(path)) or where == str(path.parent) for where in named)
    if str(path) in named or any("not read" in reason for _, reason in removed):
        return  # the whole file, or the rest of it, is listed
    assert not {*named} & {*origin}
    if case.rows is not None:
        assert len(origin) + len(named) == case.rows
        return
    written = written_lines(path)
    if written is not None:
        assert lines_of([*origin, *named]) >= written, (written, removed)
    elif (count := written_rows(path)) is not None:
        said = sum(int(m[1]) for _, r in removed if (m := re.match(r"(\d+) of \d+ steps", r)))
        others = [where for where in named if where != str(path.parent)]
        assert len(origin) + len(others) + said >= count, (count, removed)


def has_lines(path: Path) -> bool:
    """Whether a file counts as text, so that a message must name a line."""
    raw = path.read_bytes()
    with contextlib.suppress(Exception):
        raw = gzip.decompress(raw)
    return not raw.startswith(b"PAR1") and not path.name.endswith((".parquet", ".1.host"))


def lines_of(places) -> set[int]:
    found = (re.search(r":(?: line )?(\d+)(?:, .*)?$", place) for place in places)
    return {int(match[1]) for match in found if match}


def written_lines(path: Path) -> set[int] | None:
    """The lines of a text that hold rows; None where lines do not tell."""
    raw, name = path.read_bytes(), path.name
    if raw.startswith(b"\x1f\x8b"):
        try:
            raw, name = gzip.decompress(raw), name.removesuffix(".gz")
        except Exception:
            return set()
    if raw.startswith(b"PAR1") or "tfevents" in path.name:
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return set()
    start = text.lstrip()
    if start.startswith(("[", "{")) or name.endswith((".json", ".jsonl")):
        lines = text.split("\n")
        return {i for i, line in enumerate(lines, 1) if line.strip(" \t\r[],")}
    if '"' not in text:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return {i for i, line in enumerate(lines, 1) if line.strip() and i > 1}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    starts, line = set(), 1
    try:
        for cells in reader:
            if line > 1 and any(cell.strip() for cell in cells):
                starts.add(line)
            line = reader.line_num + 1
    except csv.Error:
        return set()
    return starts


def written_rows(path: Path) -> int | None:
    """The rows of a Parquet file, or the whole records of an event file but the first."""
    raw = path.read_bytes()
    if "tfevents" in path.name:
        at, records = 0, 0
        while at + 12 <= len(raw):
            end = at + 16 + struct.unpack("<Q", raw[at : at + 8])[0]
            if end > len(raw):
                break
            at, records = end, records + 1
        return max(records - 1, 0)
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(io.BytesIO(raw)).num_rows
    except Exception:
        return None


def check(case: Broken, path: Path, strict: Table | LogError, lenient: Table | LogError) -> None:
    """All that must hold of a file that was read both ways."""
    if isinstance(strict, LogError):
        check_error(str(strict), path, has_lines(path))
    else:
        assert not case.damaged
        check_rows(case, path, strict.origin, strict.removed)
    if isinstance(lenient, LogError):
        assert isinstance(strict, LogError)
        check_error(str(lenient), path, False)
        assert "no row" in str(lenient)
        return
    check_rows(case, path, lenient.origin, lenient.removed)
    if isinstance(strict, LogError):
        assert lenient.removed
    else:
        assert lenient.origin == strict.origin
        assert lenient.removed == strict.removed
    if case.rows is not None:
        assert len(lenient) == case.rows - case.bad
