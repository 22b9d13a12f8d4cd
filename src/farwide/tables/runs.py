"""Our own runs as a table: one row a finished run, taken at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from farwide.runlog import Record, Run
from farwide.tables.table import Removal, Table

Parameters = Literal["non_embedding", "total"]
PARAMETERS: tuple[Parameters, ...] = ("non_embedding", "total")


class LeftOut(NamedTuple):
    """A run that is not in a table, and why."""

    run: str
    reason: str


def runs_table(
    runs: Sequence[Run],
    *,
    parameters: Parameters = "non_embedding",
    roles: Sequence[str] = ("fit", "seed"),
) -> Table:
    """One row for each finished run of the given roles.

    Columns: N (parameters), D (training tokens), loss (validation, nats per byte, at the run's
    last step), flops (by the model's own count), params_total, params_non_embedding, seed, seconds,
    run. `removed` names every other
    run with the reason: its role, an unfinished or diverged state, or no validation loss at its
    last step (an earlier one would be the loss of a shorter, badly annealed run).

    Raises ValueError for an unknown `parameters`.
    """
    if parameters not in PARAMETERS:
        raise ValueError(f"parameters is {parameters!r}; accepted are {', '.join(PARAMETERS)}")
    kept: list[tuple[Run, Record]] = []
    removed = []
    for run in runs:
        final = final_or_reason(run, roles)
        if isinstance(final, str):
            removed.append(Removal(str(run.path), final))
        else:
            kept.append((run, final))
    columns = {
        "N": [getattr(final, f"params_{parameters}") for _, final in kept],
        "D": [final.tokens for _, final in kept],
        "loss": [final.validation_loss for _, final in kept],
        "flops": [final.flops for _, final in kept],
        "params_total": [final.params_total for _, final in kept],
        "params_non_embedding": [final.params_non_embedding for _, final in kept],
        "seed": [run.seed for run, _ in kept],
        "seconds": [final.wall_seconds for _, final in kept],
    }
    arrays: dict[str, np.ndarray] = {
        name: np.asarray(values, dtype=np.float64) for name, values in columns.items()
    }
    arrays["run"] = np.asarray([run.run for run, _ in kept], dtype=np.str_)
    return Table(arrays, tuple(str(run.path) for run, _ in kept), tuple(removed))


def final_or_reason(run: Run, roles: Sequence[str]) -> Record | str:
    """The record at the end of a run, or why the run has no place in a table of `roles`."""
    if run.role not in roles:
        return f"its role is {run.role}"
    if not run.finished:
        return "it diverged" if run.state == "diverged" else "it is unfinished"
    final = run.final
    if final is None or run.summary is None:
        return "it has no validation loss"
    if final.step != run.summary["step"]:
        step = run.summary["step"]
        return f"its last validation loss is of step {final.step}, and it ended at step {step}"
    if final.tokens <= 0 or final.flops <= 0 or final.validation_loss <= 0:  # pyright: ignore
        return f"tokens {final.tokens}, flops {final.flops}, loss {final.validation_loss}: not > 0"
    return final
