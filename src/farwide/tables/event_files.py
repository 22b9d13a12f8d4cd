"""Scalars of TensorBoard event files: one row for each run and step.

A run is a folder, as in TensorBoard. Its rows have the columns `step`, `wall_time` (seconds since
1970), `run`, one for each tag of a scalar, and hparams.NAME where the hparams plugin was used.
A step at which none of the wanted tags was logged is no row. What is written twice for a step
(a run that was started again from a checkpoint) counts as last written, and the earlier value is
listed.

The records are taken apart here, so that a damaged one can be named; the package tensorboard, which
needs no TensorFlow for it, gives them their meaning.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from farwide.runlog import LogError
from farwide.runlog.files import read_bytes
from farwide.tables.extras import needs_extra
from farwide.tables.json_text import lookup
from farwide.tables.mapping import FILE, RUN, STEP
from farwide.tables.source import Row, Source
from farwide.tables.table import Rejections, Removal, RowError

MARK = "tfevents"
_HPARAMS = "_hparams_/session_start_info"
_OWN = (STEP, "wall_time", RUN)


class _Tools(NamedTuple):
    event: Any  # the protocol buffer Event
    hparams: Any  # and HParamsPluginData
    make_ndarray: Any
    masked_crc32c: Any


def is_event_file(path: Path) -> bool:
    """Whether a file has the name of an event file."""
    return MARK in path.name


def event_source(paths: Sequence[Path], reject: Rejections) -> Source:
    """Open the event files of one run, in the order of their names.

    Raises LogError when the package tensorboard is missing; hands damaged records to `reject`.
    """
    paths = sorted(paths, key=lambda path: path.name)
    tools = _tools(paths[0])
    rows: dict[int, dict[str, Any]] = {}
    first: dict[int, Path] = {}
    written: dict[tuple[int, str], str] = {}
    hparams: dict[str, Any] = {}
    for path in paths:
        try:
            for number, data in _records(path, tools, reject):
                try:
                    found = _scalars(data, tools, hparams)
                except ValueError as error:
                    reject(RowError(path, str(error), f"record {number}"))
                    continue
                if found is None:
                    continue
                step, wall_time, values = found
                row = rows.setdefault(step, {})
                first.setdefault(step, path)
                row.update({STEP: step, "wall_time": wall_time})
                for tag, value in values.items():
                    where = f"{path}: record {number}"
                    if (step, tag) in written:
                        reason = f"step {step} of {tag} is logged again at {where}, which counts"
                        reject.removed.append(Removal(written[step, tag], reason))
                    written[step, tag] = where
                    row[tag] = value
        except LogError as error:
            reject(error)
    tags = list(dict.fromkeys(tag for _, tag in written))
    folder = paths[0].parent
    own = {RUN: str(folder), **({"hparams": hparams} if hparams else {})}
    names = [*_OWN, *tags, *(f"hparams.{name}" for name in hparams)]

    def read(used: Collection[str], reject: Rejections) -> list[Row]:
        if not rows:
            reject(LogError(paths[0], "holds no scalars"))
        wanted = [tag for tag in tags if tag in used]
        out, empty = [], 0
        for step in sorted(rows):
            if all(tag in rows[step] for tag in wanted):
                out.append(Row(first[step], f"step {step}", {**own, **rows[step]}))
            else:
                empty += 1
        if empty:
            lack = f"lack one of {', '.join(wanted)}" if wanted[1:] else f"have no {wanted[0]}"
            reason = f"{empty} of {len(rows)} steps {lack}"
            reject.removed.append(Removal(str(folder), reason))
        return out

    return Source(paths[0], tuple(names), read, lookup, {*names, FILE}.__contains__)


def _tools(path: Path) -> _Tools:
    with needs_extra(path, "TensorBoard event files"):
        from tensorboard.compat.proto import event_pb2
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
        from tensorboard.plugins.hparams import plugin_data_pb2
        from tensorboard.util.tensor_util import make_ndarray
    event, hparams = vars(event_pb2)["Event"], vars(plugin_data_pb2)["HParamsPluginData"]
    return _Tools(event, hparams, make_ndarray, masked_crc32c)


def _records(path: Path, tools: _Tools, reject: Rejections) -> Iterator[tuple[int, bytes]]:
    """The records of a file: length (8 bytes), its checksum (4), data, its checksum (4)."""
    raw = read_bytes(path)
    if not raw:
        raise LogError(path, "empty file")
    at = number = 0
    while at < len(raw):
        number += 1
        place = f"record {number}"
        if len(raw) - at < 12:
            reject(RowError(path, "the file is cut short", place))
            return
        header, checksum = raw[at : at + 8], raw[at + 8 : at + 12]
        if _checksum(header, tools) != checksum:
            what = "no event file" if number == 1 else "damaged (the checksum of its length)"
            reject(RowError(path, f"{what}; the {len(raw) - at} bytes from here on are not read",
                            place))  # fmt: skip
            return
        end = at + 12 + struct.unpack("<Q", header)[0]
        if len(raw) < end + 4:
            reject(RowError(path, "the file is cut short", place))
            return
        data = raw[at + 12 : end]
        if _checksum(data, tools) != raw[end : end + 4]:
            reject(RowError(path, "damaged (the checksum of its data)", place))
        else:
            yield number, data
        at = end + 4


def _checksum(data: bytes, tools: _Tools) -> bytes:
    return struct.pack("<I", int(tools.masked_crc32c(data)) & 0xFFFFFFFF)


def _scalars(
    data: bytes, tools: _Tools, hparams: dict[str, Any]
) -> tuple[int, float, dict[str, float]] | None:
    """(step, wall time, tag -> value) of an event that holds scalars; fills `hparams` too."""
    event = tools.event()
    try:
        event.ParseFromString(data)
    except Exception:  # DecodeError, whose class depends on the version of protobuf
        raise ValueError("no event in it") from None
    values: dict[str, float] = {}
    for value in event.summary.value:
        if value.tag == _HPARAMS:
            _read_hparams(value.metadata.plugin_data.content, tools, hparams)
        elif value.HasField("simple_value"):
            values[value.tag] = float(value.simple_value)
        elif value.HasField("tensor"):
            number = _scalar_of(value.tensor, tools)
            if number is not None:
                values[value.tag] = number
    return (event.step, event.wall_time, values) if values else None


def _scalar_of(tensor: Any, tools: _Tools) -> float | None:
    """The number in a tensor without axes; None for any other, such as a histogram or a text."""
    if any(axis.size != 1 for axis in tensor.tensor_shape.dim):
        return None
    try:
        array = tools.make_ndarray(tensor)
    except Exception as error:  # whatever a tensor of a damaged or foreign kind sets off
        raise ValueError(f"its tensor cannot be read: {type(error).__name__}") from None
    if array.size != 1 or array.dtype.kind not in "fiu":
        return None
    return float(array.reshape(()))


def _read_hparams(content: bytes, tools: _Tools, hparams: dict[str, Any]) -> None:
    plugin = tools.hparams()
    try:
        plugin.ParseFromString(content)
    except Exception:  # as above
        raise ValueError("its hparams cannot be read") from None
    for name, value in plugin.session_start_info.hparams.items():
        kind = value.WhichOneof("kind")
        if kind == "number_value":
            number = value.number_value
            whole = math.isfinite(number) and number == int(number) and abs(number) < 2**53
            hparams[name] = int(number) if whole else number
        elif kind in ("string_value", "bool_value"):
            hparams[name] = getattr(value, kind)
