"""Learning rates step by step, as data: one compiled step serves every schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np
import optax

Decay = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up to `peak`, then a decay to `final_fraction * peak` at the last step.

    Attributes:
      peak: the largest learning rate.
      warmup_fraction: part of the steps that warm up, 0 <= value < 1 (one step at least, where
        there is more than one).
      final_fraction: learning rate at the end over the peak, 0 <= value < 1; of no effect where
        decay is "constant".
      decay: "cosine", "linear" or "constant".
    """

    peak: float = 1e-3
    warmup_fraction: float = 0.05
    final_fraction: float = 0.02
    decay: Decay = "cosine"

    def __post_init__(self) -> None:
        if not self.peak > 0:
            raise ValueError(f"peak is {self.peak}; accepted is more than 0")
        for name in ("warmup_fraction", "final_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 0 <= value < 1")
        if self.decay not in ("cosine", "linear", "constant"):
            raise ValueError(f"decay is {self.decay!r}; accepted: cosine, linear, constant")

    def rates(self, steps: int) -> np.ndarray:
        """Learning rate of each step, (steps,) float32.

        Raises:
          ValueError: `steps` is smaller than 1.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}; accepted is at least 1")
        warmup = min(max(1, round(self.warmup_fraction * steps)), steps - 1)
        if warmup < 1:
            return np.full(1, self.peak, np.float32)
        start, end = self.peak / warmup, self.final_fraction * self.peak
        if self.decay == "cosine":
            rate = optax.schedules.warmup_cosine_decay_schedule(
                start, self.peak, warmup, decay_steps=steps, end_value=end
            )
        else:
            end = end if self.decay == "linear" else self.peak
            rate = optax.schedules.join_schedules(
                [
                    optax.schedules.linear_schedule(start, self.peak, warmup),
                    optax.schedules.linear_schedule(self.peak, end, steps - warmup),
                ],
                [warmup],
            )
        return np.asarray(jax.vmap(rate)(np.arange(steps)), np.float32)
