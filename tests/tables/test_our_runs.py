from __future__ import annotations

import pytest

from farwide.runlog import LogError, RunLog, read_runs
from farwide.tables import read_table, runs_table
from tests.runlog.folders import records, write_run


def _sweep(root):
    write_run(root, "a", 4000, 9000, 2.0)
    write_run(root, "b", 8000, 9000, 1.9, role="seed", seed=1)
    write_run(root, "going", 8000, 9000, 1.9, status=None)
    write_run(root, "gone", 8000, 9000, 1.9, status="diverged")
    write_run(root, "held", 16_000, 90_000, 1.5, role="held_out")
    return root


def test_one_row_a_finished_run_and_a_reason_for_every_other(tmp_path):
    table = runs_table(read_runs(_sweep(tmp_path)))
    assert table.columns["run"].tolist() == ["a", "b"]
    assert table.columns["N"].tolist() == [4000, 8000]
    assert table.columns["D"].tolist() == [9000, 9000]
    assert table.columns["loss"].tolist() == [2.0, 1.9]
    assert table.columns["flops"].tolist() == [6.0 * 4000 * 9000, 6.0 * 8000 * 9000]
    reasons = {removal.where.rpartition("/")[2]: removal.reason for removal in table.removed}
    assert reasons == {
        "going": "it is unfinished", "gone": "it diverged", "held": "its role is held_out",
    }  # fmt: skip


def test_parameters_and_roles(tmp_path):
    runs = read_runs(_sweep(tmp_path))
    assert runs_table(runs, parameters="total").columns["N"].tolist() == [5000, 9000]
    assert runs_table(runs, roles=("held_out",)).columns["run"].tolist() == ["held"]
    with pytest.raises(ValueError, match="parameters is 'all'; accepted are non_embedding, total"):
        runs_table(runs, parameters="all")  # pyright: ignore[reportArgumentType]


def test_an_earlier_validation_loss_does_not_stand_for_the_last_step(tmp_path):
    path = write_run(tmp_path, "a", 4000, 9000, 2.0) / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.warns(UserWarning, match="no end"):
        runs = read_runs(tmp_path)
    (removal,) = runs_table(runs).removed
    assert removal.reason == "its last validation loss is of step 20, and it ended at step 40"


def test_folders_are_read_with_no_mapping(tmp_path):
    table = read_table(_sweep(tmp_path))
    assert set(table.columns) == {"N", "D", "loss", "run"}
    assert len(table) == 2
    assert len(table.removed) == 3
    one = read_table(tmp_path / "a" / "metrics.jsonl")
    assert one.columns["run"].tolist() == ["a"]


def test_columns_of_runs_can_be_mapped(tmp_path):
    _sweep(tmp_path)
    table = read_table(tmp_path, columns={"x": "flops", "y": "loss"}, required=("x", "y"))
    assert table.columns["x"].tolist() == [6.0 * 4000 * 9000, 6.0 * 8000 * 9000]
    total = read_table(tmp_path, columns={"N": "params_total"})
    assert total.columns["N"].tolist() == [5000, 9000]
    with pytest.raises(LogError, match="no column 'width'"):
        read_table(tmp_path, columns={"N": "width"})


def test_runs_and_files_make_one_table(tmp_path):
    sweep = _sweep(tmp_path / "sweep")
    other = tmp_path / "other.csv"
    other.write_text("N,D,loss\n5,6,7\n")
    table = read_table([sweep, other])
    assert table.columns["run"].tolist() == ["a", "b", f"{other}:2"]


def test_skip_bad_leaves_a_bad_run_out(tmp_path):
    path = _sweep(tmp_path) / "a" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"train_loss": 2.25', '"train_loss": NaN'))
    with pytest.raises(LogError, match=r"metrics\.jsonl:2: .*NaN"):
        read_table(tmp_path)
    table = read_table(tmp_path, skip_bad=True)
    assert table.columns["run"].tolist() == ["b"]
    assert f"{path}:2" in [removal.where for removal in table.removed]


def test_a_log_away_from_its_folder_is_recognised(tmp_path):
    path = tmp_path / "all.jsonl"
    lines = [r.to_json() for r in (*records("a", 4000, 9000, 2.0), *records("b", 8000, 9000, 1.9))]
    path.write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match="whether its runs finished is not known"):
        table = read_table(path)
    assert table.columns["loss"].tolist() == [2.0, 1.9]
    assert table.origin == (f"{path}:4", f"{path}:8")


def test_a_torn_last_line_of_such_a_log_is_a_warning(tmp_path):
    with RunLog(tmp_path) as log:
        for record in records("a", 4000, 9000, 2.0):
            log.write(record)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    with (
        pytest.warns(UserWarning, match=r"metrics\.jsonl:4: the last line has no end"),
        pytest.warns(UserWarning, match=r"metrics\.jsonl:2: run a goes on to step 30"),
        pytest.warns(UserWarning, match="not known"),
    ):
        table = read_table(path)
    assert table.columns["loss"].tolist() == [pytest.approx(2.2)]
