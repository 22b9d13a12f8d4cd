"""Exports of Weights & Biases in the shapes that its client, its API and its pages write."""

from __future__ import annotations

import json

import pytest

from farwide.runlog import LogError
from farwide.tables import read_table

RUNS = [
    {"name": f"run-{i}", "state": state,
     "config": {"params": {"desc": None, "value": 1e6 * 2**i}, "_wandb": {"value": {"x": 1}}},
     "summary": {"tokens": 3e7, "val_loss": 3.5 - i / 4, "_step": 30, "_runtime": 12.5},
     "history": [{"_step": s, "tokens": 1e6 * s, "val_loss": 5 - s / 16} for s in (10, 20, 30)]}
    for i, state in enumerate(["finished", "crashed", "finished"])
]  # fmt: skip
SUMMARY = {"N": "config.params", "D": "summary.tokens", "loss": "summary.val_loss", "run": "name"}
HISTORY = {"N": "config.params", "D": "history.tokens", "loss": "history.val_loss", "run": "name"}


@pytest.fixture(params=["array", "lines"])
def runs(request, tmp_path):
    path = tmp_path / ("runs.json" if request.param == "array" else "runs.jsonl")
    lines = [json.dumps(run) for run in RUNS]
    text = "[\n" + ",\n".join(lines) + "\n]" if request.param == "array" else "\n".join(lines)
    path.write_text(text)
    return path


def test_summaries_are_one_row_a_run(runs):
    table = read_table(runs, columns=SUMMARY)
    assert table.columns["N"].tolist() == [1e6, 2e6, 4e6]
    assert table.columns["loss"].tolist() == [3.5, 3.25, 3.0]
    finished = read_table(runs, columns=SUMMARY, where=["state=finished"])
    assert finished.columns["run"].tolist() == ["run-0", "run-2"]


def test_histories_are_rows_when_they_are_read(runs):
    table = read_table(runs, columns=HISTORY, rows="all")
    assert table.columns["D"].tolist() == [1e7, 2e7, 3e7] * 3
    first = 2 if runs.suffix == ".json" else 1
    assert table.origin[4] == f"{runs}: line {first + 1}, history item 2"
    last = read_table(
        runs, columns={**HISTORY, "step": "history._step"}, rows="last", finished=["state=finished"]
    )
    assert last.columns["loss"].tolist() == [3.125, 3.125]
    assert len(last.removed) == 7


def test_what_may_be_meant_is_guessed_only_where_one_thing_is(runs):
    with pytest.raises(LogError, match=r"2 columns may be it: summary.tokens, history.tokens"):
        read_table(runs, guess=True)
    table = read_table(
        runs, columns={"D": "summary.tokens", "loss": "summary.val_loss"}, guess=True
    )  # fmt: skip
    assert table.notes[0].startswith("N = config.params, run = name (guessed")


def test_flat_histories_of_the_api(tmp_path):
    path = tmp_path / "history.jsonl"
    rows = [{"_step": s, "_runtime": s / 2, "_timestamp": 1e9, "loss": None if s % 2 else 4.0,
             "tokens": 1000 * (s + 1), "system/gpu": float("nan")} for s in range(6)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"N": "1e6", "run": "@file"}
    with pytest.raises(LogError, match=r"history\.jsonl:2: loss is null"):
        read_table(path, columns=columns, guess=True, rows="all")
    table = read_table(path, columns=columns, guess=True, where=["loss!="], rows="last")
    assert table.columns["D"].tolist() == [5000.0]
    assert len(table.removed) == 5


def test_the_table_of_runs_as_csv(tmp_path):
    path = tmp_path / "wandb_export_2026-11-22.csv"
    path.write_text(
        '"Name","State","Runtime","params","tokens","val_loss"\n'
        '"a","finished","100","1000000","20000000","3.5"\n'
        '"b","crashed","7","1000000","20000000",""\n'
        '"c","running","50","2000000","20000000","3.1"\n'
    )
    table = read_table(path, guess=True, where=["State=finished,running"])
    assert table.columns["run"].tolist() == ["a", "c"]
    assert [tuple(r) for r in table.removed] == [
        (f"{path}:3", '--where State=finished,running: State is "crashed"')
    ]


