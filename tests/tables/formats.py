"""The same rows written in every format that is read, without the code under test."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

Rows = Sequence[dict[str, Any]]


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    """Text as Python writes it; None as an empty cell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        cells = [row.get(name) for name in names]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue().encode()


def as_json_lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_json(rows: Rows) -> bytes:
    """An array with one object a line."""
    return ("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n").encode()


def as_histories(rows: Rows) -> bytes:
    """An array of runs, each with its curve under "history"."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        runs.setdefault(row["run"], []).append({k: v for k, v in row.items() if k != "run"})
    return as_json([{"run": run, "history": items} for run, items in runs.items()])


def as_chart(rows: Rows) -> bytes:
    """The CSV of a chart of Weights & Biases: x in the first column, a column of y for each run."""
    runs = list(dict.fromkeys(row["run"] for row in rows))
    header = ["x"] + [f"{run} - y{end}" for run in runs for end in ("", "__MIN", "__MAX")]
    table: dict[Any, dict[str, Any]] = {}
    for row in rows:
        table.setdefault(row.get("x"), {})[row["run"]] = row.get("y")
    lines = []
    for x, cells in table.items():
        values = [cells.get(run) for run in runs for _ in range(3)]
        lines.append([x, *("" if value is None else value for value in values)])
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([header, *lines])
    return out.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    table = pa.Table.from_pylist([dict(row) for row in rows])
    pq.write_table(table, out, row_group_size=5, write_page_checksum=True)
    return out.getvalue()


def as_events(rows: Rows) -> bytes:
    """An event file with one record a row, at steps 1, 2, ... unless a row has a `step`."""
    raw = record(event(wall_time=1e9, file_version="brain.Event:2"))
    for i, row in enumerate(rows, start=1):
        step = row.get("step", i)
        tags = {k: v for k, v in row.items() if k not in ("run", "step") and v is not None}
        raw += record(scalars(step, tags))
    return raw


def event(**fields: Any) -> bytes:
    from tensorboard.compat.proto import event_pb2

    return event_pb2.Event(**fields).SerializeToString()


def scalars(step: int, tags: dict[str, Any], *, tensors: bool = False) -> bytes:
    """An event with one value a tag: simple values, or tensors as TensorFlow 2 writes them."""
    import numpy as np
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.util.tensor_util import make_tensor_proto

    values = []
    for tag, value in tags.items():
        if tensors or isinstance(value, str | list):
            array = np.array(value) if isinstance(value, str | list) else np.float32(value)
            values.append(summary_pb2.Summary.Value(tag=tag, tensor=make_tensor_proto(array)))
        else:
            values.append(summary_pb2.Summary.Value(tag=tag, simple_value=float(value)))
    return event(step=step, wall_time=1e9 + step, summary=summary_pb2.Summary(value=values))


def record(data: bytes) -> bytes:
    """A record of an event file: length and data, each with its masked CRC-32C."""
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:  # bit by bit: Castagnoli polynomial, reflected
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


FORMATS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "CSV": ("a.csv", as_csv),
    "tabs": ("a.tsv", lambda rows: as_csv(rows, "\t")),
    "JSON Lines": ("a.jsonl", as_json_lines),
    "JSON": ("a.json", as_json),
    "gzipped CSV": ("a.csv.gz", lambda rows: gzip.compress(as_csv(rows), mtime=0)),
    "gzipped JSON Lines": ("a.jsonl.gz", lambda rows: gzip.compress(as_json_lines(rows), mtime=0)),
    "Parquet": ("a.parquet", as_parquet),
    "events": ("events.out.tfevents.1.host", as_events),
    "chart": ("chart.csv", as_chart),
    "histories": ("runs.json", as_histories),
}
COLUMNS = {"histories": {"x": "history.x", "y": "history.y"}}
