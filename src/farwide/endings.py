"""How a script ends when it cannot go on: one line and an exit status; at once if others wait.

A process of several that ends the usual way first waits for the rest of them, while they wait for
its share of a sum: with JAX's defaults all hang for five minutes. `fail_at_once` ends that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NoReturn


class Interrupted(SystemExit):
    """A job was asked to stop, by SIGTERM or Ctrl-C, and saved where it stands.

    Its exit status is 0, so that a scheduler which requeues a job does so. `str(error)` says what
    was saved.
    """

    def __init__(self, message: str) -> None:
        super().__init__(0)
        self.message = message

    def __str__(self) -> str:
        return self.message


_awaited = False  # whether other processes wait for this one


def fail_at_once() -> None:
    """From now on an error that nobody catches ends this process without waiting for any other.

    `plain_endings` too then leaves by `os._exit`: handlers of `atexit` do not run after a failure.
    Nothing changes for a script that succeeds or is `Interrupted`, or at a prompt. It may be called
    again.
    """
    global _awaited
    if _awaited or hasattr(sys, "ps1"):
        return
    _awaited = True
    report = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> NoReturn:
        report(kind, error, trace)
        print(
            "ends at once; if it only lost another process, that one's output says why",
            file=sys.stderr,
        )
        _leave(130 if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = hook


def _leave(status: int) -> NoReturn:
    """End with a failure's status."""
    if not _awaited:
        raise SystemExit(status)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # a broken pipe, closed, or None
            stream.flush()
    os._exit(status)


@contextmanager
def plain_endings(*errors: type[Exception]) -> Iterator[None]:
    """Errors that a user can mend are one line on stderr, and so is Ctrl-C.

    Args:
      *errors: the exceptions that are meant.

    Raises:
      SystemExit: 2 after one of `errors`, 130 after Ctrl-C, 0 after `Interrupted`.
    """
    try:
        yield
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        raise
    except errors as error:
        print(f"error: {error}", file=sys.stderr)
        _leave(2)
    except KeyboardInterrupt:
        print("stopped; the same command continues where this one ended", file=sys.stderr)
        _leave(130)
