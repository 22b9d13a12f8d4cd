"""The one error that a reader of logs raises."""

from __future__ import annotations

from pathlib import Path


class LogError(ValueError):
    """A file that cannot be used, and where: `str(error)` is "PATH:LINE: reason".

    Arguments: `path`, the file or folder; `reason`, in words; `line`, counted from 1, or None when
    the whole file is meant ("PATH: reason").
    """

    def __init__(self, path: str | Path, reason: str, *, line: int | None = None) -> None:
        self.path = Path(path)
        self.reason = reason
        self.line = line
        super().__init__(f"{self.where}: {reason}")

    @property
    def where(self) -> str:
        """ "PATH:LINE", or "PATH" when the whole file is meant."""
        return str(self.path) if self.line is None else f"{self.path}:{self.line}"

    def __reduce__(self):
        return _rebuild, (self.path, self.reason, self.line)


def _rebuild(path: Path, reason: str, line: int | None) -> LogError:
    return LogError(path, reason, line=line)
