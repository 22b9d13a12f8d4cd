"""When a run should change its shape, from the laws of the shapes when they are fixed.

At each loss the shape whose law falls most steeply with compute is followed, and a law is entered
where it has the loss that the law before it was left at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVELS = 4000  # of the loss, between the first and the lowest asymptote


class ComputeLaw(NamedTuple):
    """L(C) = E + A C^-b: the loss (nats) of a fixed shape after compute C (FLOPs)."""

    E: float
    A: float
    b: float

    def loss(self, compute: np.ndarray) -> np.ndarray:
        """L(C)."""
        return self.E + self.A * np.asarray(compute, float) ** -self.b

    def compute(self, loss: float) -> float:
        """C at which the law has the loss; infinite at or below E."""
        return float(((loss - self.E) / self.A) ** (-1 / self.b)) if loss > self.E else np.inf

    def steepness(self, loss: float) -> float:
        """-dL/dC where the law has the loss: b (L - E) / C; 0 at or below E."""
        return self.b * (loss - self.E) / self.compute(loss) if loss > self.E else 0.0


class Stage(NamedTuple):
    """A part of a run.

    Attributes:
      shape: index of the shape.
      loss: at which it begins by the laws; infinite for the first.
      compute: to spend in it, FLOPs.
    """

    shape: int
    loss: float
    compute: float


def shape_plan(laws: Sequence[ComputeLaw], start: float, budget: float) -> list[Stage]:
    """The stages of a run of `budget` FLOPs.

        next = argmax over j of -dL_j/dC at equal loss,   spent on i from L to L' = C_i(L') - C_i(L)

    A run moves forward in the order of the shapes alone, since a model that grew does not shrink
    without a loss.

    Args:
      laws: of the shapes, coarse to fine or narrow to wide, C in FLOPs.
      start: loss at which the first shape is chosen; above it the laws do not hold.
      budget: of the whole run, FLOPs; what the laws leave is spent in the last stage.

    Returns:
      Stages with compute above 0 that sums to budget; one where no switch pays.

    Raises:
      ValueError: laws is empty, a law does not fall, or start or budget is out of range.

    Reference: Anagnostidis et al. 2023, "Navigating Scaling Laws: Compute Optimality in Adaptive
    Model Training", section 3.
    """
    if not laws:
        raise ValueError("laws is empty; accepted is at least one law")
    for i, law in enumerate(laws):
        if not (law.A > 0 and law.b > 0 and law.E >= 0):
            raise ValueError(f"laws[{i}] is {law}; accepted: A and b above 0, E at or above 0")
    lowest = min(law.E for law in laws)
    if not start > lowest:
        raise ValueError(f"start is {start}; accepted: above the lowest asymptote, {lowest}")
    if not budget > 0:
        raise ValueError(f"budget is {budget}; accepted: above 0")
    shape = int(np.argmax([law.steepness(start) for law in laws]))
    entered, spent, before = 0.0, 0.0, np.inf  # compute on the law at entry; FLOPs so far; loss
    stages: list[Stage] = []
    for level in lowest + (start - lowest) * np.linspace(1, 0, LEVELS, endpoint=False):
        ahead = [law.steepness(level) for law in laws[shape:]]
        if (best := int(np.argmax(ahead))) == 0:
            continue
        cost = laws[shape].compute(level) - entered
        if not spent + cost < budget:
            break
        if cost > 0:
            stages.append(Stage(shape, before, cost))
            spent, before = spent + cost, float(level)
        shape += best
        entered = laws[shape].compute(level)
    return [*stages, Stage(shape, before, budget - spent)]
