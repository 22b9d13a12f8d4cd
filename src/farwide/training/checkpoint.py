"""Checkpoints by orbax. The only file that knows orbax.

A checkpoint is a pytree of arrays and a small dict of JSON values. Saves are synchronous and
atomic: after a kill at any moment the newest complete checkpoint is the one restored.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import orbax.checkpoint as ocp


class Restored(NamedTuple):
    """What `Checkpoints.restore` found."""

    step: int
    state: Any
    facts: dict[str, Any]


class Checkpoints:
    """Checkpoints of one run, below `directory`; keeps the newest `keep`."""

    def __init__(self, directory: str | Path, *, keep: int = 2) -> None:
        self._manager = ocp.CheckpointManager(
            Path(directory).absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, enable_async_checkpointing=False, create=True
            ),
        )

    def save(self, step: int, state: Any, facts: dict[str, Any]) -> None:
        """Write a checkpoint and return once it is complete on disk."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), facts=ocp.args.JsonSave(facts)
            ),
        )
        self._manager.wait_until_finished()

    def restore(self, like: Any) -> Restored | None:
        """The newest complete checkpoint in the structure of `like`, or None where none exists."""
        step = self._manager.latest_step()
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
