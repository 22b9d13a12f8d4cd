"""Orders of examples: fixed by the seed, cut into batches anywhere, each epoch a permutation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwide.data import Batch, from_arrays, generated, shuffled
from farwide.data.batching import TEST, TRAIN, fingerprint, stream


def numbers(index: np.ndarray) -> Batch:
    return Batch(index, index.astype(np.int32), np.ones(len(index), np.float32))


def noise(rng: np.random.Generator, count: int) -> Batch:
    return numbers(rng.integers(0, 2**60, count))


@given(st.integers(1, 40), st.integers(0, 200), st.integers(1, 100), st.integers(0, 9))
def test_a_batch_is_a_window_of_one_order(count, position, size, seed):
    order = shuffled(count, numbers, seed)(0, position + size).inputs
    np.testing.assert_array_equal(
        shuffled(count, numbers, seed)(position, size).inputs, order[position:]
    )
    for epoch in range((position + size) // count):
        assert sorted(order[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_each_epoch_has_an_order_of_its_own():
    order = shuffled(1000, numbers, 5)(0, 3000).inputs.reshape(3, 1000)
    assert (order[0] == order[1]).mean() < 0.02
    assert (order[1] == order[2]).mean() < 0.02
    np.testing.assert_array_equal(order[1], stream(5, TRAIN, 1).permutation(1000))


@given(st.integers(1, 9), st.integers(0, 60), st.integers(1, 40))
def test_generated_examples_depend_on_their_number_alone(block, position, size):
    order = generated(noise, 3, block)[0](0, position + size).inputs
    np.testing.assert_array_equal(
        generated(noise, 3, block)[0](position, size).inputs, order[position:]
    )
    row = stream(3, TRAIN, position // block).integers(0, 2**60, block)[position % block]
    assert order[position] == row


def test_the_streams_are_apart():
    train, test = generated(noise, 3, 8)
    rows = np.concatenate(
        [train(0, 500).inputs, test(500).inputs, generated(noise, 4, 8)[1](50)[0]]
    )
    assert len(np.unique(rows)) == 1050
    assert test(3).inputs[0] == stream(3, TEST, 0).integers(0, 2**60, 8)[0]


def test_a_batch_that_is_changed_changes_no_other():
    train, _ = generated(noise, 0, 8)
    first = train(0, 8).inputs
    first[:] = -1
    assert train(0, 8).inputs.min() >= 0


def test_arrays_and_their_weights():
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6, dtype=np.int32)
    batch = from_arrays(x, y, 0)(4, 6)
    np.testing.assert_array_equal(batch.inputs, x[batch.targets])
    assert (batch.weights == 1).all()
    weights = (y % 2).astype(np.float32)
    batch = from_arrays(x, y, 0, weights)(0, 6)
    np.testing.assert_array_equal(batch.weights, batch.targets % 2)


def test_bad_values_are_refused_by_name():
    train = shuffled(3, numbers, 0)
    with pytest.raises(ValueError, match=r"position is -1; accepted is an integer of at least 0"):
        train(-1, 2)
    with pytest.raises(ValueError, match="size is 0"):
        generated(noise, 0, 4)[0](0, 0)
    with pytest.raises(ValueError, match="seed is -1"):
        generated(noise, -1, 4)
    with pytest.raises(ValueError, match="count is 0"):
        shuffled(0, numbers, 0)
    with pytest.raises(ValueError, match="inputs has 3 examples and targets 2"):
        from_arrays(np.zeros(3), np.zeros(2), 0)
    with pytest.raises(ValueError, match="weights is"):
        from_arrays(np.zeros(3), np.zeros(3), 0, np.zeros((3, 1)))


def test_a_fingerprint_is_of_content_shape_and_type():
    a = np.arange(6, dtype=np.int32)
    assert fingerprint(a) == fingerprint(a.copy())
    others = [a[::-1], a.reshape(2, 3), a.astype(np.int64), a[:5]]
    assert len({fingerprint(a), *map(fingerprint, others)}) == 5
