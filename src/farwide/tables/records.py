"""Logs of ours on their own, away from their run folders: one file, one or several runs."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np

from farwide.runlog import Record
from farwide.runlog.reading import parse_records, warn_torn
from farwide.runlog.record import REQUIRED
from farwide.tables.runs import Parameters
from farwide.tables.table import Table

_FIELDS = frozenset(("schema", *Record._fields))
_REQUIRED = frozenset(("schema", *REQUIRED))


def is_our_log(text: str) -> bool:
    """Whether the first line has the fields of a `Record` and no other."""
    try:
        first = json.loads(text.split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and _REQUIRED <= first.keys() <= _FIELDS


def records_table(raw: bytes, path: Path, parameters: Parameters) -> Table:
    """One row a run: its last record with a validation loss. Columns as in `runs_table`.

    A log does not say whether its run finished (summary.json in the run's folder does), so a
    warning says that this is not known, and another where a log goes on beyond that record.
    """
    records, torn = parse_records(raw, path)
    if torn is not None:
        warn_torn(path, torn)
    warnings.warn(
        f"{path}: a log without its run folder: whether its runs finished is not known",
        stacklevel=2,
    )
    final: dict[str, tuple[int, Record]] = {}
    last: dict[str, int] = {}
    for line, record in enumerate(records, start=1):
        last[record.run] = record.step
        if record.validation_loss is not None:
            final[record.run] = line, record
    for run, step in last.items():
        if run not in final:
            warnings.warn(f"{path}: run {run} has no validation loss, not used", stacklevel=2)
        elif (at := final[run])[1].step < step:
            reason = f"run {run} goes on to step {step}; its last validation loss is used"
            warnings.warn(f"{path}:{at[0]}: {reason}", stacklevel=2)
    rows = [record for _, record in final.values()]
    columns = {
        "N": [getattr(record, f"params_{parameters}") for record in rows],
        "D": [record.tokens for record in rows],
        "loss": [record.validation_loss for record in rows],
        "flops": [record.flops for record in rows],
        "params_total": [record.params_total for record in rows],
        "params_non_embedding": [record.params_non_embedding for record in rows],
        "seconds": [record.wall_seconds for record in rows],
    }
    arrays: dict[str, np.ndarray] = {
        name: np.asarray(values, dtype=np.float64) for name, values in columns.items()
    }
    arrays["run"] = np.asarray([record.run for record in rows], dtype=np.str_)
    return Table(arrays, tuple(f"{path}:{line}" for line, _ in final.values()))
