"""Read run folders back, trusting nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farwide.runlog.errors import LogError
from farwide.runlog.files import decode, json_type, parse_json, read_bytes, read_json
from farwide.runlog.record import SCHEMA, Record, shown

METRICS = "metrics.jsonl"
CONFIG = "config.json"
ENVIRONMENT = "environment.jsonl"
SUMMARY = "summary.json"
ROLES = ("fit", "seed", "held_out")
STATUSES = ("finished", "diverged")


@dataclass(frozen=True)
class Run:
    """Everything that a run folder holds, but for its checkpoints."""

    run: str
    path: Path
    config: dict[str, Any]
    environments: tuple[dict[str, Any], ...]
    records: tuple[Record, ...]
    summary: dict[str, Any] | None  # None until the run has ended

    @property
    def role(self) -> str:
        """ "fit", "seed" (a replicate that differs in its seed alone) or "held_out"."""
        return self.config["role"]

    @property
    def seed(self) -> int:
        """The seed of the run's initialisation and data order."""
        return self.config["seed"]

    @property
    def state(self) -> str:
        """ "finished", "diverged", or "unfinished" when there is no summary.json yet."""
        return "unfinished" if self.summary is None else self.summary["status"]

    @property
    def finished(self) -> bool:
        """Whether the run reached the end of its budget with a finite loss."""
        return self.state == "finished"

    @property
    def final(self) -> Record | None:
        """The last record that has a validation loss."""
        evaluated = (r for r in reversed(self.records) if r.validation_loss is not None)
        return next(evaluated, None)


def read_run(directory: str | Path) -> Run:
    """Read one run folder.

    Raises LogError with file and line for anything that is not as the schema says. The one
    exception is an unterminated last line of metrics.jsonl or environment.jsonl, which a kill
    leaves behind: it is not used, and a warning says so.
    """
    path = Path(directory)
    if not path.is_dir():
        raise LogError(path, "not a folder" if path.exists() else "no such folder")
    config = _read_config(path / CONFIG)
    name = config["run"]
    records = read_records(path / METRICS)
    for line, record in enumerate(records, start=1):
        if record.run != name:
            reason = f"run is {record.run!r}; {CONFIG} says {name!r}"
            raise LogError(path / METRICS, reason, line=line)
    return Run(name, path, config, _read_environments(path / ENVIRONMENT), records,
               _read_summary(path / SUMMARY, name, records))  # fmt: skip


def read_runs(*paths: str | Path, on_error: Callable[[LogError], None] | None = None) -> list[Run]:
    """Read every run folder at or below the given folders, sorted by (N, D, seed).

    N counts parameters without the embedding and D the tokens of the last record; runs with no
    record yet come first. Raises LogError when a folder holds no run, when a run cannot be read,
    and when two folders hold runs of one name. With `on_error`, each error is handed to it in
    place of being raised, and what it speaks of is left out.
    """

    def fail(error: LogError) -> None:
        if on_error is None:
            raise error
        on_error(error)

    runs: dict[str, Run] = {}
    seen: set[Path] = set()
    for root in map(Path, paths):
        try:
            folders = find_run_folders(root)
        except LogError as error:
            fail(error)
            continue
        for folder in folders:
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            try:
                run = read_run(folder)
                if run.run in runs:
                    other = runs[run.run].path
                    raise LogError(folder, f"holds run {run.run!r}, and so does {other}")
            except LogError as error:
                fail(error)
                continue
            runs[run.run] = run
    return sorted(runs.values(), key=_size)


def find_run_folders(root: Path) -> list[Path]:
    """The folders with a metrics.jsonl at or below `root`; LogError when there is none."""
    if root.name == METRICS and root.is_file():
        return [root.parent]
    if not root.is_dir():
        raise LogError(root, "not a folder of runs" if root.exists() else "no such folder")
    folders = sorted(path.parent for path in root.rglob(METRICS))
    if not folders:
        raise LogError(root, f"holds no run: no {METRICS} at or below it")
    return folders


