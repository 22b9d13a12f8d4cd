from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from farwide.runlog import LogError, RunLog, read_records
from tests.runlog.folders import records

LINES = records("r", 4000, 130_000, 2.0, lines=5)  # steps 10, 20, ..., 50


def _write(directory, lines=LINES):
    with RunLog(directory) as log:
        for record in lines:
            log.write(record)
    return directory / "metrics.jsonl"


def test_what_is_written_is_read(tmp_path):
    assert read_records(_write(tmp_path)) == tuple(LINES)


def test_each_record_is_on_its_way_before_the_next(tmp_path):
    log = RunLog(tmp_path)
    for count, record in enumerate(LINES, start=1):
        log.write(record)
        assert len(read_records(tmp_path / "metrics.jsonl")) == count
    log.close()
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.write(LINES[-1]._replace(step=60))


def test_resuming_keeps_records_up_to_the_checkpoint(tmp_path):
    path = _write(tmp_path)
    with RunLog(tmp_path, resume_at=30) as log:
        assert (log.kept, log.dropped) == (3, 2)
        assert read_records(path) == tuple(LINES[:3])
        log.write(LINES[3])
    assert read_records(path) == tuple(LINES[:4])


def test_starting_afresh_keeps_nothing_after_step_0(tmp_path):
    path = _write(tmp_path)
    with RunLog(tmp_path):
        assert path.read_bytes() == b""


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_resuming_drops_a_torn_last_line(tmp_path, cut):
    path = _write(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    with RunLog(tmp_path, resume_at=50) as log:
        assert (log.kept, log.dropped) == (4, 0)
        log.write(LINES[4])
    assert read_records(path) == tuple(LINES)


def test_the_record_of_the_checkpoint_itself_may_be_written_again(tmp_path):
    path = _write(tmp_path)
    again = LINES[2]._replace(wall_seconds=99.0)
    with RunLog(tmp_path, resume_at=30) as log:
        log.write(again)
        with pytest.raises(ValueError, match="step is 30; expected more than 30"):
            log.write(again)
    assert read_records(path) == (*LINES[:2], again)


def test_steps_must_increase(tmp_path):
    with RunLog(tmp_path) as log:
        log.write(LINES[1])
        with pytest.raises(ValueError, match=r"record\.step is 10; expected more than 20"):
            log.write(LINES[0])


def test_a_corrupt_log_is_left_as_it_is(tmp_path):
    path = _write(tmp_path)
    corrupt = path.read_bytes().replace(b'"step": 20', b'"step": x0')
    path.write_bytes(corrupt)
    with pytest.raises(LogError, match=r"metrics\.jsonl:2: invalid JSON"):
        RunLog(tmp_path, resume_at=10)
    assert path.read_bytes() == corrupt


def test_a_failed_rewrite_leaves_the_old_log(tmp_path, monkeypatch):
    path = _write(tmp_path)
    before = path.read_bytes()

    def fail(source, target):
        raise OSError("the disk went away")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="the disk went away"):
        RunLog(tmp_path, resume_at=10)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


WRITER = """
import sys
from farwide.runlog import Record, RunLog
log = RunLog(sys.argv[1])
for step in range(1, 10**9):
    log.write(Record("r", step, step, 2, 1, 6.0 * step, 1.0, None, 0.0, 0.1))
"""


def test_a_killed_writer_leaves_complete_records(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    path = tmp_path / "metrics.jsonl"
    try:
        while process.poll() is None and (not path.exists() or path.stat().st_size < 100_000):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    complete = path.read_bytes().count(b"\n")
    with RunLog(tmp_path, resume_at=10**9) as log:
        assert log.kept == complete
    assert [record.step for record in read_records(path)] == list(range(1, complete + 1))
