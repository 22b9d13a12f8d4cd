from __future__ import annotations

import numpy as np
import pytest

from farwide.runlog import LogError
from farwide.tables import read_table

HEADER = "N,D,loss\n"
ROWS = "1e6,2e7,3.50\n2e6,4e7,3.25\n4e6,8e7,3.00\n"


def _read(tmp_path, content, **options):
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, **options)


GOOD = {
    "plain": HEADER + ROWS,
    "windows": (HEADER + ROWS).replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + HEADER + ROWS,
    "semicolons": (HEADER + ROWS).replace(",", ";"),
    "tabs": (HEADER + ROWS).replace(",", "\t"),
    "blank end": HEADER + ROWS + "\n\r\n  \n",
    "spaces": " N , D , loss \n" + ROWS.replace(",", " , "),
    "quoted": '"N","D","loss"\n' + ROWS.replace("3.50", '"3.50"'),
    "other columns": "name,N,note,D,loss\n"
    + "".join(f'"a, b",{row.replace(",", ",x,", 1)}\n' for row in ROWS.splitlines()),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_accepted(tmp_path, case):
    table = _read(tmp_path, GOOD[case])
    np.testing.assert_array_equal(table.columns["N"], [1e6, 2e6, 4e6])
    np.testing.assert_array_equal(table.columns["D"], [2e7, 4e7, 8e7])
    np.testing.assert_array_equal(table.columns["loss"], [3.5, 3.25, 3.0])
    assert table.origin == tuple(f"{tmp_path / 'a.csv'}:{line}" for line in (2, 3, 4))
    assert table.removed == ()


def test_columns_are_mapped_by_name(tmp_path):
    text = "params,tokens,val_loss,name,w\n1e6,2e7,3.5,a,1\n2e6,4e7,3.2,b,0\n"
    mapping = {"N": "params", "D": "tokens", "loss": "val_loss", "run": "name", "weight": "w"}
    table = _read(tmp_path, text, columns=mapping)
    assert table.columns["loss"].tolist() == [3.5, 3.2]
    assert table.columns["run"].tolist() == ["a", "b"]
    assert table.columns["weight"].tolist() == [1.0, 0.0]


def test_run_and_weight_are_read_where_they_are(tmp_path):
    assert set(_read(tmp_path, HEADER + ROWS).columns) == {"N", "D", "loss"}
    text = "run,N,D,loss,weight\nr1,1e6,2e7,3.5,2\n"
    assert set(_read(tmp_path, text).columns) == {"N", "D", "loss", "run", "weight"}


def test_a_quoted_line_end_moves_later_rows_down(tmp_path):
    text = 'note,N,D,loss\n"two\nlines",1e6,2e7,3.5\nx,1e6,2e7,bad\n'
    with pytest.raises(LogError, match=r"a\.csv:4: loss is \"bad\""):
        _read(tmp_path, text)


# case: the file, the line that the message names (None: the file), and a part of its reason
BAD = {
    "empty": (b"", 1, "empty file"),
    "only blanks": (b"\n \n", 1, "empty file"),
    "only a header": (HEADER, 1, "no rows"),
    "blank header": ("\n" + HEADER + ROWS, 1, "first line is blank"),
    "binary": (b"N,D,loss\n1,\x00\x01,3\n", 2, "binary file"),
    "not UTF-8": (b"N,D,loss\n1,2,3.0\n1,\xe9,3\n", 3, "not UTF-8"),
    "UTF-16": ((HEADER + ROWS).encode("utf-16"), 1, "UTF-16"),
    "gzip": (b"\x1f\x8b\x08\x00", 1, "gzip"),
    "missing column": ("N,D,val_loss\n1,2,3\n", 1, "map it with --columns loss=val_loss"),
    "other case": ("n,D,loss\n1,2,3\n", 1, "map it with --columns N=n"),
    "no header": (ROWS, 1, "is the line with the names of the columns missing?"),
    "column twice": ("N,D,loss,loss\n1,2,3,4\n", 1, "the column 'loss' twice"),
    "ambiguous": ("N,D;loss\n1,2;3\n", 1, "comma and semicolon alike"),
    "NaN": (HEADER + ROWS + "1e6,2e7,NaN\n", 5, "loss is NaN; expected a finite number"),
    "infinity": (HEADER + "1e6,-inf,3\n" + ROWS, 2, "D is -inf"),
    "overflow": (HEADER + ROWS + "1e999,2e7,3.0\n", 5, "N is 1e999, too large"),
    "underflow": (HEADER + ROWS + "1e-999,2e7,3.0\n", 5, "N is 1e-999; too small"),
    "zero": (HEADER + ROWS + "0,2e7,3.0\n", 5, "N is 0; it must be positive"),
    "negative": (HEADER + ROWS + "1e6,2e7,-3.0\n", 5, "loss is -3.0; it must be positive"),
    "text": (HEADER + ROWS + "1e6,big,3.0\n", 5, 'D is "big", not a number'),
    "underscores": (HEADER + ROWS + "1_000,2e7,3.0\n", 5, 'N is "1_000", not a number'),
    "hexadecimal": (HEADER + ROWS + "0x10,2e7,3.0\n", 5, 'N is "0x10", not a number'),
    "decimal comma": ("N;D;loss\n1e6;2e7;3,5\n", 2, "a comma for a decimal point?"),
    "empty cell": (HEADER + "1e6,,3.0\n" + ROWS, 2, "D is empty"),
    "few cells": (HEADER + "1e6,2e7\n" + ROWS, 2, "2 cells where the header has 3"),
    "many cells": (HEADER + "1e6,2e7,3,4\n" + ROWS, 2, "4 cells where the header has 3"),
    "blank line": (HEADER + "1e6,2e7,3.0\n\n" + ROWS, 3, "blank line between rows"),
    "open quote": (HEADER + '1e6,2e7,"3.0\n' + ROWS, 2, "not a CSV row"),
    "long cell": (HEADER + ROWS + f"1,2,{'9' * 200_000}\n", 5, "not a CSV row"),
    "cut in a row": (HEADER + ROWS + "1e6,2", 5, "a line cut short?"),
    "cut in a number": (HEADER + ROWS + "1e6,2e7,3.7", 5, "may be cut short"),
    "cut at the point": (HEADER + ROWS + "1e6,2e7,3.", 5, "may be cut short"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path, case):
    content, line, reason = BAD[case]
    with pytest.raises(LogError) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'a.csv'}:{line}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 300


@pytest.mark.filterwarnings("ignore:.* repeat")
@pytest.mark.parametrize("case", BAD)
def test_skip_bad_removes_what_is_refused_and_says_so(tmp_path, case):
    content, line, reason = BAD[case]
    good = tmp_path / "good.csv"
    good.write_text(HEADER + ROWS)
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_table([path, good], skip_bad=True)
    assert [where for where in table.origin if where.startswith(str(good))] == [
        f"{good}:{row}" for row in (2, 3, 4)
    ]
    assert table.removed[0].where == f"{path}:{line}"
    assert reason in table.removed[0].reason


def test_skip_bad_still_fails_when_nothing_is_left(tmp_path):
    with pytest.raises(LogError, match=r"no row is left: 2 left out, the first .*a\.csv:2: loss"):
        _read(tmp_path, HEADER + "1,2,nan\n1,2,-3\n", skip_bad=True)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(LogError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(LogError, match="holds no run"):
        read_table(tmp_path)
    with pytest.raises(ValueError, match="paths is empty"):
        read_table([])


# A last line without its line end: used only where its last cell shows that it is whole.
WHOLE = {
    "as many decimals as the others": HEADER + ROWS + "8e6,1e8,2.75",
    "more digits than the others": HEADER + ROWS + "8e6,1e8,2.7512",
    "one of many digits is missing at most": HEADER
    + "1e6,2e7,3.1234567890123456\n8e6,1e8,2.123456789012345",
    "quoted": HEADER + ROWS + '8e6,1e8,"2.7"',
    "not a column that is read": "N,D,loss,name\n1e6,2e7,3.5,abc\n8e6,1e8,2.75,ab",
    "the same exponent": HEADER + "1e6,2e7,3.50e+00\n8e6,1e8,2.75e+00",
}
CUT = {
    "fewer decimals": HEADER + ROWS + "8e6,1e8,2.7",
    "an integer": HEADER + "1e6,2e7,3\n8e6,1e8,2",
    "the only row": HEADER + "8e6,1e8,2.75",
    "an exponent": "N,loss,D\n1e6,3.5,1.5e9\n1e6,3.5,2.5e1",
    "two of many digits": HEADER + "1e6,2e7,3.1234567890123456\n8e6,1e8,2.12345678901234",
    "a run's name": "N,D,loss,run\n1e6,2e7,3.5,run12\n8e6,1e8,2.75,run1",
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_last_line_needs_no_line_end(tmp_path, case):
    assert len(_read(tmp_path, WHOLE[case])) == len(_read(tmp_path, WHOLE[case] + "\n"))


@pytest.mark.parametrize("case", CUT)
def test_a_last_line_that_may_be_cut_is_refused_or_removed(tmp_path, case):
    line = CUT[case].count("\n") + 1
    with pytest.raises(LogError, match=rf"a\.csv:{line}: the last line has no line end"):
        _read(tmp_path, CUT[case])
    with_end = _read(tmp_path, CUT[case] + "\n")
    if len(with_end) > 1:
        table = _read(tmp_path, CUT[case], skip_bad=True)
        assert len(table) == len(with_end) - 1
        assert [removal.where for removal in table.removed] == [f"{tmp_path / 'a.csv'}:{line}"]


def test_no_cut_of_a_file_changes_a_number_that_is_used(tmp_path):
    whole = _read(tmp_path, HEADER + ROWS)
    text = HEADER + ROWS
    for end in range(len(text)):
        try:
            columns = _read(tmp_path, text[:end]).columns
        except LogError:
            continue
        for name, column in columns.items():
            np.testing.assert_array_equal(column, whole.columns[name][: len(column)])


def test_several_files_make_one_table(tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text("run,N,D,loss\nr1,1,2,3.0\n")
    b.write_text(HEADER + ROWS)
    table = read_table([a, b])
    assert table.columns["run"].tolist() == ["r1", f"{b}:2", f"{b}:3", f"{b}:4"]
    b.write_text("N,D,loss,weight\n1,2,3,1\n")
    with pytest.raises(LogError, match=r"a\.csv: has no column 'weight', and other files do"):
        read_table([a, b])


def test_other_forms_read_other_columns(tmp_path):
    table = _read(tmp_path, "x,y\n1,2.0\n2,1.5\n", required=("x", "y"))
    assert table.columns["y"].tolist() == [2.0, 1.5]
