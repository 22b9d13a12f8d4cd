"""Endless orders of training examples, each a pure function of a seed and a number.

Two kinds. Examples that lie in arrays are shuffled anew each epoch: example i of the order is entry
i % N of epoch i // N, whose permutation depends on (seed, i // N) alone. Examples that a generator
makes come in blocks: example i is row i % BLOCK of block i // BLOCK, and a block depends on
(seed, stream, number) alone, so that training and test are streams which share no random number.
Either way a batch is a window of one order: its size does not change the order, and a checkpoint
needs no more than the position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from farwide.data.task import Batch
from farwide.validate import at_least

TRAIN, TEST, FIXED = 0, 1, 2  # streams of a seed: examples, held-out examples, what never changes
KEPT = 4  # blocks (or permutations) kept, so that neighbouring batches make nothing twice

Train = Callable[[int, int], Batch]
Make = Callable[[np.random.Generator, int], Batch]


def stream(seed: int, *path: int) -> np.random.Generator:
    """The generator (Philox) that belongs to a seed and a path of numbers >= 0 below it."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=path)))


def shuffled(count: int, gather: Callable[[np.ndarray], Batch], seed: int) -> Train:
    """Examples 0 to count - 1, again and again, each epoch in an order of its own.

    Args:
      count: examples in an epoch, N.
      gather: (size,) indices -> their Batch.
      seed: of the orders.

    Returns:
      `train(position, size)` of a Task; a batch may begin in one epoch and end in a later one.

    Raises:
      ValueError: no example, a negative seed; later, a position below 0 or a size below 1.
    """
    at_least(1, count=count)
    at_least(0, seed=seed)

    @lru_cache(maxsize=KEPT)
    def order(epoch: int) -> np.ndarray:
        return stream(seed, TRAIN, epoch).permutation(count)

    def train(position: int, size: int) -> Batch:
        at_least(0, position=position)
        at_least(1, size=size)
        spans = _spans(position, size, count)
        return gather(np.concatenate([order(e)[low:high] for e, low, high in spans]))

    return train


def from_arrays(
    inputs: np.ndarray, targets: np.ndarray, seed: int, weights: np.ndarray | None = None
) -> Train:
    """`shuffled` over the first axis of arrays.

    Args:
      inputs: (N, ...) examples.
      targets: (N,) or (N, length) int32 classes.
      seed: of the orders.
      weights: in the shape of targets; None counts every target.

    Raises:
      ValueError: the arrays do not have the same N, or weights not the shape of targets.
    """
    if len(inputs) != len(targets):
        raise ValueError(f"inputs has {len(inputs)} examples and targets {len(targets)}")
    if weights is not None and weights.shape != targets.shape:
        raise ValueError(f"weights is {weights.shape}; accepted is the shape of targets")

    def gather(index: np.ndarray) -> Batch:
        kept = targets[index]
        counts = np.ones(kept.shape, np.float32) if weights is None else weights[index]
        return Batch(inputs[index], kept, counts)

    return shuffled(len(inputs), gather, seed)


def generated(make: Make, seed: int, block: int) -> tuple[Train, Callable[[int], Batch]]:
    """Examples that a function makes: an endless order for training, and as many more for tests.

    Args:
      make: (generator, count) -> a Batch of count examples, from the generator's numbers alone.
      seed: of both streams.
      block: examples made at once. Part of what defines example i: another block size gives other
        examples.

    Returns:
      `train(position, size)` of a Task, and `test(count)`, the first `count` of another stream.

    Raises:
      ValueError: a block below 1, a negative seed; later, a position below 0, a size below 1.
    """
    at_least(1, block=block)
    at_least(0, seed=seed)

    @lru_cache(maxsize=KEPT)
    def made(side: int, number: int) -> Batch:
        return make(stream(seed, side, number), block)

    def window(side: int, position: int, size: int) -> Batch:
        at_least(0, position=position)
        at_least(1, size=size)
        parts = [
            Batch(*(array[low:high] for array in made(side, number)))
            for number, low, high in _spans(position, size, block)
        ]
        return Batch(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    return (
        lambda position, size: window(TRAIN, position, size),
        lambda count: window(TEST, 0, count),
    )


def fingerprint(*arrays: np.ndarray) -> str:
    """SHA-256 of the arrays' types, shapes and bytes: what a task's facts record of its files."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(f"{array.dtype.str}{array.shape}".encode())
        whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()


def _spans(position: int, size: int, period: int) -> list[tuple[int, int, int]]:
    """(number of the period, first, end) of the pieces of a window, in order."""
    end = position + size
    numbers = range(position // period, (end - 1) // period + 1)
    return [(n, max(position - n * period, 0), min(end - n * period, period)) for n in numbers]
