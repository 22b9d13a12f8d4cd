"""One model on one task with AdamW and a cosine schedule: a cell of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from farwide.data import Task
from farwide.models import Model, dense_kernels
from farwide.training.adamw import AdamW
from farwide.training.loop import train
from farwide.training.run import RunConfig, describe, tokens_per_example
from farwide.training.schedule import Schedule
from farwide.training.step import StepOptions
from farwide.training.trainer import Trainer, make_trainer


@dataclass(frozen=True)
class Recipe:
    """How a cell is trained.

    Attributes:
      steps, batch_size: updates and examples of each.
      learning_rate: the largest, after a warm-up of a tenth of the steps.
      weight_decay: of the kernels of dense layers and convolutions.
      clip_norm: of the gradient.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    clip_norm: float = 1.0

    @property
    def adam(self) -> AdamW:
        """The optimiser, without its rate."""
        return AdamW(weight_decay=self.weight_decay)

    @property
    def options(self) -> StepOptions:
        """Of the step."""
        return StepOptions(clip_norm=self.clip_norm)

    def trainer(self, model: Model) -> Trainer:
        """The compiled functions of a model; they serve every seed and order of the data."""
        return make_trainer(model, self.adam.transformation(dense_kernels), self.options)


def train_cell(
    name: str,
    trainer: Trainer,
    facts: Mapping[str, Any],
    task: Task,
    recipe: Recipe,
    directory: str | Path,
    *,
    seed: int = 0,
    environment: dict[str, Any] | None = None,
    on_progress: Callable[[int], None] = lambda steps: None,
) -> dict[str, Any]:
    """Train, or continue, in `directory`; the summary, as `train` returns it.

    Args:
      name: of the run.
      trainer: `recipe.trainer(model)`.
      facts: the model's description in plain values, written to config.json.
      task: the data.
      recipe: how.
      directory: the run's folder.
      seed: of the initial parameters.
      environment: `environment_record()`; made where None.
      on_progress: called with the updates done.

    Raises:
      As `train`.
    """
    schedule = Schedule(peak=recipe.learning_rate, warmup_fraction=0.1)
    config = RunConfig(
        name=name,
        model=facts,
        task=describe(task),
        optimizer=asdict(recipe.adam) | asdict(schedule),
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        seed=seed,
        tokens_per_example=tokens_per_example(task),
        step=recipe.options.arithmetic(),
    )
    return train(
        config,
        task,
        trainer,
        directory,
        rates=schedule.rates(recipe.steps),
        environment=environment,
        on_progress=on_progress,
    )
