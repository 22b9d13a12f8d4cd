"""What every task's order of training examples keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farwide.data import Batch, Task


def same(a: Batch, b: Batch) -> None:
    """Bit for bit, in shape and type too."""
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def check_order(make: Callable[[int], Task], *, batch: int = 7, start: int = 11) -> None:
    """Shapes and types of the contract; the order is the seed's, whatever the batches."""
    task, again, other = make(0), make(0), make(1)
    first = task.train(start, 3 * batch)
    assert first.inputs.shape == (3 * batch, *task.input_shape)
    assert first.inputs.dtype == (np.int32 if task.vocabulary else np.float32)
    assert first.targets.dtype == np.int32
    assert first.weights.dtype == np.float32
    assert first.targets.shape == first.weights.shape
    assert set(np.unique(first.weights)) <= {0.0, 1.0}
    assert first.targets.min() >= 0
    assert first.targets.max() < task.outputs
    if task.vocabulary:
        assert first.inputs.min() >= 0
        assert first.inputs.max() < task.vocabulary
    parts = [again.train(start + i * batch, batch) for i in (1, 2, 0)]  # in another order, too
    joined = [np.concatenate(arrays) for arrays in zip(parts[2], parts[0], parts[1], strict=True)]
    same(first, Batch(*joined))
    same(task.test, again.test)
    assert task.facts == again.facts
    assert not np.array_equal(first.inputs, other.train(start, 3 * batch).inputs)


def check_streams(task: Task, count: int) -> None:
    """No training example among the first `count` stands in the test set."""
    train = {row.tobytes() for row in task.train(0, count).inputs}
    test = {row.tobytes() for row in task.test.inputs}
    assert len(train) == count
    assert not train & test