def read_records(path: str | Path) -> tuple[Record, ...]:
    """The records of a metrics.jsonl, in order; see `read_run` for what is refused."""
    path = Path(path)
    records, torn = parse_records(read_bytes(path), path)
    if torn is not None:
        warn_torn(path, torn)
    return tuple(records)


def parse_records(raw: bytes, path: Path) -> tuple[list[Record], int | None]:
    """Records from the bytes of a log, and the line number of a torn last line or None.

    Within a run steps increase, tokens, FLOPs and time do not fall, and sizes do not change.
    """
    lines, torn = complete_lines(raw)
    records: list[Record] = []
    before: dict[str, Record] = {}
    for number, line in enumerate(lines, start=1):
        record = Record.parse(decode(line, path, number), path, number)
        if record.run in before:
            _check_order(before[record.run], record, path, number)
        before[record.run] = record
        records.append(record)
    return records, torn


def complete_lines(raw: bytes) -> tuple[list[bytes], int | None]:
    """Lines that end in a line end, and the number of the last one when it does not."""
    *lines, last = raw.split(b"\n")
    return lines, (len(lines) + 1 if last else None)


def _check_order(before: Record, record: Record, path: Path, line: int) -> None:
    for name in ("params_total", "params_non_embedding"):
        old, new = getattr(before, name), getattr(record, name)
        if new != old:
            raise LogError(path, f"{name} changes from {old!r} to {new!r}", line=line)
    if record.step <= before.step:
        reason = f"step is {record.step} after step {before.step}; steps must increase"
        raise LogError(path, reason, line=line)
    for name in ("tokens", "flops", "wall_seconds"):
        old, new = getattr(before, name), getattr(record, name)
        if new < old:
            raise LogError(path, f"{name} falls from {old!r} to {new!r}", line=line)


def warn_torn(path: Path, line: int) -> None:
    """Say that an unterminated last line is not used."""
    reason = "the last line has no end (the run was cut short) and is not used"
    warnings.warn(f"{path}:{line}: {reason}", stacklevel=3)


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    _check_schema(config, path)
    run, role, seed = config.get("run"), config.get("role"), config.get("seed")
    if not isinstance(run, str) or not run:
        raise LogError(path, f"run is {shown(run)}; expected a text")
    if role not in ROLES:
        raise LogError(path, f"role is {shown(role)}; expected one of {', '.join(ROLES)}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise LogError(path, f"seed is {shown(seed)}; expected an integer")
    return config


def _read_environments(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.exists():
        return ()
    lines, torn = complete_lines(read_bytes(path))
    environments = []
    for number, line in enumerate(lines, start=1):
        obj = parse_json(decode(line, path, number), path, number)
        if not isinstance(obj, dict):
            raise LogError(path, f"expected a JSON object, found {json_type(obj)}", line=number)
        environments.append(obj)
    if torn is not None:
        warn_torn(path, torn)
    return tuple(environments)


def _read_summary(path: Path, run: str, records: tuple[Record, ...]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    summary = read_json(path)
    _check_schema(summary, path)
    if summary.get("run") != run:
        raise LogError(path, f"run is {shown(summary.get('run'))}; {CONFIG} says {run!r}")
    if summary.get("status") not in STATUSES:
        reason = f"status is {shown(summary.get('status'))}; expected {' or '.join(STATUSES)}"
        raise LogError(path, reason)
    step = summary.get("step")
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise LogError(path, f"step is {shown(step)}; expected a whole number from 0")
    if records and step < records[-1].step:
        raise LogError(path, f"step is {step}; {METRICS} goes on to step {records[-1].step}")
    return summary


def _check_schema(obj: dict[str, Any], path: Path) -> None:
    schema = obj.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        raise LogError(path, f"schema is {shown(schema)}; this version reads {SCHEMA}")


def _size(run: Run) -> tuple[int, int, int, str]:
    last = run.records[-1] if run.records else None
    n, d = (last.params_non_embedding, last.tokens) if last else (0, 0)
    return n, d, run.seed, run.run
