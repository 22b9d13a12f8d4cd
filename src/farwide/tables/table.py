"""What a fit reads: named columns, where each row came from, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from farwide.runlog import LogError


class Removal(NamedTuple):
    """A row, a run or a file that is not in a table."""

    where: str  # "FILE:LINE", a file or a folder
    reason: str


@dataclass(frozen=True)
class Table:
    """Columns of one length. Numbers are float64; `run` holds texts."""

    columns: dict[str, np.ndarray]
    origin: tuple[str, ...]  # "FILE:LINE" of each row, a run's folder for a run of ours
    removed: tuple[Removal, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.origin)


class Rejections:
    """What becomes of a bad row or file: strict raises it, `skip_bad` writes it down."""

    def __init__(self, skip_bad: bool) -> None:
        self.skip_bad = skip_bad
        self.removed: list[Removal] = []

    def __call__(self, error: LogError) -> None:
        if not self.skip_bad:
            raise error
        self.removed.append(Removal(error.where, error.reason))


def concatenate(parts: Sequence[Table], removed: Sequence[Removal] = ()) -> Table:
    """One table of several.

    A column `run` that only some parts have is filled up with each row's own origin, since rows
    without a run's name are runs of their own. Any other column must be in all parts or none:
    LogError names a part that lacks it.
    """
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    columns = {}
    for name in names:
        pieces = []
        for part in parts:
            if name in part.columns:
                pieces.append(part.columns[name])
            elif name == "run":
                pieces.append(np.array(part.origin, dtype=np.str_))
            else:
                file = part.origin[0].rpartition(":")[0] or part.origin[0]
                raise LogError(file, f"has no column {name!r}, and other files do")
        columns[name] = np.concatenate(pieces)
    origin = tuple(where for part in parts for where in part.origin)
    earlier = [removal for part in parts for removal in part.removed]
    return Table(columns, origin, (*earlier, *removed))
