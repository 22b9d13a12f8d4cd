"""What a fit reads: named columns, where each row came from, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from farwide.runlog import LogError


class Removal(NamedTuple):
    """A row, a run or a file that is not in a table."""

    where: str  # "FILE:LINE", "FILE: row 12", a file or a folder
    reason: str


@dataclass(frozen=True)
class Table:
    """Columns of one length. Numbers are float64; `run` holds texts."""

    columns: dict[str, np.ndarray]
    origin: tuple[str, ...]  # "FILE:LINE" of each row, a run's folder for a run of ours
    removed: tuple[Removal, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())  # what was guessed or chosen while reading

    def __len__(self) -> int:
        return len(self.origin)


class RowError(LogError):
    """A row that cannot be used, in a file whose rows have no lines: "PATH: row 12: reason"."""

    def __init__(self, path: str | Path, reason: str, place: str) -> None:
        self.place = place
        super().__init__(path, reason)

    @property
    def where(self) -> str:
        """ "PATH: PLACE"."""
        return place_of(self.path, self.place)

    def __reduce__(self):
        return RowError, (self.path, self.reason, self.place)


def error_at(path: Path, place: int | str | None, reason: str) -> LogError:
    """The error of a row: `place` is a line, or words such as "row 12", or None."""
    if isinstance(place, str):
        return RowError(path, reason, place)
    return LogError(path, reason, line=place)


def place_of(path: Path, place: int | str | None) -> str:
    """ "PATH:LINE", "PATH: row 12" or "PATH"."""
    if place is None:
        return str(path)
    return f"{path}:{place}" if isinstance(place, int) else f"{path}: {place}"


class Rejections:
    """What becomes of a bad row or file: strict raises it, `skip_bad` writes it down."""

    def __init__(self, skip_bad: bool) -> None:
        self.skip_bad = skip_bad
        self.removed: list[Removal] = []

    def __call__(self, error: LogError) -> None:
        if not self.skip_bad:
            raise error
        self.removed.append(Removal(error.where, error.reason))
