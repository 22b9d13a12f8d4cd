"""The folder of a kernel that is computed into files: what it holds, and which tiles are done.

    problem.json   what is computed; another problem is refused
    NAME.npy       one matrix each, NumPy's format, at full size from the start
    tiles.done     a byte a tile, 1 where its entries are on the disk

A tile's entries are synced to the disk before its byte is set, so a byte that is set tells the
truth after a kill or a power cut. problem.json is written last of all when a folder is set up: a
folder without it has nothing to keep.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PROBLEM, DONE, LOCK = "problem.json", "tiles.done", "lock"


class Ledger(NamedTuple):
    """An opened folder.

    Attributes:
      folder: where it is.
      matrices: name -> memory-mapped array, writable.
      done: (tiles,) uint8, memory-mapped, writable.
    """

    folder: Path
    matrices: dict[str, np.memmap]
    done: np.memmap


def open_ledger(
    folder: Path,
    problem: Mapping[str, Any],
    arrays: Mapping[str, tuple[tuple[int, ...], Any]],
    tiles: int,
) -> Ledger:
    """Opens a folder of this problem, or sets it up.

    Args:
      folder: made where it is missing.
      problem: plain values for JSON; the folder's must be equal.
      arrays: name -> (shape, dtype) of each matrix.
      tiles: how many there are.

    Raises:
      ValueError: the folder holds another problem, or a file of it is damaged.
      OSError: the disk has no room, or refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if not (folder / PROBLEM).is_file():
            _set_up(folder, problem, arrays, tiles)
    _compare(folder, problem)
    matrices = {}
    for name, (shape, dtype) in arrays.items():
        path = folder / f"{name}.npy"
        matrices[name] = np.lib.format.open_memmap(path, mode="r+")
        if (matrices[name].shape, matrices[name].dtype) != (tuple(shape), np.dtype(dtype)):
            raise ValueError(
                f"{path} holds {matrices[name].dtype} of shape {matrices[name].shape}, expected "
                f"{np.dtype(dtype)} of shape {tuple(shape)}: remove the folder to compute it anew"
            )
    size = (folder / DONE).stat().st_size
    if size != tiles:
        raise ValueError(f"{folder / DONE} has {size} bytes, expected {tiles}: remove the folder")
    return Ledger(folder, matrices, np.memmap(folder / DONE, np.uint8, "r+", shape=(tiles,)))


def commit(ledger: Ledger, tiles: list[int]) -> None:
    """Syncs the matrices to the disk, then marks tiles as done."""
    if tiles:
        for matrix in ledger.matrices.values():
            matrix.flush()
        ledger.done[tiles] = 1
        ledger.done.flush()


def _set_up(
    folder: Path, problem: Mapping[str, Any], arrays: Mapping[str, tuple], tiles: int
) -> None:
    for name, (shape, dtype) in arrays.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, tuple(shape)).flush()
        _reserve(folder / f"{name}.npy")
    with open(folder / DONE, "wb") as file:
        file.write(bytes(tiles))
        _sync(file)
    temporary = folder / f"{PROBLEM}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(problem, file, indent=2)
        _sync(file)
    os.replace(temporary, folder / PROBLEM)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reserve(path: Path) -> None:
    """Takes the file's disk space now: a full disk is an error here, not a crash while writing."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            _sync(file)


def _sync(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def _compare(folder: Path, problem: Mapping[str, Any]) -> None:
    path = folder / PROBLEM
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is no JSON ({error}): remove the folder to compute it anew"
        ) from None
    wanted = json.loads(json.dumps(problem))
    different = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
    if different:
        listed = ", ".join(f"{k} {found.get(k)!r} -> {wanted.get(k)!r}" for k in different)
        raise ValueError(
            f"{folder} holds another problem ({listed}): name another folder, or remove it"
        )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock ends with its holder, killed or not."""
    with open(folder / LOCK, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
