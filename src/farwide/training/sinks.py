"""Further places for the records of a run: TensorBoard event files, and Weights & Biases.

metrics.jsonl stays the log that counts. After a kill a resumed run writes some steps again.
"""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from farwide.runlog import Record
from farwide.training.loop import Sink


class MissingPackage(ImportError):
    """A sink's package is not installed."""


def scalars(record: Record) -> dict[str, float]:
    """The numbers of a record by name, metrics under "metrics/"; what was not measured is left out.

    Args:
      record: a line of the log.
    """
    values = {
        name: value
        for name, value in record._asdict().items()
        if name not in ("run", "step", "metrics") and value is not None
    }
    return values | {f"metrics/{name}": value for name, value in (record.metrics or {}).items()}


def tensorboard_sink(folder: str | Path) -> Sink:
    """Write records as scalars to a new event file in a folder; nothing needs closing.

    Args:
      folder: made if missing; TensorBoard takes it for one run. Values have 32 bits there.

    Raises:
      MissingPackage: tensorboard is not installed (TensorFlow is not needed).
      OSError: the folder cannot be written.
    """
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise _missing("tensorboard", "logs") from error
    event_type, summary_type = vars(event_pb2)["Event"], vars(summary_pb2)["Summary"]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"

    def write(**fields: Any) -> None:
        event = event_type(wall_time=time.time(), **fields)
        with open(folder / name, "ab") as file:
            RecordWriter(file).write(event.SerializeToString())

    def sink(record: Record) -> None:
        values = [
            summary_type.Value(tag=tag, simple_value=value)
            for tag, value in scalars(record).items()
        ]
        write(step=record.step, summary=summary_type(value=values))

    write(file_version="brain.Event:2")
    return sink


@contextmanager
def wandb_sink(
    project: str,
    name: str,
    folder: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    mode: str = "offline",
) -> Iterator[Sink]:
    """A run of Weights & Biases for the length of the block.

    Args:
      project, name: of the run there; a resumed run of the same name goes on in it.
      folder: where the client keeps its files, in its own folder "wandb".
      config: plain values, `RunConfig.to_json()`.
      mode: "offline" (sent later by `wandb sync`) or "online".

    Yields:
      The sink; in other processes than the first, one that does nothing.

    Raises:
      MissingPackage: wandb is not installed.
      ValueError: another mode.
    """
    if mode not in ("offline", "online"):
        raise ValueError(f"mode is {mode!r}; accepted: offline, online")
    if jax.process_index():
        yield lambda record: None
        return
    try:
        wandb = importlib.import_module("wandb")
    except ImportError as error:
        raise _missing("wandb", "wandb") from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=project,
        name=name,
        id=name,
        dir=str(folder),
        config=dict(config or {}),
        mode=mode,
        resume="allow",
    )
    failed = True
    try:
        yield lambda record: run.log(scalars(record), step=record.step)
        failed = False
    finally:
        run.finish(exit_code=int(failed))


def _missing(package: str, extra: str) -> MissingPackage:
    return MissingPackage(
        f"this sink needs {package}, which is missing: pip install 'farwide[{extra}]'"
    )