CHART = (
    '"Step","a - b - loss","a - b - loss__MIN","a - b - loss__MAX","c - _step","c - _step__MIN",'
    '"c - _step__MAX","c - loss","c - loss__MIN","c - loss__MAX"\n'
    '"0","5.5","5.0","6.0","","","","","",""\n'
    '"10","4.5","4.5","4.5","10","10","10","4.75","4.75","4.75"\n'
    '"20","4.0","4.0","4.0","20","20","20","4.25","4.25","4.25"\n'
)


def test_a_chart_as_csv(tmp_path):
    path = tmp_path / "chart.csv"
    path.write_text(CHART)
    columns = {"x": "Step+1", "y": "loss"}
    table = read_table(path, required=("x", "y"), columns=columns, rows="all")
    assert table.columns["run"].tolist() == ["a - b", "a - b", "c", "a - b", "c"]
    assert table.columns["y"].tolist() == [5.5, 4.5, 4.75, 4.0, 4.25]
    assert table.origin[2] == f"{path}: line 3, run c"
    last = read_table(path, required=("x", "y"), columns=columns, rows="last")
    assert last.columns["y"].tolist() == [4.0, 4.25]
    assert "by step (Step)" in last.notes[0]


def test_a_chart_with_two_runs_of_one_name_is_refused(tmp_path):
    path = tmp_path / "chart.csv"
    path.write_text(CHART.replace("a - b - loss", "c - loss"))
    with pytest.raises(LogError, match=r"chart\.csv:1: the header has the column 'c - loss' twice"):
        read_table(path, required=("Step", "loss"))


def test_a_chart_line_without_values_is_listed(tmp_path):
    path = tmp_path / "chart.csv"
    path.write_text(CHART + '"30",' + ",".join(['""'] * 9) + "\n")
    table = read_table(path, required=("x", "loss"), columns={"x": "Step+1"}, rows="all")
    assert [tuple(r) for r in table.removed] == [(f"{path}:5", "no run has a value")]


def _folder(tmp_path, run, params, loss, config=True):
    files = tmp_path / "wandb" / run / "files"
    files.mkdir(parents=True)
    summary = {"val_loss": loss, "_step": 30, "tokens": 3e7, "_wandb": {"runtime": 12}}
    (files / "wandb-summary.json").write_text(json.dumps(summary))
    if config:
        text = (
            f"wandb_version: 1\n\nparams:\n  desc: null\n  value: {params}\n_wandb: {{value: 1}}\n"
        )
        (files / "config.yaml").write_text(text)
    return files


def test_folders_of_the_client(tmp_path):
    for i in range(3):
        _folder(tmp_path, f"run-2026-{i}", 1000 * 2**i, 3.0 - i / 4)
    table = read_table(tmp_path / "wandb", guess=True)
    assert table.columns["N"].tolist() == [1000.0, 2000.0, 4000.0]
    assert table.columns["run"].tolist() == [f"run-2026-{i}" for i in range(3)]
    one = tmp_path / "wandb" / "run-2026-1" / "files" / "wandb-summary.json"
    assert read_table(one, guess=True).origin == (f"{one}:1",)


BAD_CONFIG = {
    "invalid": ("a: [1\nb: 2\n", r"config\.yaml:2: invalid YAML"),
    "a list": ("- 1\n", r"config\.yaml: expected names with values, found an array"),
    "not UTF-8": (b"a: \xff\n", r"config\.yaml:1: not UTF-8"),
    "a program": ("a: !!python/object/apply:os.getcwd []\n", r"config\.yaml:1: invalid YAML"),
    "deep": ("[" * 9999, r"config\.yaml: invalid YAML"),
}


@pytest.mark.parametrize("case", BAD_CONFIG)
def test_a_config_that_cannot_be_read(tmp_path, case):
    content, reason = BAD_CONFIG[case]
    files = _folder(tmp_path, "run-1", 1000, 3.0)
    (files / "config.yaml").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )  # fmt: skip
    with pytest.raises(LogError, match=reason):
        read_table(tmp_path / "wandb", columns={"N": "1"}, guess=True)
