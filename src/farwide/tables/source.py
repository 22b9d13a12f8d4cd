"""A file as rows of raw cells, whatever its format: what every reader of this folder returns."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from farwide.tables.table import Rejections, place_of


class Row(NamedTuple):
    """One row before its cells are looked at."""

    path: Path
    place: int | str | None  # its line, or words such as "row 12"
    cells: Any  # what `Source.look` reads

    @property
    def where(self) -> str:
        """ "FILE:LINE", "FILE: row 12" or "FILE"."""
        return place_of(self.path, self.place)


@dataclass(frozen=True)
class Source:
    """The rows of a file, or of files that belong together.

    `rows(used, reject)` takes the columns that will be read, so that a reader can leave the others
    alone, and hands what it cannot read to `reject`. `look(cells, column)` is the raw value, or
    `ABSENT`.
    """

    path: Path
    names: tuple[str, ...]  # of the columns, as messages list them
    rows: Callable[[Collection[str], Rejections], list[Row]]
    look: Callable[[Any, str], Any]
    has: Callable[[str], bool]  # whether any row can have this column
    first: int | str | None = None  # where a missing column is reported
    texts: bool = False  # cells are texts, as in CSV
    ours: bool = False  # runs of ours, one row a finished run


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()  # null is something


def missing(value: Any) -> bool:
    """Whether a raw value says nothing: absent, null, or a blank text."""
    return value is ABSENT or value is None or (isinstance(value, str) and not value.strip())
