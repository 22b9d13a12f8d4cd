from __future__ import annotations

import json

import pytest

from farwide.runlog import LogError
from farwide.tables import read_table

ROWS = [
    {"N": 1e6, "D": 20_000_000, "loss": 3.5},
    {"N": 2e6, "D": 40_000_000, "loss": 3.25, "note": [1]},
    {"N": 4e6, "D": 80_000_000, "loss": 3.0},
]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS)


def _read(tmp_path, content, **options):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, **options)


@pytest.mark.parametrize(
    "text",
    [TEXT, TEXT[:-1], TEXT.replace("\n", "\r\n"), TEXT + "\n\n", "\ufeff" + TEXT],
    ids=["plain", "no last line end", "windows", "blank end", "byte order mark"],
)
def test_what_is_accepted(tmp_path, text):
    table = _read(tmp_path, text)
    assert table.columns["loss"].tolist() == [3.5, 3.25, 3.0]
    assert table.origin == tuple(f"{tmp_path / 'a.jsonl'}:{line}" for line in (1, 2, 3))


def test_the_content_tells_the_format_where_the_name_does_not(tmp_path):
    path = tmp_path / "results.txt"
    path.write_text(TEXT)
    assert len(read_table(path)) == 3


def test_dots_reach_into_objects_and_plain_names_come_first(tmp_path):
    rows = [
        {"N": 1, "D": 2, "eval": {"loss": 3.0}, "a.b": {"c": 5}},
        {"N": 1, "D": 2, "eval.loss": 4.0, "eval": {"loss": 9.0}, "a": {"b.c": 6}},
    ]
    text = "\n".join(map(json.dumps, rows))
    table = _read(tmp_path, text, columns={"loss": "eval.loss", "weight": "a.b.c"})
    assert table.columns["loss"].tolist() == [3.0, 4.0]
    assert table.columns["weight"].tolist() == [5.0, 6.0]


def test_runs_may_be_numbered(tmp_path):
    rows = [{"N": 1, "D": 2, "loss": 3, "run": run} for run in (7, "b")]
    table = _read(tmp_path, "\n".join(map(json.dumps, rows)))
    assert table.columns["run"].tolist() == ["7", "b"]


BAD = {
    "empty": (b"", 1, "empty file"),
    "binary": (TEXT.encode() + b"\x00\x01", 4, "binary file"),
    "cut short": (TEXT + '{"N": 1e6, "D": 2', 4, "the last line is cut short"),
    "cut in a text": (TEXT + '{"N": 1e6, "D', 4, "the last line is cut short"),
    "invalid": (TEXT.replace('"D": 40', 'D": 40'), 2, "invalid JSON"),
    "list": ("[1, 2]\n" + TEXT, 1, "expected a JSON object, found an array"),
    "indented": (json.dumps(ROWS[0], indent=1), 1, "invalid JSON"),
    "NaN": (TEXT + '{"N": 1, "D": 2, "loss": NaN}\n', 4, "NaN, which is not a finite number"),
    "overflow": (TEXT + '{"N": 1e999, "D": 2, "loss": 3}\n', 4, "N is"),
    "huge integer": (TEXT + f'{{"N": {"9" * 400}, "D": 2, "loss": 3}}\n', 4, "too large"),
    "longer integer": (TEXT + f'{{"N": {"9" * 9000}, "D": 2, "loss": 3}}\n', 4, "4300"),
    "text": (TEXT + '{"N": "1e6", "D": 2, "loss": 3}\n', 4, 'N is a text, "1e6", not a number'),
    "boolean": (TEXT + '{"N": true, "D": 2, "loss": 3}\n', 4, "N is a boolean"),
    "null": (TEXT + '{"N": 1, "D": 2, "loss": null}\n', 4, "loss is null, not a number"),
    "zero": (TEXT + '{"N": 0, "D": 2, "loss": 3}\n', 4, "N is 0; it must be positive"),
    "missing in a row": (TEXT + '{"N": 1, "D": 2, "los": 3}\n', 4, "nearest: los"),
    "missing": (TEXT.replace("loss", "val_loss"), 1, "--columns loss=val_loss"),
    "twice": (TEXT + '{"N": 1, "N": 2, "D": 2, "loss": 3}\n', 4, "the key 'N' twice"),
    "deep": (TEXT + "[" * 100_000 + "\n", 4, "JSON"),
    "blank line": ("\n" + TEXT, 1, "blank line"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path, case):
    content, line, reason = BAD[case]
    with pytest.raises(LogError) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'a.jsonl'}:{line}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.* repeat")
def test_skip_bad_keeps_the_other_rows(tmp_path):
    text = TEXT + '{"N": 1, "D": 2, "loss": NaN}\n{"N": 1}\n' + TEXT + '{"N": 3'
    table = _read(tmp_path, text, skip_bad=True)
    assert len(table) == 6
    lines = [int(removal.where.rpartition(":")[2]) for removal in table.removed]
    assert sorted(lines) == [4, 5, 9]
