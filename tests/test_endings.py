"""How scripts end: a line on stderr and an exit status."""

from __future__ import annotations

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
