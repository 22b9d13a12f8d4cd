"""Conditions on rows, rows of runs, unfinished and diverged runs; every removal is listed."""

from __future__ import annotations

import warnings

import pytest

from farwide.runlog import LogError
from farwide.tables import filter_runs, parse_condition, read_table
from tests.tables.formats import as_csv, as_json_lines

ROWS = [
    {"run": run, "step": step, "data": data, "state": state, "N": N, "D": 1e6 * (step + 1),
     "loss": loss, "max_steps": 20}
    for run, data, state, N, curve in (
        ("a", "c4", "finished", 1e6, [(0, 5.0), (10, 4.0), (20, 3.5)]),
        ("b", "c4", "crashed", 2e6, [(0, 4.9), (10, 3.9)]),
        ("c", "rpj", "finished", 2e6, [(0, 4.8), (10, 3.0), (20, 4.5)]),
    )
    for step, loss in curve
]  # fmt: skip


def _read(tmp_path, content=ROWS, write=as_csv, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(write(content))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_table(path, **{"rows": "all", **options})


def _lines(places):
    return [int(place.rpartition(":")[2]) for place in places]


CONDITIONS = {
    "data=c4": [2, 3, 4, 5, 6],
    "data==c4": [2, 3, 4, 5, 6],
    "data!=c4": [7, 8, 9],
    "data=c4,rpj": [2, 3, 4, 5, 6, 7, 8, 9],
    "data!=c4,rpj": [],
    "data = rpj": [7, 8, 9],
    "N=2000000": [5, 6, 7, 8, 9],
    "N=2e6,1": [5, 6, 7, 8, 9],
    "N>1e6": [5, 6, 7, 8, 9],
    "N>=1e6": [2, 3, 4, 5, 6, 7, 8, 9],
    "N<1e6": [],
    "loss<=4": [3, 4, 6, 8],
    "step>0.4*max_steps": [3, 4, 6, 8, 9],
    "D/N<10": [2, 5, 6, 7, 8],
    "'loss'*2<8": [4, 6, 8],
    "state!=": [2, 3, 4, 5, 6, 7, 8, 9],
    "state=": [],
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_conditions(tmp_path, text):
    kept = CONDITIONS[text]
    if not kept:
        with pytest.raises(LogError, match=r"no row is left: 8 left out"):
            _read(tmp_path, where=[text])
        return
    table = _read(tmp_path, where=[text])
    assert _lines(table.origin) == kept
    assert sorted(_lines(table.origin) + _lines(r.where for r in table.removed)) == [*range(2, 10)]
    assert all(r.reason.startswith(f"--where {text}: ") for r in table.removed)


def test_the_reason_says_what_was_found(tmp_path):
    table = _read(tmp_path, where=["data=c4", "step>0.4*max_steps"])
    reasons = {line: r.reason for r in table.removed for line in _lines([r.where])}
    assert reasons[7] == '--where data=c4: data is "rpj"'
    assert reasons[2] == "--where step>0.4*max_steps: step is 0, 0.4*max_steps is 8"


def test_what_a_condition_removes_need_hold_no_numbers(tmp_path):
    rows = [*ROWS, {**ROWS[0], "data": "c5", "N": "x", "loss": "nan"}]
    assert len(_read(tmp_path, rows, where=["data=c4"])) == 5
    with pytest.raises(LogError, match=r"a\.csv:10: N is \"x\""):
        _read(tmp_path, rows)


def test_missing_values_and_bad_ones(tmp_path):
    rows = [
        {"N": 1, "D": 2, "loss": None},
        {"N": 1, "D": 2},
        {"N": 1, "D": 2, "loss": 3, "k": True},
    ]
    table = _read(tmp_path, rows, as_json_lines, "a.jsonl", where=["loss!="])
    assert _lines(table.origin) == [3]
    assert {r.reason for r in table.removed} == {"--where loss!=: loss is missing"}
    assert _lines(_read(tmp_path, rows, as_json_lines, "a.jsonl", where=["k=true"]).origin) == [3]
    assert _lines(_read(tmp_path, rows, as_json_lines, "a.jsonl", where=["loss*2>1"]).origin) == [3]
    bad = [*ROWS, {**ROWS[0], "step": "ten"}, {**ROWS[0], "step": "nan"}]
    with pytest.raises(LogError, match=r"a\.csv:10: step is \"ten\", not a number"):
        _read(tmp_path, bad, where=["step>1"])
    table = _read(tmp_path, bad, where=["step>1"], skip_bad=True)
    assert _lines(r.where for r in table.removed if "--where" not in r.reason) == [10, 11]


def test_conditions_that_cannot_be_used(tmp_path):
    for text in ("data", "", "=c4", "N>", "N>x[0]", "N>nan", "N<f(1)"):
        with pytest.raises(ValueError, match=r"expected|nothing is"):
            parse_condition(text)
    with pytest.raises(LogError, match=r"a\.csv:1: no column 'dat' \(nearest: data\)"):
        _read(tmp_path, where=["dat=c4"])
    with pytest.raises(LogError, match=r"a\.csv:1: .*no column 'steps' \(nearest: step\)"):
        _read(tmp_path, where=["step>0.9*steps"])


# Rows of a run


@pytest.mark.parametrize("order", ["step", "D", "files"])
def test_the_last_row_of_each_run(tmp_path, order):
    rows = [dict(row) for row in ROWS]
    if order != "files":
        rows = rows[::-1]
    if order != "step":
        for row in rows:
            del row["step"]
    required = ("N", "D", "loss") if order != "files" else ("N", "loss")
    table = _read(tmp_path, rows, rows="last", required=required)
    kept = dict(zip(table.columns["run"].tolist(), table.columns["loss"].tolist(), strict=True))
    assert kept == {"a": 3.5, "b": 3.9, "c": 4.5}
    said = {"step": "step", "D": "D", "files": "their place in the files"}[order]
    assert table.notes == (f"the rows of a run are ordered by {said}",)
    assert len(table.removed) == 5
    (reason,) = {r.reason for r in table.removed if "run b" in r.reason}
    where = dict(zip(table.columns["run"].tolist(), table.origin, strict=True))["b"]
    assert reason == f"--rows last: run b is used at {where}"


def test_tokens_that_do_not_change_are_no_order(tmp_path):
    rows = [{**row, "D": 1e9} for row in ROWS]
    for row in rows:
        del row["step"]
    assert "their place" in _read(tmp_path, rows, rows="last").notes[0]


def test_the_step_is_found_under_other_names_or_mapped(tmp_path):
    rows = [{("_step" if k == "step" else k): v for k, v in row.items()} for row in ROWS]
    assert "by step (_step)" in _read(tmp_path, rows, rows="last").notes[0]
    rows = [{("it" if k == "step" else k): v for k, v in row.items()} for row in ROWS]
    columns = {"step": "it"}
    assert "by step (it)" in _read(tmp_path, rows, rows="last", columns=columns).notes[0]
    assert "step" not in _read(tmp_path, rows, columns=columns).columns


def test_the_row_of_the_lowest_loss(tmp_path):
    table = _read(tmp_path, rows="lowest")
    assert table.columns["loss"].tolist() == [3.5, 3.9, 3.0]
    assert len(table.removed) == 5


def test_only_the_row_that_is_used_must_hold_numbers(tmp_path):
    rows = [dict(row) for row in ROWS]
    rows[1]["loss"] = "nan"
    assert len(_read(tmp_path, rows, rows="last")) == 3
    with pytest.raises(LogError, match=r"a\.csv:3: loss is nan"):
        _read(tmp_path, rows, rows="lowest")
    rows[2]["loss"] = "nan"
    with pytest.raises(LogError, match=r"a\.csv:4: loss is nan"):
        _read(tmp_path, rows, rows="last")
    table = _read(tmp_path, rows, rows="last", skip_bad=True)
    assert table.columns["run"].tolist() == ["b", "c"]  # and not an earlier row of a
    assert len(table) + len(table.removed) == len(rows)


def test_a_run_in_two_files_is_one_run(tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_bytes(as_csv(ROWS[:2]))
    b.write_bytes(as_csv(ROWS[2:3]))
    assert read_table([b, a], rows="last").origin == (f"{b}:2",)


def test_several_rows_of_a_run_are_used_with_a_warning(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv(ROWS))
    with pytest.warns(
        UserWarning, match=r"^8 rows of 3 runs \(2 to 3 each\): all are used; --rows"
    ):
        assert len(read_table(path)) == 8


def test_repeated_rows_and_runs_of_one_name_are_used_with_a_warning(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv([*ROWS, ROWS[3]]))
    match = r"^1 row repeats another in every column that is read; the first, .*:10, repeats .*:5$"
    with pytest.warns(UserWarning, match=match):
        assert len(read_table(path, rows="all")) == 9
    path.write_bytes(as_csv([*ROWS, {**ROWS[3], "run": "a"}]))
    with pytest.warns(UserWarning, match="rows of run a differ in N: several runs of one name"):
        read_table(path, rows="all")


def test_runs_must_be_known_to_choose_among_their_rows(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "run"} for row in ROWS]
    for options in ({"rows": "last"}, {"diverged": 2.0}, {"finished": ["state=finished"]}):
        with pytest.raises(LogError, match=r"a\.csv:1: --.* needs the run of each row"):
            _read(tmp_path, rows, **options)
    assert len(_read(tmp_path, rows, rows=None)) == 8
    with pytest.raises(ValueError, match="rows is 'first'; accepted are all, last, lowest"):
        _read(tmp_path, rows="first")


# Unfinished and diverged runs


def test_unfinished_runs_are_left_out_whole(tmp_path):
    for condition in ("state=finished", "step>=0.99*max_steps", "step>=20"):
        table = _read(tmp_path, finished=[condition])
        assert {*table.columns["run"].tolist()} == {"a", "c"}
        assert _lines(r.where for r in table.removed) == [5, 6]
        assert all(r.reason.startswith(f"--finished {condition}: at the end of run b ")
                   for r in table.removed)  # fmt: skip
    both = _read(tmp_path, finished=["state=finished"], rows="last")
    assert both.columns["loss"].tolist() == [3.5, 4.5]
    assert len(both.removed) == 6


def test_diverged_runs_are_left_out_whole(tmp_path):
    table = _read(tmp_path, diverged=1.2)
    assert {*table.columns["run"].tolist()} == {"a", "b"}
    (reason,) = {r.reason for r in table.removed}
    assert reason == "--drop-diverged 1.2: run c ends with loss 4.5, 1.5 times its lowest"
    assert len(_read(tmp_path, diverged=1.6)) == 8


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN"])
def test_a_run_that_ends_without_a_number_has_diverged(tmp_path, value):
    rows = [dict(row) for row in ROWS]
    rows[4]["loss"] = value
    with pytest.raises(LogError, match=r"a\.csv:6: loss is"):
        _read(tmp_path, rows)
    table = _read(tmp_path, rows, diverged=100)
    assert {*table.columns["run"].tolist()} == {"a", "c"}
    assert len(table.removed) == 2
    rows[4]["loss"], rows[3]["loss"] = 3.9, value  # it recovered: an error, not a divergence
    with pytest.raises(LogError, match=r"a\.csv:5: loss is"):
        _read(tmp_path, rows, diverged=100)


def test_not_a_number_in_json_is_seen_too(tmp_path):
    rows = [dict(row) for row in ROWS]
    rows[4]["loss"] = float("nan")
    table = _read(tmp_path, rows, as_json_lines, "a.jsonl", diverged=100)
    assert len(table) == 6
    rows[4]["loss"] = "Infinity"
    assert len(_read(tmp_path, rows, as_json_lines, "a.jsonl", diverged=100)) == 6
    for factor in (0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected a factor of 1 or more"):
            _read(tmp_path, diverged=factor)


def test_runs_of_ours_are_filtered_by_their_columns(tmp_path):
    from farwide.runlog import read_runs
    from tests.runlog.folders import write_run

    write_run(tmp_path, "a", 4000, 9000, 2.0)
    write_run(tmp_path, "b", 8000, 9000, 1.9)
    write_run(tmp_path, "going", 8000, 9000, 1.9, status=None)
    kept, removed = filter_runs(read_runs(tmp_path), where=["N>5e3"])
    assert [run.run for run in kept] == ["b", "going"]
    assert [r.reason for r in removed] == ["--where N>5e3: N is 4000"]
    table = read_table(tmp_path, where=["N>5e3"])
    assert table.columns["run"].tolist() == ["b"]
    assert len(table.removed) == 2
    with pytest.raises(LogError, match="--rows lowest: runs of ours have one row"):
        read_table(tmp_path, rows="lowest")
    assert len(read_table(tmp_path, rows="last")) == 2
