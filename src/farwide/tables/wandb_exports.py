"""Exports of Weights & Biases, brought into rows: what their shapes have of their own.

- The CSV of a chart: a column for the step and, for each run, "RUN - METRIC" with "RUN -
  METRIC__MIN" and "RUN - METRIC__MAX" beside it. Each line becomes one row a run, with columns
  `run`, the step's and METRIC; a run's empty cells are steps that it did not log.
- The CSV or JSON of the runs table is read like any other; values of a config may be wrapped as
  {"value": ...}.
- A JSON object a run with its curve under "history": when a column history.NAME is read, each item
  of the curve is a row of its own, beside the run's config and summary.
- `wandb-summary.json`, as the client leaves it in the folder of a run: one row, with the values of
  the config.yaml beside it under `config`.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from farwide.runlog import LogError
from farwide.runlog.files import decode, json_type, read_bytes
from farwide.tables.extras import needs_extra
from farwide.tables.json_text import HISTORY, Place, is_history
from farwide.tables.mapping import RUN

SUMMARY = "wandb-summary.json"
_SEPARATOR = " - "


def is_wide(names: Sequence[str]) -> bool:
    """Whether these are the columns of a chart's export."""
    present = {*names}
    return any(
        _SEPARATOR in name and f"{name}__MIN" in present and f"{name}__MAX" in present
        for name in names
    )


def unfold_wide(
    names: Sequence[str], rows: Sequence[tuple[int, list[str]]]
) -> tuple[list[str], list[tuple[str, dict[str, str]]], list[int]]:
    """A chart's export as (columns, rows, lines without any value).

    One row for each line and run that has a value there.
    """
    shared = [(i, name) for i, name in enumerate(names) if _SEPARATOR not in name]
    runs: dict[str, list[tuple[int, str]]] = {}
    for i, name in enumerate(names):
        run, separator, metric = name.rpartition(_SEPARATOR)
        if separator:
            runs.setdefault(run, []).append((i, metric))
    columns = [name for _, name in shared] + [RUN]
    columns += dict.fromkeys(metric for metrics in runs.values() for _, metric in metrics)
    unfolded, empty = [], []
    for line, cells in rows:
        before = len(unfolded)
        for run, metrics in runs.items():
            found = {metric: cells[i] for i, metric in metrics if cells[i].strip()}
            if found:
                own = {name: cells[i] for i, name in shared}
                unfolded.append((f"line {line}, run {run}", {**own, RUN: run, **found}))
        if len(unfolded) == before:
            empty.append(line)
    return columns, unfolded, empty


def with_histories(
    rows: Sequence[tuple[Place, dict[str, Any]]], used: Collection[str]
) -> list[tuple[Place, dict[str, Any]]]:
    """The rows, or one for each item of their histories when a column of those is used."""
    if not any(name.startswith(f"{HISTORY}.") for name in used):
        return list(rows)
    out: list[tuple[Place, dict[str, Any]]] = []
    for place, obj in rows:
        if not is_history(HISTORY, obj.get(HISTORY)):
            out.append((place, obj))
            continue
        for i, item in enumerate(obj[HISTORY], start=1):
            where = f"line {place}" if isinstance(place, int) else place
            out.append((f"{where}, history item {i}", {**obj, HISTORY: item}))
    return out


def complete_summary(obj: dict[str, Any], path: Path) -> dict[str, Any]:
    """A wandb-summary.json with the run's name, and the config beside it."""
    folder = path.absolute().parent
    run = folder.parent.name if folder.name == "files" else folder.name
    obj = {RUN: run, **obj}
    config = path.with_name("config.yaml")
    if config.is_file() and "config" not in obj:
        obj["config"] = _read_config(config)
    return obj


def _read_config(path: Path) -> dict[str, Any]:
    with needs_extra(path, "config.yaml"):
        yaml = importlib.import_module("yaml")
    try:
        config = yaml.safe_load(decode(read_bytes(path), path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, LogError):
            raise
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        problem = getattr(error, "problem", None) or "nested too deeply, or no value"
        at = None if line is None else line + 1
        raise LogError(path, f"invalid YAML: {problem}", line=at) from None
    if not isinstance(config, dict):
        raise LogError(path, f"expected names with values, found {json_type(config)}")
    return {str(key): value for key, value in config.items() if key != "wandb_version"}
