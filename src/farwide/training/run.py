"""The complete description of one training run: equal descriptions give equal runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from farwide.data.task import Task

Role = Literal["fit", "seed", "held_out"]


class Description(Protocol):
    """What the loop asks of a run; `RunConfig` is the general one."""

    @property
    def name(self) -> str:
        """The run's name, and the `run` of every line of its log."""
        ...

    @property
    def steps(self) -> int:
        """Updates in all."""
        ...

    @property
    def batch_size(self) -> int:
        """Examples of an update, over all devices and processes."""
        ...

    @property
    def entropy(self) -> int | tuple[int, ...]:
        """Seeds the initial parameters and all that is random in a step."""
        ...

    @property
    def log_lines(self) -> int:
        """About so many lines in the log."""
        ...

    @property
    def evaluations(self) -> int:
        """About so many of them with a validation loss."""
        ...

    @property
    def tokens_per_step(self) -> int:
        """What an update adds to the tokens of the log."""
        ...

    @property
    def flops_per_step(self) -> float | None:
        """FLOPs of an update; None: 6 N a token, N without the embedding."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The content of config.json, plain values, with schema, run, role and seed."""
        ...


@dataclass(frozen=True)
class RunConfig:
    """One run of any model on any task.

    Attributes:
      name: of the run, and of its folder in a sweep.
      model: what makes the model, as plain values.
      task: what makes the data, as plain values; `describe(task)`.
      optimizer: what makes the optimiser and the learning rates, as plain values.
      steps: updates.
      batch_size: examples of an update, over all devices and processes.
      seed: of the initial parameters and of dropout. The order of the data is the task's own.
      role: "fit", "seed" or "held_out", for fits of scaling laws.
      log_lines, evaluations: about so many lines, and so many of them with a validation loss.
      tokens_per_example: what an example adds to the log's tokens: its length where inputs are
        tokens, else 1.
      flops_per_step: None: 6 N a token, N without the embedding.
      step: `StepOptions.arithmetic()`, or {} for the defaults.
    """

    name: str
    model: Mapping[str, Any]
    task: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    steps: int
    batch_size: int
    seed: int = 0
    role: Role = "fit"
    log_lines: int = 32
    evaluations: int = 8
    tokens_per_example: int = 1
    flops_per_step: float | None = None
    step: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"name is {self.name!r}; accepted: a text without a slash")
        for name in ("steps", "batch_size", "log_lines", "evaluations", "tokens_per_example"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is at least 1")

    @property
    def entropy(self) -> int:
        """The seed."""
        return self.seed

    @property
    def tokens_per_step(self) -> int:
        """batch_size * tokens_per_example."""
        return self.batch_size * self.tokens_per_example

    def to_json(self) -> dict[str, Any]:
        """The content of config.json."""
        return {"schema": 1, "run": self.name} | {
            key: value for key, value in vars(self).items() if key != "name"
        }


def describe(task: Task) -> dict[str, Any]:
    """A task as plain values, for `RunConfig.task`."""
    return {"name": task.name, **task.facts}


def tokens_per_example(task: Task) -> int:
    """Positions of an example of tokens; 1 where inputs are real numbers."""
    return 1 if task.vocabulary is None else task.input_shape[0]


def log_steps(config: Description) -> list[tuple[int, bool]]:
    """The steps after which a line is written, and whether it holds a validation loss.

    Evenly spaced, and the last step always, evaluated.
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
