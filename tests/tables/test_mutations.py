"""Files damaged at random: every row is used as written, or named, and nothing else happens."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest

from farwide.runlog import LogError
from farwide.tables import Table, read_table
from tests.runlog.folders import write_run

ROWS = [(1e6 * 2**i, 3e7 * 3 ** (i % 4), 3.5 - 0.0625 * i) for i in range(9)]
CSV = "N,D,loss\n" + "".join(f"{n!r},{d!r},{loss!r}\n" for n, d, loss in ROWS)
JSONL = "".join(json.dumps({"N": n, "D": d, "loss": loss}) + "\n" for n, d, loss in ROWS)
CELLS = ["NaN", "inf", "-1", "0", "1e999", "", "text", "null", "true", "[]", "{}", '"', "9" * 500,
         "9" * 5000, "1_0", "٣", "0x1", "1,5", "\t", ";", "\u2028", "3.0", "--", "1e", "+", "-0.0",
         "1e-400", "\\", '""', '"3.0"']  # fmt: skip


def _truncate(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw))]


def _replace_number(rng: random.Random, raw: bytes) -> bytes:
    lines = raw.decode().split("\n")
    at = rng.randrange(len(lines) - 1)
    mark = ":" if lines[at].startswith("{") else ","
    parts = lines[at].split(mark)
    parts[rng.randrange(len(parts))] = rng.choice(CELLS)
    lines[at] = mark.join(parts)
    return "\n".join(lines).encode()


def _flip_byte(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]


def _insert(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    junk = rng.choice([b"\n", b"\r", b",", b'"', b"\x00", b"\xff\xfe", b"{}\n", b"\n\n", b"1,2\n"])
    return raw[:at] + junk + raw[at:]


def _delete(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + raw[at + rng.randrange(1, 30) :]


MUTATIONS = [_truncate, _replace_number, _flip_byte, _insert, _delete]


def _rows_written(path: Path) -> int:
    text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    csv = path.suffix == ".csv"
    lines = (text.replace("\r", "\n") if csv else text).split("\n")
    return sum(bool(line.strip()) for line in lines) - csv


def _outcome(path: Path, *, skip_bad: bool = False) -> Table | LogError:
    try:
        return read_table(path, skip_bad=skip_bad)
    except LogError as error:
        return error


@pytest.mark.parametrize("mutate", MUTATIONS)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_damaged_file_is_an_error_or_is_used_whole(tmp_path, name, mutate):
    original = (CSV if name == "a.csv" else JSONL).encode()
    path = tmp_path / name
    rng = random.Random(f"{name} {mutate.__name__}")
    for _ in range(120):
        raw = mutate(rng, original)
        path.write_bytes(raw)
        strict, lenient = _outcome(path), _outcome(path, skip_bad=True)
        if isinstance(strict, LogError):
            assert str(strict).startswith(f"{path}:{strict.line}: "), raw
            assert "\n" not in str(strict)
        else:
            assert strict.removed == ()
            assert len(strict) == _rows_written(path), raw
        if isinstance(lenient, LogError):
            assert isinstance(strict, LogError)
            assert "no row" in str(lenient), raw
            continue
        named = {removal.where for removal in lenient.removed}
        assert bool(named) == isinstance(strict, LogError)
        assert not named & set(lenient.origin)
        blank = sum("blank line" in removal.reason for removal in lenient.removed)
        assert len(lenient) + len(named) - blank == _rows_written(path), raw


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_damaged_run_is_an_error_a_warning_or_a_reason(tmp_path, mutate):
    folder = write_run(tmp_path, "a", 4000, 130_000, 2.0)
    write_run(tmp_path, "b", 8000, 130_000, 1.9)
    rng = random.Random(mutate.__name__)
    originals = {path: path.read_bytes() for path in folder.glob("*.json*")}
    for i in range(100):
        path = rng.choice(sorted(originals))
        path.write_bytes(mutate(rng, originals[path]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            strict = _outcome(tmp_path)
            kept = read_table(tmp_path, skip_bad=True)
        if isinstance(strict, LogError):
            assert str(strict).startswith(str(folder)), i
        else:
            assert len(strict) + len(strict.removed) == 2
            assert {removal.where for removal in strict.removed} <= {str(folder)}
        assert "b" in kept.columns["run"].tolist()
        assert len(kept) + len(kept.removed) == 2
        assert all(str(folder) in str(warning.message) for warning in caught)
        path.write_bytes(originals[path])
