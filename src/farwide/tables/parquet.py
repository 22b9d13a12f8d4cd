"""Rows of a Parquet file. A struct is reached into by dots; rows are counted from 1."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

from farwide.runlog import LogError
from farwide.tables.extras import needs_extra
from farwide.tables.json_text import lookup
from farwide.tables.source import Row, Source
from farwide.tables.table import Rejections

MAGIC = b"PAR1"


def parquet_source(raw: bytes, path: Path) -> Source:
    """Open a Parquet file; its columns are decoded when they are used.

    Raises LogError when the file is damaged, and when pyarrow is missing. Checksums of pages are
    verified where the file has them (its format does not ask for them).
    """
    with needs_extra(path, "Parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    damage = (pa.ArrowException, OSError, ValueError, TypeError, MemoryError, OverflowError)
    try:
        file = pq.ParquetFile(pa.BufferReader(raw), page_checksum_verification=True)
        schema = file.schema_arrow
        count = file.metadata.num_rows
        names = tuple(name for field in schema for name in _leaves(field, pa))
        tops = [field.name for field in schema]
    except damage as error:
        raise LogError(path, f"damaged Parquet file: {_first_line(error)}") from None

    def rows(used: Collection[str], reject: Rejections) -> list[Row]:
        if not count:
            reject(LogError(path, "holds no rows"))
        wanted = [top for top in tops if any(u == top or u.startswith(f"{top}.") for u in used)]
        repeated = [top for top in wanted if tops.count(top) > 1]
        if repeated:
            raise LogError(path, f"has the column {repeated[0]!r} twice")
        try:
            table = file.read(columns=wanted, use_threads=False)
            if table.num_rows != count and wanted:
                raise ValueError(f"{table.num_rows} rows where {count} are announced")
            columns = [[_plain(value) for value in table.column(top).to_pylist()] for top in wanted]
        except damage as error:
            raise LogError(path, f"damaged Parquet file: {_first_line(error)}") from None
        return [
            Row(
                path,
                f"row {i + 1}",
                {top: column[i] for top, column in zip(wanted, columns, strict=True)},
            )
            for i in range(count)
        ]

    present = {*names, *tops}
    return Source(path, names, rows, lookup, present.__contains__)


def _leaves(field: Any, pa: Any, prefix: str = "") -> list[str]:
    if not pa.types.is_struct(field.type):
        return [prefix + field.name]
    inner = (field.type.field(i) for i in range(field.type.num_fields))
    return [name for child in inner for name in _leaves(child, pa, f"{prefix}{field.name}.")]


def _plain(value: Any) -> Any:
    """A value as JSON has it, where JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | bytes):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
