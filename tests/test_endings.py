"""How scripts end: a line on stderr and an exit status."""

from __future__ import annotations

import subprocess
import sys

import pytest

from farwide.endings import plain_endings


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (OSError("no space left"), 2, "error: no space left\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command continues where this one ended\n"),
    ],
)
def test_what_a_user_can_mend_is_a_line(capsys, error, status, line):
    with pytest.raises(SystemExit) as caught, plain_endings(OSError, KeyError):
        raise error
    assert caught.value.code == status
    assert capsys.readouterr().err == line


def test_other_errors_keep_their_traceback():
    with pytest.raises(ValueError, match="a bug"), plain_endings(OSError):
        raise ValueError("a bug")


def ended(program: str) -> subprocess.CompletedProcess[str]:
    """A Python program, run to its end."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("last", "status", "lines"),
    [
        ("raise ValueError('a bug')", 1, "ValueError: a bug\nends at once;"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\nends at once;"),
        ("with plain_endings(OSError): raise OSError('full')", 2, "error: full\n"),
        ("with plain_endings(): raise Interrupted('saved')", 0, "saved\nwaited"),
        ("pass", 0, "waited"),
    ],
)
def test_a_failure_waits_for_nobody(last, status, lines):
    program = f"""
import atexit, sys
from farwide.endings import Interrupted, fail_at_once, plain_endings
atexit.register(print, "waited", file=sys.stderr)
fail_at_once()
fail_at_once()
print("said before", end="")
{last}
"""
    done = ended(program)
    assert done.returncode == status
    assert done.stdout == "said before"
    assert lines in done.stderr
    assert done.stderr.count("ends at once") <= 1
    assert ("waited" in done.stderr) == (status == 0)


def test_a_failure_ends_where_nobody_reads():
    program = """
import os, sys
from farwide.endings import fail_at_once
fail_at_once()
print("unread")
os.close(1)
raise ValueError("a bug")
"""
    done = ended(program)
    assert done.returncode == 1
    assert "ValueError: a bug" in done.stderr
