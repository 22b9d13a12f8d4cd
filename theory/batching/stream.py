"""Kernel matrices written to disk as they are computed; a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from theory.batching import arguments, merge
from theory.batching.cuts import Side, Tile, side_of, tiles_of
from theory.batching.ledger import Ledger, commit, open_ledger
from theory.batching.program import (
    Form,
    devices_of,
    outputs,
    program_of,
    ranks_of,
    shapes_of,
)
from theory.stax.layer import KernelFn

AGREEMENT = {2: 1e-2, 4: 1e-3, 8: 1e-6}  # of a tile computed again, by bytes of a number


def stream_kernel(
    kernel_fn: Callable[..., Any],
    folder: str | Path,
    x1: Any,
    x2: Any = None,
    get: str | tuple[str, ...] | None = None,
    *args: Any,
    batch_size: int = 64,
    device_count: int = -1,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] | None = None,
    sync_seconds: float = 5.0,
    **kwargs: Any,
) -> Any:
    """kernel_fn(x1, x2, get, ...), written to `folder` tile by tile and returned memory-mapped.

    Neither this process nor a device ever holds more than a tile. After a kill the same call goes
    on: tiles that are marked as done are kept, and the first of them is computed again and
    compared, so that a folder of another problem is refused even where its description is the same.
    Where x2 is None only tiles on and above the diagonal are computed, as in `theory.batch`.

    Args:
      kernel_fn: as for `theory.batch`; its results must be arrays (N1, N2, ..).
      folder: made where it is missing; NAME.npy for each kernel (`kernel.npy` where get is None).
      x1, x2: inputs; x2 None means x1.
      get: the third argument of kernel_fn, "nngp", "ntk" or both; None: kernel_fn is called without
        it and returns an array.
      args: further arguments (`params` of an empirical kernel).
      batch_size: largest number of examples on each side of a tile. More than memory allows is too
        many, and so is what takes long: a kill loses the tiles at hand.
      device_count: as in `theory.batch`.
      share: (i, n): compute every n-th tile from the i-th on. With n processes on one file system
        that share `folder`, each its own i, they do the work together; each returns when its own
        share is done.
      progress: called with (entries done, entries in all) of this share, pairs of examples, as they
        reach the disk; first with what was there.
      sync_seconds: least time between two syncs to the disk: what a kill loses, beside the tiles at
        hand.
      kwargs: as for `theory.batch`.

    Returns:
      A read-only memory-mapped array, or a named tuple of them where get is a tuple.

    Raises:
      ValueError: an argument outside of what is described; `folder` holds another problem.
      OSError: the disk has no room for the matrices, or refuses.
    """
    folder = Path(folder)
    names = _names(get)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive int, got {batch_size!r}")
    index, count = share
    if not 0 <= index < count:
        raise ValueError(f"share must be (i, n) with 0 <= i < n, got {share!r}")
    program = program_of(kernel_fn, devices_of(device_count))
    # one name is asked for in a tuple too, so that the field of every array is known
    arrays, static = arguments.split(x1, x2, args if get is None else (names, *args), kwargs)
    n1, n2 = arguments.counts_of(arrays.x1, arrays.x2)
    symmetric = arguments.symmetric(arrays)
    sides = side_of(n1, batch_size), side_of(n2, batch_size)
    form = Form((sides[0].size, sides[1].size), symmetric)
    shapes, _ = shapes_of(program, arrays, static, form)
    keys = [f"0.{name}" for name in names] if get is not None else ["0."]
    if sorted(shapes) != sorted(keys):
        raise ValueError(
            f"kernel_fn must return one array for each of {names}, got {sorted(shapes)}"
        )
    pairs = merge.spatial_pairs(shapes, ranks_of(kernel_fn, arrays.x1)) if symmetric else None
    tiles = tiles_of(*sides, symmetric=symmetric, mirrored=pairs is not None)
    matrices = {
        name: ((n1, n2, *shapes[key].shape[2:]), shapes[key].dtype)
        for name, key in zip(names, keys, strict=True)
    }
    problem = _problem(kernel_fn, get, arrays, static, sides, matrices)
    ledger = open_ledger(folder, problem, matrices, len(tiles))
    whole = {key: ledger.matrices[name] for name, key in zip(names, keys, strict=True)}
    job = (program, arrays, static, sides)
    _check_one(job, tiles, ledger, whole)
    _compute(
        job,
        tiles,
        range(index, len(tiles), count),
        ledger,
        whole,
        symmetric,
        pairs,
        progress,
        sync_seconds,
    )
    opened = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in names]
    return namedtuple("StreamedKernel", names)(*opened) if isinstance(get, tuple) else opened[0]


def _compute(
    job: tuple,
    tiles: list[Tile],
    mine: range,
    ledger: Ledger,
    whole: merge.Arrays,
    symmetric: bool,
    pairs: dict[str, int] | None,
    progress: Callable[[int, int], None] | None,
    sync_seconds: float,
) -> None:
    """Every tile of `mine` that is not done."""
    sides = job[-1]
    entries = {tile: _entries(tile, sides, symmetric and pairs is not None) for tile in tiles}
    number = {tile: i for i, tile in enumerate(tiles)}
    total = sum(entries[tiles[i]] for i in mine)
    reached = sum(entries[tiles[i]] for i in mine if ledger.done[i])
    report = progress or (lambda done, total: None)
    report(reached, total)
    pending: list[Tile] = []
    synced = time.monotonic()
    for group, out, _ in outputs(*_run(job, [tiles[i] for i in mine if not ledger.done[i]])):
        host = jax.tree.map(np.asarray, out)
        for i, tile in enumerate(group):
            part = {key: value[i] for key, value in host.items()}
            merge.put(whole, part, tile, sides, symmetric=symmetric, pairs=pairs)
            pending.append(tile)
        if time.monotonic() - synced >= sync_seconds:
            commit(ledger, [number[tile] for tile in pending])
            reached += sum(entries[tile] for tile in pending)
            report(reached, total)
            pending, synced = [], time.monotonic()
    commit(ledger, [number[tile] for tile in pending])
    if pending:
        report(reached + sum(entries[tile] for tile in pending), total)


def _check_one(job: tuple, tiles: list[Tile], ledger: Ledger, whole: merge.Arrays) -> None:
    """Computes the first tile that is done again.

    Raises:
      ValueError: the folder holds other numbers.
    """
    finished = np.flatnonzero(ledger.done)
    if not len(finished):
        return
    tile = tiles[finished[0]]
    rows, columns = (side.owned(i) for side, i in zip(job[-1], tile[:2], strict=True))
    at = tuple(side.within(i) for side, i in zip(job[-1], tile[:2], strict=True))
    for _, out, _ in outputs(*_run(job, [tile])):
        for key, value in out.items():
            now, held = np.asarray(value[0])[at], np.asarray(whole[key][rows, columns])
            scale = np.abs(held).max(initial=0.0, where=np.isfinite(held))
            allowed = AGREEMENT[held.dtype.itemsize] * scale
            if not np.allclose(now, held, rtol=0.0, atol=allowed, equal_nan=True):
                raise ValueError(
                    f"{ledger.folder} holds another problem: entries [{rows.start}:{rows.stop}, "
                    f"{columns.start}:{columns.stop}] computed again differ by more than "
                    f"{allowed:.1g}; name another folder, or remove it"
                )


def _run(job: tuple, tiles: list[Tile]) -> tuple:
    program, arrays, static, sides = job
    return program, arrays, static, tiles, sides


def _entries(tile: Tile, sides: tuple[Side, Side], mirrored: bool) -> int:
    """Pairs of examples that a tile and its mirror image give."""
    sizes = [len(range(*s.owned(i).indices(s.n))) for s, i in zip(sides, tile[:2], strict=True)]
    return sizes[0] * sizes[1] * (2 if mirrored and not tile.itself else 1)


def _names(get: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if get is None:
        return ("kernel",)
    names = (get,) if isinstance(get, str) else tuple(get)
    for name in names:
        if name not in ("nngp", "ntk"):
            raise ValueError(f'get must be "nngp", "ntk", both in a tuple, or None; got {get!r}')
    return names


def _problem(
    kernel_fn,
    get,
    arrays: arguments.Arrays,
    static: arguments.Static,
    sides: tuple[Side, Side],
    matrices: dict,
) -> dict[str, Any]:
    """What tells this problem from another: every input's bytes, the function's own description."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        leaf = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape} ".encode())
        digest.update(leaf.data)
    known = isinstance(kernel_fn, KernelFn)
    return {
        "schema": 1,
        "function": kernel_fn.rule.name if known else _written(kernel_fn),
        "get": get,
        "static": [_written(leaf) for leaf in static.leaves if leaf is not None],
        "inputs_sha256": digest.hexdigest(),
        "tile": [side.size for side in sides],
        "matrices": {name: [list(shape), str(dtype)] for name, (shape, dtype) in matrices.items()},
    }


def _written(value: Any) -> str:
    """The same text in every process: no addresses."""
    if isinstance(value, str | int | float | bool):
        return repr(value)
    return getattr(value, "__qualname__", type(value).__qualname__)
