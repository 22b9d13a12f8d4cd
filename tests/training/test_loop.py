"""A run: logged completely, resumed exactly, never mixed up with another."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from farwide.data import Corpus
from farwide.models import LongConvLMConfig, training_flops_per_token
from farwide.runlog import LogError, environment_record, read_run
from farwide.training import (
    Checkpoints,
    LanguageModelRun,
    OptimizerConfig,
    byte_windows,
    language_model_trainer,
    log_steps,
    train,
)

MODEL = LongConvLMConfig(8, 1, sequence_length=32)
CONFIG = LanguageModelRun(
    model=MODEL,
    optimizer=OptimizerConfig(),
    tokens=64 * 20,
    batch_size=2,
    data_sha256="abc",
    validation_windows=8,
    log_lines=10,
    evaluations=5,
)


@pytest.fixture(scope="module")
def corpus():
    text = np.frombuffer(b"the quick brown fox jumps over the lazy dog. " * 120, np.uint8)
    return Corpus(text[:4000], text[4000:], {"sha256": "abc"})


def run(config, corpus, trainer, folder, **options):
    data = byte_windows(config, corpus)
    return train(config, data, trainer, folder, rates=config.rates, **options)


@pytest.fixture(scope="module")
def trainer():
    return language_model_trainer(CONFIG)


@pytest.fixture(scope="module")
def environment():
    return environment_record("pytest")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, corpus, trainer, environment):
    """An undisturbed run, checkpointed at every log line."""
    folder = tmp_path_factory.mktemp("run")
    run(CONFIG, corpus, trainer, folder, environment=environment, checkpoint_seconds=0.0)
    return folder


def real_leaves(state):
    """All leaves as NumPy arrays."""
    return [
        np.asarray(x) for x in jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    ]


def without_times(folder):
    return [record._replace(wall_seconds=0.0) for record in read_run(folder).records]


def test_log_steps_are_even_and_end_at_the_last_step():
    for steps in (1, 2, 7, 32, 100, 1001):
        config = replace(CONFIG, tokens=64 * steps, log_lines=32, evaluations=8)
        lines = log_steps(config)
        numbers = [step for step, _ in lines]
        assert numbers == sorted(set(numbers))
        assert lines[-1] == (steps, True)
        assert len(set(np.diff(numbers[:-1]))) <= 1
        assert len(numbers) <= 2 * 32 + 1


def test_the_log_says_everything(finished, trainer):
    run = read_run(finished)
    assert run.run == CONFIG.name == "w008d1-t00001k-s0"
    assert [r.step for r in run.records] == [step for step, _ in log_steps(CONFIG)]
    evaluated = {r.step for r in run.records if r.validation_loss is not None}
    assert evaluated == {step for step, flag in log_steps(CONFIG) if flag}
    for record in run.records:
        assert record.tokens == 64 * record.step
        assert record.flops == pytest.approx(record.tokens * training_flops_per_token(MODEL))
        assert record.params_total - record.params_non_embedding == 256 * 8
    assert run.records[-1].train_loss < run.records[0].train_loss - 0.5
    assert run.summary is not None
    assert run.summary["validation_loss"] == run.records[-1].validation_loss
    assert run.summary["status"] == "finished"
    assert len(run.environments) == 1


def test_a_finished_run_is_left_alone(finished, corpus, trainer, environment):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    run(CONFIG, corpus, trainer, finished, environment=environment)
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("died_at", [0, 1, 4, 9])
def test_resuming_from_any_checkpoint_gives_the_same_bits(
    tmp_path, finished, corpus, trainer, environment, died_at
):
    """Die at a progress callback (a line written, its checkpoint perhaps not), then start again."""

    class Killed(BaseException):
        pass

    calls = 0

    def die(tokens):
        nonlocal calls
        calls += 1
        if calls == died_at + 2:  # the first call reports where the run starts
            raise Killed

    with pytest.raises(Killed):
        run(CONFIG, corpus, trainer, tmp_path, environment=environment,
              checkpoint_seconds=0.0, on_progress=die)  # fmt: skip
    with open(tmp_path / "metrics.jsonl", "a") as log:
        log.write('{"schema": 1, "run": "torn')
    run(CONFIG, corpus, trainer, tmp_path, environment=environment, checkpoint_seconds=0.0)
    assert without_times(tmp_path) == without_times(finished)
    like = trainer.shapes()
    states = []
    for folder in (tmp_path, finished):
        with Checkpoints(folder / "checkpoints") as checkpoints:
            restored = checkpoints.restore(like)
        assert restored is not None
        states.append(restored.state)
    for a, b in zip(*map(real_leaves, states), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_configuration_in_the_same_folder_is_refused(
    tmp_path, finished, corpus, trainer, environment
):
    shutil.copytree(finished, tmp_path / "run")
    other = replace(CONFIG, optimizer=OptimizerConfig(learning_rate=0.001))
    with pytest.raises(LogError, match=r"different: optimizer"):
        run(other, corpus, trainer, tmp_path / "run", environment=environment)


def test_another_corpus_is_refused(tmp_path, corpus, trainer, environment):
    other = corpus._replace(manifest={"sha256": "def"})
    with pytest.raises(ValueError, match="corpus has sha256 def"):
        run(CONFIG, other, trainer, tmp_path, environment=environment)


def test_a_budget_beyond_the_corpus_is_refused_before_training(
    tmp_path, corpus, trainer, environment
):
    big = replace(CONFIG, tokens=64 * 1000)
    with pytest.raises(ValueError, match="the token budget asks for 2000 windows"):
        run(big, corpus, trainer, tmp_path, environment=environment)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_diverged_run_says_so_and_keeps_its_finite_lines(tmp_path, corpus, environment):
    wild = replace(CONFIG, optimizer=OptimizerConfig(learning_rate=1e30, clip_norm=1e30))
    trainer = language_model_trainer(wild)
    with pytest.warns(RuntimeWarning, match=r"not finite in update \d+; no checkpoint was saved"):
        summary = run(wild, corpus, trainer, tmp_path, environment=environment,
                      checkpoint_seconds=1e9)  # fmt: skip
    assert summary["status"] == "diverged"
    assert 1 < summary["bad_step"] <= 20
    assert summary["last_good_step"] is None
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        assert np.isfinite(json.loads(line)["train_loss"])
    assert run(wild, corpus, trainer, tmp_path, environment=environment) == summary


def test_bad_budgets_are_named():
    with pytest.raises(ValueError, match="tokens is 63"):
        replace(CONFIG, tokens=63)
    with pytest.raises(ValueError, match="batch_size is 0"):
        replace(CONFIG, batch_size=0, tokens=64)


def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(
    tmp_path, finished, corpus, trainer, environment, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=200_000))
        with pytest.raises(OSError, match=r"0\.2 MB are free on this disk and 1\.\d MB are needed"):
            run(CONFIG, corpus, trainer, tmp_path, environment=environment)
    run(CONFIG, corpus, trainer, tmp_path, environment=environment)
    assert without_times(tmp_path) == without_times(finished)
