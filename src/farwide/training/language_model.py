"""Runs of the long-convolution language model on bytes: their description, data and trainer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from farwide.data import Batch, Corpus, Task, Windows, validation_windows
from farwide.models import LongConvLMConfig, long_conv_lm, training_flops_per_token
from farwide.training.optimizer import OptimizerConfig, learning_rates, make_optimizer
from farwide.training.run import Role
from farwide.training.step import StepOptions
from farwide.training.trainer import Trainer, make_trainer


@dataclass(frozen=True)
class LanguageModelRun:
    """One run, a `Description` for `train`. `tokens` is the budget; a token is a byte."""

    model: LongConvLMConfig
    optimizer: OptimizerConfig
    tokens: int
    batch_size: int
    seed: int = 0
    role: Role = "fit"
    data_sha256: str = ""
    validation_windows: int = 256
    log_lines: int = 32  # about so many lines a run
    evaluations: int = 8  # about so many of them with a validation loss

    def __post_init__(self) -> None:
        if self.tokens < self.tokens_per_step:
            raise ValueError(
                f"tokens is {self.tokens}; accepted is at least one step, {self.tokens_per_step}"
            )
        for name in ("batch_size", "validation_windows", "log_lines", "evaluations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is at least 1")

    @property
    def name(self) -> str:
        """For example `w032d2-t0262k-s0`: width, depth, thousands of tokens, seed."""
        return (
            f"w{self.model.width:03d}d{self.model.depth}-t{round(self.tokens / 1000):05d}k"
            f"-s{self.seed}"
        )

    @property
    def tokens_per_step(self) -> int:
        """Bytes of an update."""
        return self.batch_size * self.model.sequence_length

    @property
    def flops_per_step(self) -> float:
        """FLOPs of an update, by the model's own count."""
        return self.tokens_per_step * training_flops_per_token(self.model)

    @property
    def steps(self) -> int:
        """Whole steps that fit the budget."""
        return self.tokens // self.tokens_per_step

    @property
    def entropy(self) -> tuple[int, ...]:
        """Seeds the initial parameters and the data order; no two runs of a family share it."""
        return (self.seed, self.model.width, self.model.depth, self.tokens)

    @property
    def rates(self) -> np.ndarray:
        """The learning rate of each update, (steps,)."""
        return learning_rates(self.optimizer, self.steps, self.tokens)

    def to_json(self) -> dict[str, Any]:
        """The content of config.json."""
        return {"schema": 1, "run": self.name, "sequence_length": self.model.sequence_length} | (
            asdict(self)
        )


def language_model_trainer(config: LanguageModelRun) -> Trainer:
    """Compile-once functions for `config.model` and `config.optimizer`, on one device."""
    optimizer = make_optimizer(config.optimizer, config.model.width)
    return make_trainer(long_conv_lm(config.model), optimizer, StepOptions(evaluation_size=16))


def byte_windows(config: LanguageModelRun, corpus: Corpus) -> Task:
    """The run's windows of the corpus as a task; every byte is predicted once at most.

    Raises:
        ValueError: the corpus is not the one of the configuration, or is too small for the budget.
    """
    if corpus.manifest["sha256"] != config.data_sha256:
        raise ValueError(
            f"corpus has sha256 {corpus.manifest['sha256'][:12]}; run {config.name} was configured "
            f"for {config.data_sha256[:12]}"
        )
    length = config.model.sequence_length
    windows = Windows(corpus.train, length, seed=config.entropy)
    windows.require(config.steps * config.batch_size)
    held_back = validation_windows(corpus.validation, length, config.validation_windows)
    return Task(
        name="bytes",
        input_shape=(length,),
        vocabulary=256,
        outputs=256,
        train=lambda position, size: _next_bytes(windows.batch(position, size)),
        test=_next_bytes(held_back),
        facts={"sha256": config.data_sha256, "seed": list(config.entropy)},
    )


def _next_bytes(windows: np.ndarray) -> Batch:
    inputs, targets = windows[:, :-1], windows[:, 1:]
    return Batch(inputs, targets, np.ones(targets.shape, np.float32))
