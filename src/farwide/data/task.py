"""A task: what a model trains on and is tested on, whatever the model is.

Training examples are a pure function of a position, so that a checkpoint needs no more than that
number to continue, and two processes can read disjoint parts of one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Examples, their targets, and which targets count.

    Attributes:
      inputs: (batch, length) int32 tokens, (batch, length, features) float32, or
        (batch, *space, channels) float32.
      targets: (batch,) or (batch, length) int32 classes.
      weights: float32 in the shape of targets: 0 where a target does not count, 1 where it does.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


class Task(NamedTuple):
    """A data set as a model meets it.

    Attributes:
      name: for logs and tables.
      input_shape: of one example, without the batch.
      vocabulary: of the tokens, or None where inputs are real numbers.
      outputs: classes that a target can be.
      train: `train(position, size)` -> Batch of examples number position to position + size of an
        endless order that the seed fixes. The same arguments give the same bits.
      test: the held-out examples.
      facts: what made it, as plain values: parameters of a generator, a hash of files, the seed.
    """

    name: str
    input_shape: tuple[int, ...]
    vocabulary: int | None
    outputs: int
    train: Callable[[int, int], Batch]
    test: Batch
    facts: dict[str, Any]

    @property
    def per_position(self) -> bool:
        """Whether every position has a target of its own (else there is one an example)."""
        return self.test.targets.ndim > 1

    def tested_on(self, examples: int | None) -> Task:
        """The task with the first so many of its test examples; None for all.

        Raises:
          ValueError: examples is below 1 or above what there is.
        """
        if examples is None:
            return self
        there = len(self.test.targets)
        if not 1 <= examples <= there:
            raise ValueError(f"examples is {examples}; accepted is 1 to {there}")
        test = Batch(*(part[:examples] for part in self.test))
        return self._replace(test=test, facts=self.facts | {"test_examples": examples})
