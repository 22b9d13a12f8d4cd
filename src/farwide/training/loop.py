"""Train one run to its end, from wherever it stands.

Crash safety. The log is written line by line; at a checkpoint the log is forced to disk first,
then the checkpoint is committed by a rename. On the way back the newest checkpoint says where to
continue and the log is cut there; what lay beyond is computed again, to the same bits. So at any
moment of death no line is lost and none is doubled. `summary.json` is written last: a run that
has one is finished.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from farwide.data import Corpus, Windows, validation_windows
from farwide.models import Model, ParameterCount, count_parameters, training_flops_per_token
from farwide.runlog import (
    Record,
    RunLog,
    append_environment,
    read_run,
    write_json,
)
from farwide.runlog.files import claim, read_json
from farwide.training.checkpoint import Checkpoints
from farwide.training.optimizer import learning_rates, make_optimizer
from farwide.training.run import RunConfig, log_steps
from farwide.training.step import TrainState, make_evaluate, make_init, make_train_step


class Trainer(NamedTuple):
    """The compiled functions of one model size; serves every budget and seed of that size."""

    init: Callable[[jax.Array], TrainState]
    step: Callable[[TrainState, Any, Any], TrainState]
    evaluate: Callable[[Any, Any], float]


def make_trainer(model: Model, config: RunConfig) -> Trainer:
    """Compile-once functions for `config.model` and `config.optimizer`."""
    optimizer = make_optimizer(config.optimizer, config.model.width)
    return Trainer(
        init=make_init(model, optimizer),
        step=make_train_step(model, optimizer),
        evaluate=make_evaluate(model),
    )


class _Clock:
    """Seconds of training, summed over restarts."""

    def __init__(self, already: float) -> None:
        self._start = time.monotonic() - already

    def seconds(self) -> float:
        return time.monotonic() - self._start


def is_finished(directory: str | Path) -> bool:
    return (Path(directory) / "summary.json").is_file()


def train(
    config: RunConfig,
    corpus: Corpus,
    trainer: Trainer,
    directory: str | Path,
    *,
    environment: dict[str, Any],
    checkpoint_seconds: float = 10.0,
    on_progress: Callable[[int], None] = lambda tokens: None,
) -> dict[str, Any]:
    """Run `config` in `directory` and return its summary; a finished run is returned as it is.

    Args:
        config: the run.
        corpus: the data, whose hash must be `config.data_sha256`.
        trainer: from `make_trainer` for the same model and optimiser.
        directory: the run's folder, made if missing.
        environment: this process's `runlog.environment_record()`, appended to the run's own.
        checkpoint_seconds: least time between two checkpoints; does not change any result.
        on_progress: called with the tokens done so far, after each log line.

    Returns:
        The summary, as in summary.json. Its status is "finished", or "diverged" where the loss
        stopped being finite; the log then ends with the last finite line.

    Raises:
        LogError: the folder holds a run of another configuration.
        ValueError: the corpus is not the one of the configuration, or is too small.
    """
    folder = Path(directory)
    claim(
        folder / "config.json",
        config.to_json(),
        "another configuration of the run",
        "give the sweep another name or remove the folder",
    )
    if is_finished(folder):
        return read_json(folder / "summary.json")
    if corpus.manifest["sha256"] != config.data_sha256:
        raise ValueError(
            f"corpus has sha256 {corpus.manifest['sha256'][:12]}; run {config.name} was configured "
            f"for {config.data_sha256[:12]}"
        )
    append_environment(folder / "environment.jsonl", environment)
    windows = Windows(corpus.train, config.model.sequence_length, seed=config.entropy)
    windows.require(config.steps * config.batch_size)
    held_back = validation_windows(
        corpus.validation, config.model.sequence_length, config.validation_windows
    )
    rates = learning_rates(config.optimizer, config.steps, config.tokens)
    state = trainer.init(_key(config))
    count = count_parameters(state.params)
    flops_per_step = config.tokens_per_step * training_flops_per_token(config.model)

    with Checkpoints(folder / "checkpoints") as checkpoints:
        position, already = 0, 0.0
        if (restored := checkpoints.restore(state)) is not None:
            state = restored.state
            position = restored.facts["windows"]
            already = restored.facts["wall_seconds"]
        done = int(state.step)
        on_progress(done * config.tokens_per_step)
        clock = _Clock(already)
        last_save = time.monotonic()
        status = "finished"
        with RunLog(folder, resume_at=done) as log:
            previous = done
            for line_step, evaluated in log_steps(config):
                if line_step <= done:
                    continue
                for index in range(previous, line_step):
                    batch = windows.batch(position, config.batch_size)
                    state = trainer.step(state, batch, rates[index])
                    position += config.batch_size
                train_loss = float(state.loss_sum) / (line_step - previous)
                if not math.isfinite(train_loss):
                    status = "diverged"
                    break
                validation = trainer.evaluate(state.params, held_back) if evaluated else None
                state = state._replace(loss_sum=jax.numpy.zeros_like(state.loss_sum))
                record = Record(
                    run=config.name,
                    step=line_step,
                    tokens=line_step * config.tokens_per_step,
                    params_total=count.total,
                    params_non_embedding=count.non_embedding,
                    flops=line_step * flops_per_step,
                    train_loss=train_loss,
                    validation_loss=validation,
                    wall_seconds=clock.seconds(),
                    learning_rate=float(rates[line_step - 1]),
                )
                log.write(record)
                previous = line_step
                on_progress(record.tokens)
                if line_step == config.steps or (time.monotonic() - last_save > checkpoint_seconds):
                    log.sync()
                    facts = {"windows": position, "wall_seconds": record.wall_seconds}
                    checkpoints.save(line_step, state, facts)
                    last_save = time.monotonic()
    return _summarise(folder, config, count, flops_per_step, status)


def _key(config: RunConfig) -> jax.Array:
    return jax.random.key(int(np.random.SeedSequence(config.entropy).generate_state(1)[0]))


def _summarise(
    folder: Path, config: RunConfig, count: ParameterCount, flops_per_step: float, status: str
) -> dict[str, Any]:
    """Write and return summary.json from the last line of the log."""
    records = read_run(folder).records
    last = records[-1] if records else None
    step = last.step if last else 0
    summary = {
        "schema": 1,
        "run": config.name,
        "status": status,
        "step": step,
        "tokens": step * config.tokens_per_step,
        "params_total": count.total,
        "params_non_embedding": count.non_embedding,
        "flops": step * flops_per_step,
        "train_loss": last.train_loss if last else None,
        "validation_loss": last.validation_loss if last else None,
        "wall_seconds": last.wall_seconds if last else 0.0,
    }
    write_json(folder / "summary.json", summary)
    return summary
