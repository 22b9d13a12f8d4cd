"""Train one run to its end, from wherever it stands.

Crash safety. The log is written line by line; at a checkpoint the log is forced to disk first,
then the checkpoint is committed by a rename. On the way back the newest checkpoint says where to
continue and the log is cut there; what lay beyond is computed again, to the same bits. So at any
moment of death no line is lost and none is doubled. `summary.json` is written last: a run that
has one is finished.

With several processes the first one writes the log and they save together; each decision that
depends on a clock or a signal is taken by all, at the steps of log lines.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from farwide.data.task import Batch, Task
from farwide.endings import Interrupted
from farwide.models import ParameterCount, count_parameters
from farwide.parallelism.agreement import any_process, on_first
from farwide.runlog import (
    Record,
    RunLog,
    append_environment,
    environment_record,
    lock_directory,
    read_run,
    write_json,
)
from farwide.runlog.files import claim, read_json
from farwide.training.checkpoint import Checkpoints
from farwide.training.interruption import stop_on_signals
from farwide.training.measures import evaluation_metrics, step_metrics
from farwide.training.run import Description, log_steps
from farwide.training.state import TrainState
from farwide.training.trainer import Trainer, all_finite

Sink = Callable[[Record], None]
"""Gets every record once it is in the log."""


def is_finished(directory: str | Path) -> bool:
    """Whether a run's folder holds its summary."""
    return (Path(directory) / "summary.json").is_file()


def train(
    config: Description,
    task: Task,
    trainer: Trainer,
    directory: str | Path,
    *,
    rates: np.ndarray,
    environment: dict[str, Any] | None = None,
    checkpoint_seconds: float = 10.0,
    on_progress: Callable[[int], None] = lambda steps: None,
    sinks: Sequence[Sink] = (),
) -> dict[str, Any]:
    """Run `config` in `directory` and return its summary; a finished run is returned as it is.

    Args:
        config: the run.
        task: the data; update s (from 0) takes the examples s B to (s + 1) B of `task.train`, B the
          batch size.
        trainer: from `make_trainer`, for the model, optimiser and options that config describes.
        directory: the run's folder, made if missing.
        rates: the learning rate of each update, (config.steps,).
        environment: this process's `runlog.environment_record()`, appended to the run's own; None:
          made here.
        checkpoint_seconds: least time between two checkpoints; does not change any result.
        on_progress: called with the updates done so far, at the start and after each log line.
        sinks: further places for the records.

    Returns:
        The summary, as in summary.json. Its status is "finished", or "diverged" where a loss or a
        gradient stopped being finite: `bad_step` says at which update, `last_good_step` which
        checkpoint is kept, and the log ends with the last line before it.

    Raises:
        LogError: the folder holds a run of another configuration, or another process writes to it.
        Interrupted: SIGTERM or Ctrl-C asked to stop; a checkpoint is saved, the exit status is 0.
        OSError: the disk is full or the folder cannot be written, with the name.
        ValueError: `rates` has another length or a bad entry, or the processes cannot share the
            batch.
    """
    folder = Path(directory)
    if len(rates) != config.steps:
        raise ValueError(f"rates has {len(rates)} entries; accepted: one an update, {config.steps}")
    for index in np.flatnonzero(~(np.isfinite(rates) & (np.asarray(rates) >= 0)))[:1]:
        raise ValueError(f"rates[{index}] is {rates[index]}; accepted: finite, 0 or more")
    if config.batch_size % jax.process_count():
        raise ValueError(
            f"batch_size is {config.batch_size}; accepted with {jax.process_count()} processes: a "
            "multiple of that"
        )
    job = _Job(config, task, trainer, folder, rates, checkpoint_seconds, on_progress, sinks)
    with ExitStack() as stack:
        on_first(lambda: _open(job, stack, environment))
        if not is_finished(folder):
            stop = stack.enter_context(stop_on_signals())
            ending = _run(job, stop)
            on_first(lambda: _summarise(job, ending))
    return read_json(folder / "summary.json")


class _Job(NamedTuple):
    """The arguments of `train`."""

    config: Description
    task: Task
    trainer: Trainer
    folder: Path
    rates: np.ndarray
    checkpoint_seconds: float
    on_progress: Callable[[int], None]
    sinks: Sequence[Sink]

    def batch(self, index: int) -> Batch:
        """This process's rows of update `index`, from 0."""
        share = self.config.batch_size // jax.process_count()
        return self.task.train(index * self.config.batch_size + jax.process_index() * share, share)

    def log(self, done: int) -> AbstractContextManager[RunLog | None]:
        """The log from update `done` on; None but in the first process."""
        if jax.process_index():
            return nullcontext()
        return RunLog(self.folder, resume_at=done)


class _Ending(NamedTuple):
    """How a run ended."""

    count: ParameterCount
    bad_step: int = 0  # 0 where all went well
    last_good_step: int | None = None  # of the newest checkpoint


