"""The complete description of one training run: equal descriptions give equal runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from farwide.models import LongConvLMConfig
from farwide.training.optimizer import OptimizerConfig

Role = Literal["fit", "seed", "held_out"]


@dataclass(frozen=True)
class RunConfig:
    """One run. `tokens` is the budget; a token is a byte."""

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
        return self.batch_size * self.model.sequence_length

    @property
    def steps(self) -> int:
        """Whole steps that fit the budget."""
        return self.tokens // self.tokens_per_step

    @property
    def entropy(self) -> tuple[int, ...]:
        """Seeds the initial parameters and the data order; no two runs of a family share it."""
        return (self.seed, self.model.width, self.model.depth, self.tokens)

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, "run": self.name, "sequence_length": self.model.sequence_length} | (
            asdict(self)
        )


def log_steps(config: RunConfig) -> list[tuple[int, bool]]:
    """The steps after which a line is written, and whether it holds a validation loss.

    Evenly spaced, with the same step count between lines (which a mean training loss needs), and
    the last step always, evaluated.
    """
    every = max(1, config.steps // config.log_lines)
    evaluate_every = max(1, config.log_lines // config.evaluations)
    lines = list(range(every, config.steps + 1, every))
    if not lines or lines[-1] != config.steps:
        lines.append(config.steps)
    return [
        (step, i % evaluate_every == 0 or step == config.steps)
        for i, step in enumerate(lines, start=1)
    ]
