"""Batches made ahead are the batches of the order."""

from __future__ import annotations

import threading
from itertools import islice

import numpy as np
import pytest

from farwide.data import batches, delayed_copy
from tests.data.orders import same

TASK = delayed_copy(length=20, tokens=4, test_examples=1)


@pytest.mark.parametrize("ahead", [1, 3])
def test_the_same_batches_in_the_same_order(ahead):
    found = list(islice(batches(TASK, 5, start=250, ahead=ahead), 6))
    for i, batch in enumerate(found):
        same(batch, TASK.train(250 + 5 * i, 5))


def test_an_error_arrives_where_it_belongs():
    def train(position: int, size: int):
        if position >= 10:
            raise RuntimeError(f"no example {position}")
        return TASK.train(position, size)

    made = batches(TASK._replace(train=train), 5)
    assert np.array_equal(next(made).inputs, TASK.train(0, 5).inputs)
    next(made)
    with pytest.raises(RuntimeError, match="no example 10"):
        next(made)


def test_closing_ends_the_thread():
    made = batches(TASK, 5)
    next(made)
    made.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if thread.name.startswith("farwide-data"):
            thread.join(timeout=30)
            assert not thread.is_alive()


def test_bad_values_are_refused_at_once():
    with pytest.raises(ValueError, match="size is 0"):
        batches(TASK, 0)
    with pytest.raises(ValueError, match="ahead is 0"):
        batches(TASK, 1, ahead=0)
