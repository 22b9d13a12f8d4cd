"""Training: a stated transfer rule, one pure step, a loop that survives a kill."""

from farwide.training.checkpoint import Checkpoints, Restored
from farwide.training.loop import Trainer, is_finished, make_trainer, train
from farwide.training.optimizer import (
    OptimizerConfig,
    learning_rates,
    make_optimizer,
    peak_learning_rate,
)
from farwide.training.run import Role, RunConfig, log_steps
from farwide.training.step import (
    TrainState,
    make_evaluate,
    make_init,
    make_train_step,
    next_byte_loss,
)

__all__ = [
    "Checkpoints",
    "OptimizerConfig",
    "Restored",
    "Role",
    "RunConfig",
    "TrainState",
    "Trainer",
    "is_finished",
    "learning_rates",
    "log_steps",
    "make_evaluate",
    "make_init",
    "make_optimizer",
    "make_train_step",
    "make_trainer",
    "next_byte_loss",
    "peak_learning_rate",
    "train",
]
