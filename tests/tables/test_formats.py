"""The same rows from every format; what is particular to JSON documents, gzip and Parquet."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import json
import sys

import pytest

from farwide.runlog import LogError
from farwide.tables import read_table
from tests.tables.formats import COLUMNS, FORMATS, as_csv, as_json_lines, as_parquet

ROWS = [{"run": f"r{i}", "x": 2.0**i, "y": 3.5 - i / 4} for i in range(5)]
PLACES = {"CSV": ":2", "tabs": ":2", "JSON Lines": ":1", "JSON": ":2", "gzipped CSV": ":2",
          "gzipped JSON Lines": ":1", "Parquet": ": row 1", "events": ": step 1",
          "chart": ": line 2, run r0", "histories": ": line 2, history item 1"}  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path, format):
    name, write = FORMATS[format]
    path = tmp_path / name
    path.write_bytes(write(ROWS))
    table = read_table(path, required=("x", "y"), columns=COLUMNS.get(format), rows="all")
    assert table.columns["x"].tolist() == [row["x"] for row in ROWS]
    assert table.columns["y"].tolist() == [row["y"] for row in ROWS]
    runs = [str(tmp_path)] * 5 if format == "events" else [row["run"] for row in ROWS]
    assert table.columns["run"].tolist() == runs
    assert table.origin[0] == f"{path}{PLACES[format]}"
    assert len({*table.origin}) == 5
    assert table.removed == ()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_bad_value_is_named_where_it_is(tmp_path, format, value):
    name, write = FORMATS[format]
    path = tmp_path / name
    path.write_bytes(write([{**ROWS[0], "y": value}, *ROWS[1:]]))
    options = {"required": ("x", "y"), "columns": COLUMNS.get(format), "rows": "all"}
    with pytest.raises(LogError) as caught:
        read_table(path, **options)
    assert str(caught.value).startswith(f"{path}{PLACES[format]}: y ")
    table = read_table(path, **options, skip_bad=True)
    assert len(table) == 4
    assert [removal.where for removal in table.removed] == [f"{path}{PLACES[format]}"]


# JSON that is no JSON Lines


def _json(tmp_path, text, name="a.json", **options):
    path = tmp_path / name
    path.write_text(text)
    return read_table(path, required=("x", "y"), rows="all", **options)


def test_an_array_on_one_line_or_on_many(tmp_path):
    assert _json(tmp_path, json.dumps(ROWS)).origin[:2] == (
        f"{tmp_path}/a.json:1", f"{tmp_path}/a.json: line 1, item 2",
    )  # fmt: skip
    table = _json(tmp_path, "\n" + json.dumps(ROWS, indent=2))
    assert table.origin[:2] == (f"{tmp_path}/a.json:3", f"{tmp_path}/a.json:8")
    assert len(_json(tmp_path, json.dumps(ROWS), "results")) == 5


def test_one_object_is_one_row(tmp_path):
    assert len(_json(tmp_path, json.dumps(ROWS[0], indent=2))) == 1
    assert len(_json(tmp_path, json.dumps(ROWS[0]))) == 1


def test_json_lines_under_the_name_of_json(tmp_path):
    assert len(_json(tmp_path, as_json_lines(ROWS).decode())) == 5


BAD_JSON = {
    "cut": (json.dumps(ROWS, indent=1)[:-9], 25, "the rest is not read", 4),
    "cut between": ("[\n" + json.dumps(ROWS[0]) + "\n", 3, "the array is cut short", 1),
    "no comma": ('[\n{"x": 1, "y": 2}\n{"x": 3}]', 3, "expected , or ] after an item", 1),
    "text after": (json.dumps(ROWS) + "\n[]", 2, "text after the end of the array", 5),
    "a number": ('[\n{"x": 1, "y": 2},\n7]', 3, "expected a JSON object, found a number", 1),
    "key twice": ('[{"x": 1, "y": 2},\n{"x": 1, "x": 2}]', 2, "the key 'x' twice", 1),
    "deep": ('[{"x": 1, "y": 2},\n' + "[" * 99_999, 2, "nested too deeply", 1),
    "nothing": ("[]", 1, "holds no rows", 0),
    "a text": ('"x"', 1, "expected a JSON object, found a text", 0),
    "cut object": ('{\n"x": 1,\n', 3, "invalid JSON", 0),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_broken_documents(tmp_path, case):
    text, line, reason, left = BAD_JSON[case]
    with pytest.raises(LogError) as caught:
        _json(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/a.json:{line}: ")
    assert reason in str(caught.value)
    if left:
        assert len(_json(tmp_path, text, skip_bad=True)) == left
    else:
        with pytest.raises(LogError, match="no row"):
            _json(tmp_path, text, skip_bad=True)


def test_not_a_number_matters_only_where_it_is_read(tmp_path):
    rows = [{**row, "grad_norm": float("nan")} for row in ROWS]
    assert len(_json(tmp_path, json.dumps(rows))) == 5
    with pytest.raises(LogError, match=r"a\.json:1: grad_norm is NaN, which is not a finite"):
        _json(tmp_path, json.dumps(rows), columns={"weight": "grad_norm*1"})


# gzip


def test_damaged_gzip(tmp_path):
    path = tmp_path / "a.csv.gz"
    whole = gzip.compress(as_csv(ROWS), mtime=0)
    for raw in (whole[:-9], whole[:20], b"\x1f\x8b\x08\x00", whole[:30] + b"xx" + whole[32:]):
        path.write_bytes(raw)
        with pytest.raises(LogError, match=r"a\.csv\.gz:1: damaged gzip data"):
            read_table(path, required=("x", "y"))
    path.write_bytes(gzip.compress(as_parquet(ROWS)))
    assert len(read_table(path, required=("x", "y"))) == 5


# Parquet


def _parquet(tmp_path, rows, **options):
    path = tmp_path / "a.parquet"
    path.write_bytes(as_parquet(rows))
    return read_table(path, **{"required": ("x", "y"), "rows": "all", **options})


def test_kinds_of_columns(tmp_path):
    rows = [
        {"x": i, "y": decimal.Decimal("3.25"), "run": i, "config": {"n": {"params": 5}},
         "when": datetime.datetime(2026, 1, i), "tags": ["a"], "raw": b"\x00"}
        for i in (1, 2)
    ]  # fmt: skip
    columns = {"N": "config.n.params", "C": "config.n.params*x"}
    table = _parquet(tmp_path, rows, columns=columns)
    assert table.columns["y"].tolist() == [3.25, 3.25]
    assert table.columns["C"].tolist() == [5.0, 10.0]
    assert table.columns["run"].tolist() == ["1", "2"]
    for name, what in (("when", "a text"), ("tags", "an array"), ("config", "an object")):
        with pytest.raises(LogError, match=rf"a\.parquet: row 1: .*{name}.* is {what}"):
            _parquet(tmp_path, rows, columns={"x": name})
    with pytest.raises(LogError, match=r"a\.parquet: no column 'z'; present: x, y, run, config.n"):
        _parquet(tmp_path, rows, required=("x", "z"))


def test_null_is_no_number_and_can_be_filtered(tmp_path):
    rows = [*ROWS, {"run": "r9", "x": 1.0, "y": None}]
    with pytest.raises(LogError, match=r"a\.parquet: row 6: y is null, not a number"):
        _parquet(tmp_path, rows)
    assert len(_parquet(tmp_path, rows, where=["y!="])) == 5


def test_damaged_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    whole = as_parquet(ROWS)
    for raw in (whole[:-9], whole[:40], b"PAR1", b"x,y\n1,2\n", whole.replace(b"\x00\x40", b"zz")):
        path.write_bytes(raw)
        with pytest.raises(LogError, match=r"a\.parquet: damaged Parquet file: "):
            read_table(path, required=("x", "y"))
    path.write_bytes(as_parquet([])[:0])
    with pytest.raises(LogError, match=r"a\.parquet:1: empty file"):
        read_table(path, required=("x", "y"))


def test_parquet_without_rows(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.int8())}), out)
    (tmp_path / "a.parquet").write_bytes(out.getvalue())
    with pytest.raises(LogError, match=r"a\.parquet: holds no rows"):
        read_table(tmp_path / "a.parquet", required=("x", "y"))


@pytest.mark.parametrize(
    ("format", "package"), [("Parquet", "pyarrow"), ("events", "tensorboard")]
)  # fmt: skip
def test_a_missing_package_is_one_message(tmp_path, monkeypatch, format, package):
    name, write = FORMATS[format]
    path = tmp_path / name
    path.write_bytes(write(ROWS))
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LogError) as caught:
        read_table(path, required=("x", "y"))
    assert str(caught.value).startswith(f"{path}: reading ")
    assert f"needs {package}, which is missing: pip install 'farwide[logs]'" in str(caught.value)
