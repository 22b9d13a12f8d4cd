"""Checkpoints by orbax. The only file that knows orbax.

A checkpoint is a pytree of arrays and a small dict of JSON values. Saves are synchronous and
atomic: after a kill at any moment the newest complete checkpoint is the one restored.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

SPARE_BYTES = 1_000_000  # on top of twice the state: metadata, and the log


@contextmanager
def _errors_raised_not_logged() -> Iterator[None]:
    """Keep orbax from also logging the errors that it raises, each with a page of traceback."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


class Restored(NamedTuple):
    """What `Checkpoints.restore` found."""

    step: int
    state: Any
    facts: dict[str, Any]


class Checkpoints:
    """Checkpoints of one run, below `directory`; keeps the newest `keep`."""

    def __init__(self, directory: str | Path, *, keep: int = 2) -> None:
        self._directory = Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            enable_async_checkpointing=False,
            create=True,
            cleanup_tmp_directories=True,  # what a killed save left behind
        )
        with _errors_raised_not_logged():  # nor what a kill left of a checkpoint being removed
            self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, step: int, state: Any, facts: dict[str, Any]) -> None:
        """Write a checkpoint and return once it is complete on disk.

        Raises:
            OSError: it could not be written (a full disk, no permission); the older ones stay.
        """
        needed = 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + SPARE_BYTES
        free = shutil.disk_usage(self._directory).free
        if free < needed:
            raise OSError(
                f"checkpoint {self._directory / str(step)}: {free / 1e6:.1f} MB are free on this "
                f"disk and {needed / 1e6:.1f} MB are needed; free some and start again"
            )
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state), facts=ocp.args.JsonSave(facts)
        )
        try:
            with _errors_raised_not_logged():
                self._manager.save(step, args=arguments)
                self._manager.wait_until_finished()
        except (OSError, ValueError) as error:  # the storage layer raises ValueError for both
            reason = str(error).splitlines()[0]
            raise OSError(f"checkpoint {self._directory / str(step)}: {reason}") from error

    def newest(self) -> int | None:
        """The step of the newest complete checkpoint, or None where none exists."""
        return self._manager.latest_step()

    def restore(self, like: Any) -> Restored | None:
        """The newest complete checkpoint in the structure of `like`, or None where none exists."""
        step = self.newest()
        if step is None:
            return None
        found = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(like), facts=ocp.args.JsonRestore()
            ),
        )
        return Restored(step, found["state"], found["facts"])

    def close(self) -> None:
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