def _open(job: _Job, stack: ExitStack, environment: dict[str, Any] | None) -> None:
    """Lock the folder and write what was asked for; only compare where the run is finished."""
    finished = is_finished(job.folder)
    if not finished:
        stack.enter_context(lock_directory(job.folder))
    claim(
        job.folder / "config.json",
        job.config.to_json(),
        "another configuration of the run",
        "give the sweep another name or remove the folder",
    )
    if not finished:
        record = environment_record() if environment is None else environment
        append_environment(job.folder / "environment.jsonl", record)


def _run(job: _Job, stop: Callable[[], bool]) -> _Ending:
    """From the newest checkpoint to the last update."""
    config, trainer = job.config, job.trainer
    together = jax.process_count() > 1
    state = trainer.init(config.entropy)
    count = count_parameters(state.params)
    lines = dict(log_steps(config))
    with Checkpoints(job.folder / "checkpoints") as checkpoints:
        already = 0.0
        if (restored := checkpoints.restore(state)) is not None:
            state, already = restored.state, restored.facts["wall_seconds"]
        done = int(state.step)
        line = max((step for step in lines if step <= done), default=0)  # the one before
        began = last_save = time.monotonic()
        job.on_progress(done)

        def seconds() -> float:
            return already + time.monotonic() - began

        def diverged(step: int) -> _Ending:
            newest = checkpoints.newest()
            kept = "no checkpoint was saved" if newest is None else f"step {newest} is kept"
            warnings.warn(
                f"{config.name}: not finite in update {step}; {kept}", RuntimeWarning, stacklevel=4
            )
            return _Ending(count, step, newest)

        with job.log(done) as log:
            for step in range(done, config.steps + 1):
                if step > done:
                    state = trainer.step(state, job.batch(step - 1), job.rates[step - 1])
                at_line = step > line and step in lines
                if at_line:
                    if bad := _bad_step(state):
                        return diverged(bad)
                    record = _record(job, state, step, line, lines[step], count, seconds())
                    state = state._replace(totals=trainer.zero_totals())
                    line = step
                    if log is not None:
                        log.write(record)
                        for sink in job.sinks:
                            sink(record)
                    job.on_progress(step)
                if together and not at_line:
                    continue
                stopping = any_process(stop()) and step < config.steps
                late = any_process(time.monotonic() - last_save > job.checkpoint_seconds)
                if (late or stopping or step == config.steps) and checkpoints.newest() != step:
                    bad = _bad_step(state)
                    if bad or not all_finite(state):
                        return diverged(bad or step)
                    if log is not None:
                        log.sync()
                    checkpoints.save(step, state, {"wall_seconds": seconds()})
                    last_save = time.monotonic()
                if stopping:
                    raise Interrupted(
                        f"{job.folder}: asked to stop; update {step} of {config.steps} is saved, "
                        "the same command continues"
                    )
    return _Ending(count)


def _bad_step(state: TrainState) -> int:
    """The first update that was not finite since the last line, or 0."""
    return int(state.totals.bad_step)


def _record(
    job: _Job,
    state: TrainState,
    step: int,
    line: int,
    evaluated: bool,
    count: ParameterCount,
    seconds: float,
) -> Record:
    """The log line of update `step`, over the updates since `line`."""
    config, trainer = job.config, job.trainer
    totals = jax.device_get(state.totals)
    metrics = step_metrics(totals, step - line, config.batch_size, trainer.pieces)
    loss = None
    if evaluated:
        found = trainer.evaluate(state.params, job.task.test)
        average = None if state.ema is None else trainer.evaluate(state.ema, job.task.test)
        loss = found.loss
        metrics |= evaluation_metrics(found, average)
    tokens = step * config.tokens_per_step
    return Record(
        run=config.name,
        step=step,
        tokens=tokens,
        params_total=count.total,
        params_non_embedding=count.non_embedding,
        flops=_flops(config, count, step),
        train_loss=float(totals.sums.loss / totals.sums.weight),
        validation_loss=loss,
        wall_seconds=seconds,
        learning_rate=float(job.rates[step - 1]),
        metrics=metrics,
    )


def _flops(config: Description, count: ParameterCount, step: int) -> float:
    each = config.flops_per_step
    if each is None:
        each = 6.0 * count.non_embedding * config.tokens_per_step
    return step * each


def _summarise(job: _Job, ending: _Ending) -> None:
    """Write summary.json from the last line of the log."""
    config, count = job.config, ending.count
    records = read_run(job.folder).records
    last = records[-1] if records else None
    step = last.step if last else 0
    summary = {
        "schema": 1,
        "run": config.name,
        "status": "diverged" if ending.bad_step else "finished",
        "step": step,
        "tokens": step * config.tokens_per_step,
        "params_total": count.total,
        "params_non_embedding": count.non_embedding,
        "flops": _flops(config, count, step),
        "train_loss": last.train_loss if last else None,
        "validation_loss": last.validation_loss if last else None,
        "wall_seconds": last.wall_seconds if last else 0.0,
        "metrics": (last.metrics if last else None) or {},
    }
    if ending.bad_step:
        summary |= {"bad_step": ending.bad_step, "last_good_step": ending.last_good_step}
    write_json(job.folder / "summary.json", summary)
