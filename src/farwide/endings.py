"""How an experiment script ends when it cannot go on: one line, an exit status, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped; the same command continues where this one ended", file=sys.stderr)
        raise SystemExit(130) from None
