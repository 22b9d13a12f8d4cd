"""`farwide runs`: what is in a folder of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from farwide.cli.output import count, number, print_table
from farwide.runlog import LogError, Run, read_runs


def runs_command(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS...")],
    /,
    *,
    skip_bad: bool = False,
) -> None:
    """List runs: size, tokens, compute, last validation loss, seconds of training, state.

    N counts parameters without the embedding, D training tokens; C is training FLOPs by the
    model's own count, loss the validation loss in nats per byte.

    Args:
        runs: Folders that hold runs, at any depth.
        skip_bad: List runs that cannot be read instead of stopping at the first.
    """
    bad: list[LogError] = []
    found = read_runs(*(runs or (Path("runs"),)), on_error=bad.append if skip_bad else None)
    if bad and not found:
        raise LogError(bad[0].path, f"{bad[0].reason} (no run is left)", line=bad[0].line)
    states = [run.state for run in found]
    by_state = ", ".join(f"{states.count(state)} {state}" for state in sorted({*states}))
    header = ("run", "role", "N", "D", "C", "loss", "seconds", "state")
    print_table(f"{count(len(found), 'run')}: {by_state}", header, [_row(run) for run in found])
    if bad:
        rows = [(error.where, error.reason) for error in bad]
        print_table(f"{len(bad)} not read", ("where", "reason"), rows)


def _row(run: Run) -> tuple[str, ...]:
    if not run.records:
        return (run.run, run.role, "-", "-", "-", "-", "-", run.state)
    last, final = run.records[-1], run.final
    return (
        run.run,
        run.role,
        str(last.params_non_embedding),
        str(last.tokens),
        number(last.flops),
        "-" if final is None or final.validation_loss is None else f"{final.validation_loss:.4f}",
        f"{last.wall_seconds:.1f}",
        run.state,
    )
