"""Training: one pure step for every model and task, and a loop that survives a kill."""

from farwide.training.adamw import AdamW
from farwide.training.cell import Recipe, train_cell
from farwide.training.checkpoint import Checkpoints, Restored
from farwide.training.cluster import Job, JobsFailed, run_jobs
from farwide.training.interruption import stop_on_signals
from farwide.training.language_model import (
    LanguageModelRun,
    byte_windows,
    language_model_trainer,
)
from farwide.training.loop import is_finished, train
from farwide.training.objective import Objective, Sums, cross_entropy
from farwide.training.optimizer import (
    OptimizerConfig,
    learning_rates,
    make_optimizer,
    peak_learning_rate,
)
from farwide.training.precision import FLOAT32, MIXED_BFLOAT16, Precision, with_precision
from farwide.training.remat import with_remat
from farwide.training.run import (
    Description,
    Role,
    RunConfig,
    describe,
    log_steps,
    tokens_per_example,
)
from farwide.training.schedule import Schedule
from farwide.training.sinks import tensorboard_sink, wandb_sink
from farwide.training.state import Totals, TrainState
from farwide.training.step import StepOptions
from farwide.training.trainer import Evaluation, Trainer, make_trainer

__all__ = [
    "FLOAT32",
    "MIXED_BFLOAT16",
    "AdamW",
    "Checkpoints",
    "Description",
    "Evaluation",
    "Job",
    "JobsFailed",
    "LanguageModelRun",
    "Objective",
    "OptimizerConfig",
    "Precision",
    "Recipe",
    "Restored",
    "Role",
    "RunConfig",
    "Schedule",
    "StepOptions",
    "Sums",
    "Totals",
    "TrainState",
    "Trainer",
    "byte_windows",
    "cross_entropy",
    "describe",
    "is_finished",
    "language_model_trainer",
    "learning_rates",
    "log_steps",
    "make_optimizer",
    "make_trainer",
    "peak_learning_rate",
    "run_jobs",
    "stop_on_signals",
    "tensorboard_sink",
    "tokens_per_example",
    "train",
    "train_cell",
    "wandb_sink",
    "with_precision",
    "with_remat",
]
