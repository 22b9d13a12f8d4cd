"""300 broken logs in ten formats: an error that names the file, or every row used or listed."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from pathlib import Path

import pytest

from farwide.cli import main
from farwide.runlog import LogError
from farwide.tables import Table, read_table
from tests.tables.broken import Broken, broken_files, check, check_error, check_rows, has_lines
from tests.tables.formats import FORMATS

SEED, COUNT = 7, 300
CASES = list(broken_files(SEED, COUNT))


def of(format: str) -> list[Broken]:
    return [case for case in CASES if case.format == format]


def _written(folder: Path, case: Broken) -> Path:
    folder.mkdir()
    path = folder / case.name
    path.write_bytes(case.raw)
    return path


def _outcome(path: Path, case: Broken, skip_bad: bool) -> Table | LogError:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of curves and of repeated rows
        try:
            return read_table(
                path, columns=case.columns, required=("x", "y"), guess=True, skip_bad=skip_bad
            )
        except LogError as error:
            return error


def _fit(capsys, path: Path, case: Broken, out: Path, *options: str) -> dict | str:
    """What fit.json says of a fit, or the message of a command that exits with 2."""
    columns = [f"{name}={column}" for name, column in case.columns.items()]
    options = (*options, *(["--columns", *columns] if columns else []))
    arguments = ["fit", str(path), "--form", "m1", "--loss", "squared", "--bootstrap", "0"]
    try:
        main([*arguments, "--out", str(out), *options])
    except SystemExit as stop:
        code, captured = stop.code, capsys.readouterr()
    else:
        code, captured = 0, capsys.readouterr()
    if code:
        assert code == 2
        assert captured.out == ""
        *said, error = captured.err.splitlines()
        assert all(line.startswith("warning: ") for line in said)
        assert error.startswith("error: ")
        return error.removeprefix("error: ")
    assert all(line.startswith("warning: ") for line in captured.err.splitlines())
    saved = json.loads((out / "fit.json").read_text())
    assert f"{len(saved['points'])} points" in captured.out
    listed = len(saved["left_out"])
    assert (
        f"Left out: {listed}\n" in captured.out if listed else "Left out: nothing" in captured.out
    )
    return saved


def test_the_cases_are_of_every_format_and_kind():
    assert len(CASES) == COUNT
    assert {case.format for case in CASES} == {*FORMATS}
    kinds = Counter(re.sub(r"^[^:]*: | (in|named|and) .*", "", case.kind) for case in CASES)
    assert {"NaN", "infinity", "null", "a huge integer", "deep nesting", "a long text", "cut short",
            "flipped bytes", "emptied", "binary", "repeated rows", "runs of one name",
            "other delimiters", "null column"} <= {*kinds}  # fmt: skip
    assert CASES == list(broken_files(SEED, COUNT))


@pytest.mark.parametrize("format", FORMATS)
def test_every_row_is_used_or_listed_and_every_error_names_the_file(tmp_path, format):
    outcomes = Counter()
    for i, case in enumerate(of(format)):
        path = _written(tmp_path / str(i), case)
        strict, lenient = (_outcome(path, case, skip_bad) for skip_bad in (False, True))
        check(case, path, strict, lenient)
        outcomes[isinstance(strict, LogError), isinstance(lenient, LogError)] += 1
    assert outcomes[True, True]  # nothing is left of some,
    assert outcomes[True, False]  # of some a part,
    assert outcomes[False, False]  # and some are whole: the test sees all three


@pytest.mark.parametrize("format", FORMATS)
def test_farwide_fit_says_so_in_one_message(capsys, tmp_path, format):
    fitted = refused = 0
    for i, case in enumerate(of(format)):
        path = _written(tmp_path / str(i), case)
        for options in ((), ("--skip-bad",)) if i % 3 == 0 else ((),):
            said = _fit(capsys, path, case, tmp_path / f"out{i}", *options)
            if isinstance(said, str):
                check_error(said, path, has_lines(path) and "left" not in said)
                refused += 1
                continue
            origin = [point["origin"] for point in said["points"]]
            check_rows(case, path, origin, [(r["run"], r["reason"]) for r in said["left_out"]])
            fitted += 1
    assert fitted > 3
    assert refused > 3


@pytest.mark.slow
def test_six_thousand_more(tmp_path):
    for i, case in enumerate(broken_files(SEED + 1, 6000)):
        path = _written(tmp_path / str(i), case)
        check(case, path, _outcome(path, case, False), _outcome(path, case, True))
        path.unlink()
