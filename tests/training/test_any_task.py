"""The loop on a task of one's own: what it logs, how it stops, what it refuses."""

from __future__ import annotations

import signal
import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from farwide.endings import Interrupted, plain_endings
from farwide.runlog import LogError, lock_directory, read_run
from farwide.training import (
    AdamW,
    Checkpoints,
    RunConfig,
    Schedule,
    StepOptions,
    describe,
    make_trainer,
    tokens_per_example,
    train,
)
from tests.training.problems import mlp, toy_task

TASK = toy_task("mlp")
OPTIONS = StepOptions(accumulate=2, clip_norm=1.0, ema_decay=0.9)
CONFIG = RunConfig(
    name="toy",
    model={"kind": "mlp"},
    task=describe(TASK),
    optimizer={"kind": "adamw"},
    steps=12,
    batch_size=8,
    log_lines=4,
    evaluations=2,
    tokens_per_example=tokens_per_example(TASK),
    step=OPTIONS.arithmetic(),
)
RATES = Schedule(peak=0.02).rates(CONFIG.steps)
ENVIRONMENT = {"schema": 1}


@pytest.fixture(scope="module")
def trainer():
    return make_trainer(mlp(dropout=0.1), AdamW().transformation(), OPTIONS)


def run(folder, trainer, *, config=CONFIG, rates=RATES, **options):
    options = {"environment": ENVIRONMENT, "checkpoint_seconds": 1e9} | options
    return train(config, TASK, trainer, folder, rates=rates, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, trainer):
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("toy")
    run(folder, trainer)
    return folder


def final(folder, trainer):
    """The leaves of the newest checkpoint."""
    with Checkpoints(folder / "checkpoints") as checkpoints:
        restored = checkpoints.restore(trainer.shapes())
    assert restored is not None
    state = restored.state._replace(key=jax.random.key_data(restored.state.key))
    return restored.step, [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def lines(folder):
    return [record._replace(wall_seconds=0.0) for record in read_run(folder).records]


def same_run(folder, other, trainer):
    assert lines(folder) == lines(other)
    (step, leaves), (expected_step, expected) = final(folder, trainer), final(other, trainer)
    assert step == expected_step
    for a, b in zip(leaves, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_line_holds_losses_and_metrics(finished):
    records = read_run(finished).records
    assert [r.step for r in records] == [3, 6, 9, 12]
    assert [r.validation_loss is not None for r in records] == [False, True, False, True]
    assert [r.tokens for r in records] == [24, 48, 72, 96]
    last = records[-1]
    assert last.flops == 6.0 * last.params_non_embedding * 96
    assert last.metrics is not None
    assert {"accuracy", "train_accuracy", "ema_loss", "ema_accuracy", "gradient_norm",
            "noise_trace", "noise_squared_norm", "noise_scale"} == last.metrics.keys()  # fmt: skip
    assert last.metrics["gradient_norm"] > 0
    assert 0 <= last.metrics["train_accuracy"] <= 1
    summary = read_run(finished).summary
    assert summary is not None
    assert summary["metrics"] == last.metrics


def test_training_learns_the_task(tmp_path, trainer):
    config = replace(CONFIG, steps=250, batch_size=32)
    summary = run(tmp_path, trainer, config=config, rates=Schedule(peak=0.02).rates(250))
    assert summary["metrics"]["accuracy"] > 0.6
    assert summary["metrics"]["ema_accuracy"] > 0.6


@pytest.fixture
def in_the_foreground():
    """SIGINT as a terminal has it: it is ignored where the tests were started with `&`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_foreground")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_between_lines_and_the_rest_is_the_same(tmp_path, finished, trainer, number):
    """The signal comes in update 5, in the middle of a line's updates."""
    positions = []

    def tell(position, size):
        positions.append(position)
        if len(positions) == 5:
            signal.raise_signal(number)
        return TASK.train(position, size)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"update 5 of 12 is saved") as stop, plain_endings():
        train(CONFIG, TASK._replace(train=tell), trainer, tmp_path, rates=RATES,
              environment=ENVIRONMENT, checkpoint_seconds=1e9)  # fmt: skip
    assert stop.value.code == 0
    assert signal.getsignal(number) is before
    assert not (tmp_path / "summary.json").exists()
    assert final(tmp_path, trainer)[0] == 5
    run(tmp_path, trainer)
    same_run(tmp_path, finished, trainer)


def test_an_ignored_signal_stays_ignored(tmp_path, finished, trainer):
    def tell(position, size):
        signal.raise_signal(signal.SIGINT)
        return TASK.train(position, size)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(CONFIG, TASK._replace(train=tell), trainer, tmp_path, rates=RATES,
              environment=ENVIRONMENT)  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    same_run(tmp_path, finished, trainer)


@pytest.mark.usefixtures("in_the_foreground")
def test_a_second_interrupt_is_an_ordinary_one(tmp_path, trainer):
    def insist(position, size):
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)  # handled before it returns, unlike os.kill
        return TASK.train(position, size)

    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, TASK._replace(train=insist), trainer, tmp_path, rates=RATES,
              environment=ENVIRONMENT)  # fmt: skip


def test_a_run_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path, trainer):
    rates = RATES.copy()
    rates[7] = 1e30  # update 8 takes the parameters away, update 9 sees it
    with pytest.warns(RuntimeWarning, match=r"toy: not finite in update 9; step 8 is kept"):
        summary = run(tmp_path, trainer, rates=rates, checkpoint_seconds=0.0)
    assert summary["status"] == "diverged"
    assert summary["bad_step"] == 9
    assert summary["last_good_step"] == 8  # huge, and finite
    assert summary["step"] == 6  # of the last line
    step, leaves = final(tmp_path, trainer)
    assert step == 8
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert read_run(tmp_path).state == "diverged"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(tmp_path, trainer) == summary


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    """The last update spoils them, so that no later loss would tell."""
    spoil = optax.scale_by_schedule(lambda count: jnp.where(count == 11, jnp.inf, 1.0))
    spoiled = make_trainer(mlp(), optax.chain(optax.scale_by_adam(), spoil))
    with pytest.warns(RuntimeWarning, match="not finite in update 12; no checkpoint was saved"):
        summary = run(tmp_path, spoiled)
    assert summary["status"] == "diverged"
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


def test_two_writers_are_refused(tmp_path, trainer):
    with lock_directory(tmp_path), pytest.raises(LogError, match="in use by process"):
        run(tmp_path, trainer)
    assert not (tmp_path / "config.json").exists()


def test_another_task_is_refused_and_bad_arguments_are_named(tmp_path, finished, trainer):
    other = replace(CONFIG, task=describe(toy_task("mlp", seed=1)))
    with pytest.raises(LogError, match=r"different: task"):
        run(finished, trainer, config=other)
    with pytest.raises(ValueError, match="rates has 11 entries"):
        run(tmp_path, trainer, rates=RATES[1:])
    with pytest.raises(ValueError, match=r"rates\[3\] is nan; accepted: finite"):
        run(tmp_path, trainer, rates=np.where(np.arange(12) == 3, np.nan, RATES))
    with pytest.raises(ValueError, match="name is 'a/b'"):
        replace(CONFIG, name="a/b")
    with pytest.raises(ValueError, match="steps is 0"):
        replace(CONFIG, steps=0)


def test_sinks_get_every_record_once(tmp_path, trainer):
    found = []
    run(tmp_path, trainer, sinks=[found.append])
    records = read_run(tmp_path).records
    assert [r.to_json() for r in found] == [r.to_json() for r in records]
