"""Sweeps by submitit: skipped where done, continued where stopped, failures named."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from farwide.runlog import LogError
from farwide.training.cluster import Job, JobsFailed, MissingSubmitit, run_jobs
from tests.parallelism.launching import environment
from tests.training.jobs import count, fail


@pytest.fixture
def submitted(monkeypatch):
    """The processes of jobs find this tree."""
    pytest.importorskip("submitit", reason="submitit is not installed: farwide[cluster]")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


def counting(folder, name, to, **more):
    return Job(name, count, {"path": str(folder / f"{name}.txt"), "to": to, **more})


@pytest.mark.usefixtures("submitted")
def test_two_jobs_of_which_one_is_stopped_and_queued_again(tmp_path):
    jobs = [counting(tmp_path, "a", 3), counting(tmp_path, "b", 5, stop_at=2)]
    output = io.StringIO()
    for _ in range(2):  # the second call runs nothing
        found = run_jobs(jobs, tmp_path / "sweep", at_once=2, console=Console(file=output),
                         poll_seconds=0.1)  # fmt: skip
        assert found == [3, 5]
        assert (tmp_path / "a.starts").read_text() == "0\n"
        assert (tmp_path / "b.starts").read_text() == "0\n2\n"
    assert not output.getvalue().strip()  # no terminal
    with pytest.raises(LogError, match="another job"):
        run_jobs([counting(tmp_path, "a", 4)], tmp_path / "sweep")


@pytest.mark.usefixtures("submitted")
def test_a_failure_is_named_and_the_others_run(tmp_path):
    jobs = [Job("bad", fail, {"text": "no such thing"}), counting(tmp_path, "good", 2)]
    terminal = io.StringIO()
    with pytest.raises(JobsFailed, match=r"1 of 2 jobs failed\nbad: .*no such thing \(all of it"):
        run_jobs(jobs, tmp_path, poll_seconds=0.1,
                 console=Console(file=terminal, force_terminal=True))  # fmt: skip
    assert (tmp_path / "good.txt").read_text() == "2"
    assert "failed" in terminal.getvalue()
    assert "done" in terminal.getvalue()


def test_bad_arguments_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="cluster is 'cloud'"):
        run_jobs([], tmp_path, cluster="cloud")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="name is 'a'"):
        run_jobs([counting(tmp_path, "a", 1)] * 2, tmp_path)
    with pytest.raises(ValueError, match="at_once is 0"):
        run_jobs([], tmp_path, at_once=0)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingSubmitit, match=r"farwide\[cluster\]"):
        run_jobs([], tmp_path)
