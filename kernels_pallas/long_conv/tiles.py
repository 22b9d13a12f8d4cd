"""Tuned tile sizes: one measured table a kind of device, in tiles/<device>.json beside this file.

`python -m benchmarks.tune_long_conv` writes a table on the device it is for. A table that was never
measured is not there, and a backend then goes by its own heuristic. The format:

    {"device_kind": ..., "provenance": {...}, "tiles": [
      {"backend": "triton", "size": 1024, "dtype": "bfloat16", "backward": false,
       "tile": {"batch_tile": 4, "factors": [32, 32], "warps": 4, "stages": 1},
       "tuned_ms": ..., "heuristic_ms": ...}, ...]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax

from kernels_pallas.long_conv.kernel import Tile

TABLES = Path(__file__).with_suffix("")  # the folder of the tables
Key = tuple[str, int, str, bool]  # backend, size, dtype, backward


def tile(
    backend: str,
    device_kind: str,
    size: int,
    dtype: str,
    backward: bool,
    *,
    tables: Path = TABLES,
) -> Tile | None:
    """The tuned tile for a transform, or None: the backend's heuristic.

    Args:
      backend: "triton", "mosaic_tpu", ...
      device_kind: as `jax.Device.device_kind` has it, such as "NVIDIA H100 80GB HBM3".
      size: points of the transform.
      dtype: of the signals.
      backward: the backward pass instead of the forward one.
      tables: the folder of the tables.

    Raises:
      ValueError: the device's table is there and not in the format.
    """
    return load(table_path(device_kind, tables)).get((backend, size, str(dtype), bool(backward)))


def attached(backend: str, platform: str, size: int, dtype: str, backward: bool) -> Tile | None:
    """`tile` for the kind of device that this process has; None where it has none.

    A tile decides speed and not values, so a program lowered for another device stays right.

    Args:
      backend, size, dtype, backward: as `tile`.
      platform: "gpu" or "tpu".
    """
    try:
        device = jax.devices(platform)[0]
    except RuntimeError:  # no such platform here
        return None
    return tile(backend, device.device_kind, size, dtype, backward)


def table_path(device_kind: str, tables: Path = TABLES) -> Path:
    """Where the table of a kind of device is: its name in lower case, joined by hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", device_kind.lower()).strip("-")
    if not name:
        raise ValueError(f"device_kind is {device_kind!r}; it must have a letter or a digit")
    return Path(tables) / f"{name}.json"


@lru_cache(maxsize=16)
def load(path: Path) -> Mapping[Key, Tile]:
    """A table by (backend, size, dtype, backward); empty where there is no file. Read once.

    Raises:
      ValueError: the file is not in the format; the message names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        entries = json.loads(text)["tiles"]
        return {
            (str(e["backend"]), int(e["size"]), str(e["dtype"]), bool(e["backward"])): _tile(
                e["size"], e["tile"]
            )
            for e in entries
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no table of tiles: {type(error).__name__}: {error}") from error


def save(
    device_kind: str,
    provenance: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    tables: Path = TABLES,
) -> Path:
    """Write a device's table and return its path. An entry's "tile" is a `Tile`.

    Raises:
      ValueError: an entry that `load` would not take.
    """
    path = table_path(device_kind, tables)
    rows = []
    for entry in entries:
        made = entry["tile"]._asdict()
        _tile(entry["size"], made)
        rows.append({**entry, "tile": {**made, "factors": list(made["factors"])}})
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"device_kind": device_kind, "provenance": dict(provenance), "tiles": rows}
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    load.cache_clear()
    return path


def _tile(size: Any, fields: Mapping[str, Any]) -> Tile:
    """A tile from its fields, checked."""
    factors = tuple(int(f) for f in fields["factors"])
    made = Tile(
        int(fields["batch_tile"]), factors, int(fields.get("warps", 4)), int(fields["stages"])
    )
    product = 1
    for factor in factors:
        product *= factor
    if product != size or min(made.batch_tile, made.warps, made.stages) < 1:
        raise ValueError(f"{made} is no tile of a transform of {size} points")
    return made


__all__ = ["Tile", "attached", "load", "save", "table_path", "tile"]
