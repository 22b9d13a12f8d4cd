"""Columns by formula and by guess."""

from __future__ import annotations

import json

import numpy as np
import pytest

from farwide.runlog import LogError
from farwide.tables import read_table
from tests.tables.formats import as_csv, as_json_lines

ROWS = [{"params": 1e6 * i, "tokens": 2e7 * i, "val_loss": 4 - i / 8, "flops": 3e18 * i}
        for i in (1, 2, 4)]  # fmt: skip
LAW = {"N": "params", "D": "tokens", "loss": "val_loss"}


def _csv(tmp_path, rows=ROWS, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(as_csv(rows))
    return read_table(path, **options)


def test_formulas_read_our_names_first_and_then_the_files(tmp_path):
    columns = {**LAW, "C": "6*N*D", "M": "D/N", "x": "flops/1e18", "k": "7"}
    table = _csv(tmp_path, columns=columns)
    n, d = table.columns["N"], table.columns["D"]
    np.testing.assert_allclose(table.columns["C"], 6 * n * d, rtol=1e-15)
    np.testing.assert_allclose(table.columns["M"], 20, rtol=1e-15)
    np.testing.assert_allclose(table.columns["x"], [3, 6, 12], rtol=1e-15)
    assert table.columns["k"].tolist() == [7, 7, 7]
    again = _csv(tmp_path, columns={**LAW, "N": "params*1e3", "C": "6*N*tokens"})
    np.testing.assert_allclose(again.columns["C"], 6000 * n * d, rtol=1e-15)


def test_a_column_may_be_scaled_under_its_own_name(tmp_path):
    rows = [{"N": 1.5, "D": 2.0, "loss": 3.0}]
    table = _csv(tmp_path, rows, columns={"N": "N*1e9", "D": "D*1e12"})
    assert (table.columns["N"][0], table.columns["D"][0]) == (1.5e9, 2e12)


def test_a_column_of_exactly_that_name_comes_before_a_formula(tmp_path):
    rows = [{"N": 1.0, "D": 2.0, "val/loss": 3.0, "val": 12.0, "loss": 4.0, "D/N": 9.0}]
    columns = {"loss": "val/loss", "M": "D/N"}
    table = _csv(tmp_path, rows, columns=columns)
    assert table.columns["loss"].tolist() == [3.0]
    assert table.columns["M"].tolist() == [9.0]
    nested = tmp_path / "a.jsonl"
    nested.write_bytes(as_json_lines([{"N": 1, "D": 2, "eval": {"loss": 3}, "c": {"k": 5}}]))
    table = read_table(nested, columns={"loss": "eval.loss*c.k", "M": "'c.k'+1"})
    assert table.columns["loss"].tolist() == [15.0]
    assert table.columns["M"].tolist() == [6.0]


BAD = {
    "no such column": ({**LAW, "C": "6*N*toks"}, r"a\.csv:1: C=6\*N\*toks: no column 'toks'"),
    "nothing known": ({**LAW, "loss": "val-los"}, r"no column 'val-los' \(nearest: val_loss\)"),
    "a program": ({**LAW, "C": "open('x')"}, "is no formula"),
    "itself": ({**LAW, "C": "C*2"}, "C=C.2 needs C itself"),
    "a circle": ({**LAW, "C": "M*2", "M": "C/2"}, "needs C itself"),
    "negative": ({**LAW, "C": "N-D"}, r"a\.csv:2: C = N-D is -1.9e\+07; it must be positive"),
    "by zero": ({**LAW, "C": "N/(D-D)"}, r"a\.csv:2: N/\(D-D\) divides by zero"),
    "huge": ({**LAW, "C": "N**99"}, r"a\.csv:2: N\*\*99 is too large"),
}


@pytest.mark.parametrize("case", BAD)
def test_formulas_that_cannot_be_used(tmp_path, case):
    columns, reason = BAD[case]
    with pytest.raises(LogError, match=reason):
        _csv(tmp_path, columns=columns)


def test_a_bad_cell_in_a_formula_is_a_bad_row(tmp_path):
    rows = [*ROWS, {**ROWS[0], "flops": "nan"}]
    columns = {**LAW, "x": "flops/1e18"}
    with pytest.raises(LogError, match=r"a\.csv:5: flops is nan"):
        _csv(tmp_path, rows, columns=columns)
    assert len(_csv(tmp_path, rows, columns=columns, skip_bad=True)) == 3


def test_where_each_file_is_a_run(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("N,D,loss\n1,2,3\n1,4,2\n")
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    table = read_table(paths, columns={"run": "@file"}, rows="last")
    assert table.columns["run"].tolist() == [str(path) for path in paths]
    assert table.columns["D"].tolist() == [4, 4]
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.csv").rename(tmp_path / "deep" / "b.csv")
    (tmp_path / "notes.txt").write_text("not a log\n")
    folder = read_table(tmp_path, columns={"run": "@file"}, rows="last")
    runs = [str(tmp_path / "a.csv"), str(tmp_path / "deep" / "b.csv")]
    assert folder.columns["run"].tolist() == runs
    assert folder.notes[0] == f"2 of the 3 files in {tmp_path} are logs, by their names"


# Guesses


def test_well_known_names_are_guessed_on_demand_and_said(tmp_path):
    table = _csv(tmp_path, guess=True)
    assert table.columns["N"].tolist() == [1e6, 2e6, 4e6]
    assert table.columns["loss"].tolist() == [3.875, 3.75, 3.5]
    (note,) = table.notes
    assert note.startswith("N = params, D = tokens, loss = val_loss (guessed")
    with pytest.raises(LogError, match="no column 'N'"):
        _csv(tmp_path)


NAMES = {
    "gemstones": ["run_name", "params_active_precise", "tokens", "final_loss"],
    "nested": ["run.name", "config.n_params", "summary.train_tokens", "summary.eval/loss"],
    "tags": ["run", "hparams.num_params", "tokens_seen", "Loss/x", "val/loss"],
    "case": ["Name", "Params", "Tokens", "Validation Loss"],
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_are_guessed(tmp_path, case):
    cells = ["r1", 5.0, 6.0, 9.0, 7.0]
    row = dict(zip(NAMES[case], cells, strict=False))
    expected = 7.0 if len(row) == 5 else 9.0
    table = _csv(tmp_path, [row], guess=True)
    assert [table.columns[name][0] for name in ("run", "N", "D")] == ["r1", 5.0, 6.0]
    assert table.columns["loss"][0] == expected


def test_nothing_is_guessed_where_two_may_be_meant_or_training_is(tmp_path):
    two = [{**ROWS[0], "n_params": 1.0}]
    match = r"no column 'N' \(2 columns may be it: params, n_params\).*--columns N=params"
    with pytest.raises(LogError, match=match):
        _csv(tmp_path, two, guess=True)
    assert len(_csv(tmp_path, two, guess=True, columns={"N": "n_params"})) == 1
    train = [{"N": 1, "D": 2, "train_loss": 3}]
    with pytest.raises(LogError, match=r"nearest: train_loss.*--columns loss=train_loss"):
        _csv(tmp_path, train, guess=True)
    names = [{"N": 1, "D": 2, "loss": 3, "run_id": "a", "name": "b"}]
    assert "run" not in _csv(tmp_path, names, guess=True).columns


def test_its_own_name_always_wins(tmp_path):
    rows = [{"N": 1.0, "params": 2.0, "D": 3.0, "loss": 4.0, "val_loss": 5.0}]
    table = _csv(tmp_path, rows, guess=True)
    assert (table.columns["N"][0], table.columns["loss"][0]) == (1.0, 4.0)
    assert table.notes == ()


def test_a_formula_may_rest_on_a_guess(tmp_path):
    table = _csv(tmp_path, required=("x", "y"), columns={"x": "6*N*D", "y": "val_loss"}, guess=True)
    np.testing.assert_allclose(table.columns["x"][0], 6 * 1e6 * 2e7, rtol=1e-15)
    assert table.notes[0].startswith("N = params, D = tokens (guessed")


def test_what_computes_a_missing_column_is_said(tmp_path):
    with pytest.raises(LogError, match=r"--columns C='6\*N\*D'"):
        _csv(tmp_path, [{"N": 1, "D": 2, "loss": 3}], required=("C", "loss"))


def test_every_file_has_its_own_names(tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.jsonl"
    a.write_bytes(as_csv(ROWS))
    b.write_text(json.dumps({"n_params": 5.0, "D": 6.0, "loss": 7.0}) + "\n")
    table = read_table([a, b], guess=True)
    assert table.columns["N"].tolist() == [1e6, 2e6, 4e6, 5.0]
    assert len(table.notes) == 2


def test_compute_and_tokens_per_parameter_follow_from_n_and_d(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("params,tokens,loss\n2,30,3.0\n4,50,2.5\n")
    table = read_table(path, required=("M", "C", "loss"), guess=True)
    assert table.columns["M"].tolist() == [15.0, 12.5]
    assert table.columns["C"].tolist() == [360.0, 1200.0]
