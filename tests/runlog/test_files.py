from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from farwide.runlog import (
    LogError,
    append_environment,
    environment_record,
    lock_directory,
    write_json,
)
from farwide.runlog.files import claim


def test_numpy_values_paths_and_infinities_become_json(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": np.float32(0.5), "b": np.arange(3), "c": Path("x"), "d": np.inf, "e": 1})
    assert json.loads(path.read_text()) == {
        "a": 0.5, "b": [0, 1, 2], "c": "x", "d": None, "e": 1,
    }  # fmt: skip


def test_a_folder_is_claimed_again_by_what_its_file_holds(tmp_path):
    path = tmp_path / "run" / "job.json"
    wanted = {"widths": (1, 2), "rates": ((0.1, None),), "of": np.int64(3)}
    for _ in range(2):  # writes, then compares
        claim(path, wanted, "another job", "go elsewhere")
    with pytest.raises(
        LogError, match=r"holds another job \(different: of, widths\); go elsewhere"
    ):
        claim(path, wanted | {"widths": (1,), "of": 4}, "another job", "go elsewhere")
    assert json.loads(path.read_text())["widths"] == [1, 2]


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch, function):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def crash(*_):
        raise OSError("crash")

    monkeypatch.setattr(os, function, crash)
    with pytest.raises(OSError, match="crash"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_an_object_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": 1}


HOLDER = """
import os, sys
from farwide.runlog import lock_directory
with lock_directory(sys.argv[1]):
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        with (
            pytest.raises(LogError, match=f"in use by process {pid} "),
            lock_directory(tmp_path),
        ):
            pytest.fail("two holders")
        process.kill()
    with lock_directory(tmp_path):
        pass


def test_a_lock_is_released_at_the_end_and_on_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), lock_directory(tmp_path / "new" / "run"):
            raise KeyError
    with (
        lock_directory(tmp_path),
        pytest.raises(LogError, match=f"in use by process {os.getpid()} "),
        lock_directory(tmp_path),
    ):
        pytest.fail("two holders")


def test_the_environment_says_where_a_run_was_made(tmp_path):
    record = environment_record("python -m experiments.x")
    assert record["command"] == "python -m experiments.x"
    assert record["started"].endswith("+00:00")
    assert {"jax", "numpy"} <= record["packages"].keys()
    assert record["backend"]
    assert record["devices"] >= 1
    path = tmp_path / "environment.jsonl"
    append_environment(path, record)
    with open(path, "ab") as file:
        file.write(b'{"torn')
    append_environment(path, record)
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [record, record]


def test_a_log_error_survives_pickling():
    import pickle

    error = LogError("a/b.csv", "bad", line=3)
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.line, back.reason) == ("a/b.csv:3: bad", 3, "bad")
    assert str(LogError("a", "bad")) == "a: bad"
