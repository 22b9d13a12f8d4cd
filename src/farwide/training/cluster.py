"""Many jobs through submitit: on Slurm, as processes of this machine, or one by one in this one.

    FOLDER/jobs/NAME/job.json     what was asked for
    FOLDER/jobs/NAME/result.json  what it returned, once it is done
    FOLDER/logs/                  submitit's own files: output, errors

The same call again skips jobs that are done and submits the others again, which continue from
their checkpoints; cancel first what still waits in Slurm's queue, for a job that finds its folder
in use by another fails. Slurm keeps the queue; on this machine `at_once` jobs run at a time.
"""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table

from farwide.endings import Interrupted
from farwide.runlog import lock_directory, write_json
from farwide.runlog.files import claim, read_json

Cluster = Literal["slurm", "local", "debug"]
CLUSTERS: tuple[Cluster, ...] = ("slurm", "local", "debug")


class MissingSubmitit(ImportError):
    """submitit is not installed."""


class JobsFailed(RuntimeError):
    """Some jobs of a sweep failed; the others were run to their ends."""


class Job(NamedTuple):
    """A call of a function at the top of a module; it must return plain values, or None.

    A function that is asked to stop by SIGTERM raises `Interrupted` once its work is saved, as
    `train` does; the job is then queued again.
    """

    name: str  # of its folder
    function: Callable[..., Any]
    arguments: Mapping[str, Any]  # by keyword, plain values

    def to_json(self) -> dict[str, Any]:
        """The content of job.json."""
        return {
            "schema": 1,
            "function": f"{self.function.__module__}:{self.function.__qualname__}",
            "arguments": dict(self.arguments),
        }


def run_jobs(
    jobs: Sequence[Job],
    folder: str | Path,
    *,
    cluster: Cluster = "local",
    at_once: int = 1,
    parameters: Mapping[str, Any] | None = None,
    console: Console | None = None,
    poll_seconds: float = 1.0,
) -> list[Any]:
    """Run all jobs that are not done and return what each returned, in order.

    Args:
      jobs: with names that differ.
      folder: of the sweep, seen by all machines.
      cluster: "slurm"; "local", processes of this machine; "debug", in this process, where a
        failure opens the debugger.
      at_once: with "local", how many run at a time. Slurm decides for itself.
      parameters: of `submitit.AutoExecutor.update_parameters`, such as timeout_min,
        slurm_partition, gpus_per_node.
      console: of the table of states, drawn where it is a terminal; None: stderr.
      poll_seconds: between two looks at the jobs.

    Raises:
      MissingSubmitit: submitit is not installed.
      ValueError: an unknown cluster, names that are bad or the same, at_once below 1.
      LogError: a job of that name was another call, or runs already.
      JobsFailed: at the end, with the last line of each error and where the rest of it is.
    """
    if cluster not in CLUSTERS:
        raise ValueError(f"cluster is {cluster!r}; accepted: {', '.join(CLUSTERS)}")
    if at_once < 1:
        raise ValueError(f"at_once is {at_once}; accepted is at least 1")
    names = [job.name for job in jobs]
    for name in names:
        if not name or "/" in name or names.count(name) > 1:
            raise ValueError(f"a job's name is {name!r}; accepted: without a slash, and only once")
    try:
        submitit = importlib.import_module("submitit")
    except ImportError as error:
        raise MissingSubmitit(
            "run_jobs needs submitit, which is missing: pip install 'farwide[cluster]'"
        ) from error
    folder = Path(folder).absolute()
    with lock_directory(folder):
        for job in jobs:
            place = _place(folder, job)
            place.mkdir(parents=True, exist_ok=True)
            claim(place / "job.json", job.to_json(), "another job", "give the job another name")
        executor = submitit.AutoExecutor(folder=folder / "logs", cluster=cluster)
        executor.update_parameters(**(parameters or {}))
        waiting = [job for job in jobs if not _is_done(folder, job)]
        _follow(waiting, folder, executor, cluster, at_once, console, poll_seconds)
    return [read_json(_place(folder, job) / "result.json")["result"] for job in jobs]


def _follow(
    waiting: list[Job],
    folder: Path,
    executor: Any,
    cluster: Cluster,
    at_once: int,
    console: Console | None,
    poll_seconds: float,
) -> None:
    """Submit, look at the jobs until all have ended, and say which failed."""
    console = console or Console(stderr=True)
    states = {job.name: "waiting" for job in waiting}
    handles: dict[str, Any] = {}
    failures: list[str] = []
    limit = len(waiting) if cluster == "slurm" else at_once
    rest = list(waiting)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while rest or handles:
            while rest and len(handles) < limit:
                job = rest.pop(0)
                handles[job.name] = executor.submit(_Call(job, str(folder)))
                states[job.name] = "submitted"
            for name, handle in list(handles.items()):
                if not handle.done():
                    states[name] = handle.state.lower()
                    continue
                del handles[name]
                error = handle.exception()
                states[name] = "failed" if error else "done"
                if error:
                    failures.append(f"{name}: {_reason(error)} (all of it: {handle.paths.stderr})")
            if console.is_terminal:
                live.update(_table(states), refresh=True)
            if handles:
                time.sleep(poll_seconds)
    if failures:
        raise JobsFailed("\n".join([f"{len(failures)} of {len(waiting)} jobs failed", *failures]))


def _reason(error: BaseException) -> str:
    """The last line of the traceback that a failed job left, else the first line there is."""
    text = str(error)
    _, found, trace = text.partition("Traceback (most recent call last)")
    lines = [line for line in trace.splitlines() if line[:1].strip() and set(line) != {"-"}]
    raised = [line for line in lines if not line.startswith(("You can", "During", "The above"))]
    if found and len(raised) > 1:
        return raised[1]
    return (text.strip().splitlines() or [type(error).__name__])[0]


def _table(states: Mapping[str, str]) -> Table:
    table = Table("job", "state")
    for name, state in states.items():
        table.add_row(name, state)
    return table


def _place(folder: Path, job: Job) -> Path:
    return folder / "jobs" / job.name


def _is_done(folder: Path, job: Job) -> bool:
    return (_place(folder, job) / "result.json").is_file()


class _Call:
    """What submitit runs; it asks for `checkpoint` when the job is to be queued again."""

    def __init__(self, job: Job, folder: str) -> None:
        self.job, self.folder = job, folder

    def __call__(self) -> None:
        place = _place(Path(self.folder), self.job)
        if _is_done(Path(self.folder), self.job):
            return
        warning = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
        requeue = signal.getsignal(warning)
        ours = "SUBMITIT_EXECUTOR" in os.environ and callable(requeue)
        if ours:  # the time is nearly up: the loop saves as it does after SIGTERM
            signal.signal(warning, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
        try:
            with lock_directory(place):
                result = self.job.function(**self.job.arguments)
                write_json(place / "result.json", {"schema": 1, "result": result})
        except Interrupted:
            if not ours or not callable(requeue):
                raise
            requeue(warning, None)

    def checkpoint(self) -> Any:
        """The same call; what it saved says where to continue."""
        submitit = importlib.import_module("submitit")
        return submitit.helpers.DelayedSubmission(self)
