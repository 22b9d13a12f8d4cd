from __future__ import annotations

import json
import warnings

import pytest

from farwide.runlog import LogError, read_run, read_runs
from tests.runlog.folders import write_run


def _edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_finished_run(tmp_path):
    run = read_run(write_run(tmp_path, "a", 4000, 130_000, 2.0, role="seed", seed=3))
    assert (run.run, run.role, run.seed, run.finished, run.state) == (
        "a", "seed", 3, True, "finished",
    )  # fmt: skip
    assert run.final == run.records[-1]
    assert run.final is not None
    assert run.final.validation_loss == 2.0


def test_states(tmp_path):
    assert read_run(write_run(tmp_path, "a", 4000, 9000, 2.0, status=None)).state == "unfinished"
    diverged = read_run(write_run(tmp_path, "b", 4000, 9000, 2.0, status="diverged"))
    assert (diverged.state, diverged.finished) == ("diverged", False)


def test_final_is_the_last_record_with_a_validation_loss(tmp_path):
    folder = write_run(tmp_path, "a", 4000, 130_000, 2.0, status=None)
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:3]))
    run = read_run(folder)
    assert run.final is not None
    assert (run.final.step, len(run.records)) == (20, 3)


def test_a_run_that_has_not_logged_yet(tmp_path):
    folder = write_run(tmp_path, "a", 4000, 9000, 2.0, status=None)
    (folder / "metrics.jsonl").write_text("")
    assert (read_run(folder).records, read_run(folder).final) == ((), None)


@pytest.mark.parametrize("cut", [1, 40])
def test_an_unterminated_last_line_is_a_warning_with_file_and_line(tmp_path, cut):
    folder = write_run(tmp_path, "a", 4000, 9000, 2.0)
    path = folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.warns(UserWarning, match=r"metrics\.jsonl:4: the last line has no end"):
        run = read_run(folder)
    assert len(run.records) == 3


def test_a_complete_log_warns_of_nothing(tmp_path):
    folder = write_run(tmp_path, "a", 4000, 9000, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_run(folder)


BAD_FILES = {
    "no config": ("config.json", None, r"config\.json: no such file"),
    "config is a list": ("config.json", b"[]", "expected a JSON object, found an array"),
    "config is cut": ("config.json", b'{"schema": 1,\n"run"', r"config\.json:2: invalid JSON"),
    "config is binary": ("config.json", b"\xff\xfe{}", r"config\.json:1: not UTF-8"),
    "role": ("config.json", b'{"schema":1,"run":"a","role":"x","seed":0}', 'role is "x"'),
    "seed": ("config.json", b'{"schema":1,"run":"a","role":"fit","seed":"0"}', 'seed is "0"'),
    "schema": ("config.json", b'{"schema":9,"run":"a"}', "schema is 9; this version reads 1"),
    "name": (
        "config.json",
        b'{"schema":1,"run":"b","role":"fit","seed":0}',
        r"jsonl:1: run is 'a'",
    ),
    "summary": ("summary.json", b'{"schema":1,"run":"a","status":"done"}', 'status is "done"'),
    "summary of another": ("summary.json", b'{"schema":1,"run":"z"}', 'run is "z"'),
    "summary is early": (
        "summary.json",
        b'{"schema":1,"run":"a","status":"finished","step":20}',
        "step is 20; metrics.jsonl goes on to step 40",
    ),
    "environment": ("environment.jsonl", b"{}\n3\n", r"environment\.jsonl:2: expected a JSON obj"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_of_a_run_is_named(tmp_path, case):
    name, content, reason = BAD_FILES[case]
    folder = write_run(tmp_path, "a", 4000, 9000, 2.0)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(LogError, match=reason) as caught:
        read_run(folder)
    assert str(folder) in str(caught.value)


ORDER = {
    "steps": (b'"step": 30', b'"step": 20', "step is 20 after step 20"),
    "tokens": (b'"tokens": 6750', b'"tokens": 1', "tokens falls from 4500 to 1"),
    "size": (b'"params_total": 5000', b'"params_total": 7', "params_total changes from 5000 to 7"),
}


@pytest.mark.parametrize("case", ORDER)
def test_records_of_a_run_agree_with_one_another(tmp_path, case):
    old, new, reason = ORDER[case]
    path = write_run(tmp_path, "a", 4000, 9000, 2.0) / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    assert old in lines[2]
    lines[2] = lines[2].replace(old, new)
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(LogError, match=rf"metrics\.jsonl:3: {reason}"):
        read_run(path.parent)


def test_runs_are_found_below_any_folder_and_sorted(tmp_path):
    write_run(tmp_path / "x" / "deep", "c", 4000, 9000, 2.0, seed=1)
    write_run(tmp_path / "x", "b", 4000, 9000, 2.0, seed=0)
    write_run(tmp_path / "y", "a", 4000, 9999, 2.0)
    write_run(tmp_path / "y", "big", 9000, 100, 2.0)
    assert [run.run for run in read_runs(tmp_path)] == ["b", "c", "a", "big"]
    assert [run.run for run in read_runs(tmp_path / "y" / "a")] == ["a"]
    # A folder that is named twice, and once more within another, holds its runs once.
    assert len(read_runs(tmp_path, tmp_path / "x", tmp_path)) == 4


def test_two_runs_of_one_name_are_an_error_that_names_both(tmp_path):
    first = write_run(tmp_path / "x", "a", 4000, 9000, 2.0)
    second = write_run(tmp_path / "y", "a", 4000, 9000, 2.0)
    with pytest.raises(LogError) as caught:
        read_runs(tmp_path)
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_folders_without_runs(tmp_path):
    with pytest.raises(LogError, match="holds no run"):
        read_runs(tmp_path)
    with pytest.raises(LogError, match="no such folder"):
        read_runs(tmp_path / "nothing")


def test_on_error_collects_what_cannot_be_read(tmp_path):
    write_run(tmp_path, "a", 4000, 9000, 2.0)
    bad = write_run(tmp_path, "b", 4000, 9000, 2.0)
    (bad / "metrics.jsonl").write_text("{}\n")
    errors: list[LogError] = []
    runs = read_runs(tmp_path, tmp_path / "none", on_error=errors.append)
    assert [run.run for run in runs] == ["a"]
    assert [error.path for error in errors] == [bad / "metrics.jsonl", tmp_path / "none"]
