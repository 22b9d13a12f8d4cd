"""The packages that some formats need, imported when such a file is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farwide.runlog import LogError


@contextmanager
def needs_extra(path: Path, what: str) -> Iterator[None]:
    """Turn a package that is not installed into a LogError that says how to install it."""
    try:
        yield
    except ImportError as error:
        package = (error.name or "a package").partition(".")[0]
        reason = f"reading {what} needs {package}, which is missing: pip install 'farwide[logs]'"
        raise LogError(path, reason) from None
