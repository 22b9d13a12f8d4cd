"""Images as tasks: the pixels of the set, standardised, in the order that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.data import LabelledImages, digits, image_sequence_task, image_task
from tests.data.orders import check_order


def colours(n: int = 40) -> LabelledImages:
    rng = np.random.default_rng(0)
    x = rng.random((n + 10, 4, 6, 3)).astype(np.float32) * np.array([1, 2, 0.5], np.float32)
    y = np.arange(n + 10, dtype=np.int32) % 5
    return LabelledImages("colours", x[:n], y[:n], x[n:], y[n:], tuple("abcde"))


def epoch(task, n: int = 40):
    return task.train(0, n)


def test_an_epoch_is_the_set_standardised():
    task, images = image_task(colours()), colours()
    batch = epoch(task)
    np.testing.assert_allclose(batch.inputs.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(batch.inputs.std(axis=(0, 1, 2)), 1, atol=1e-5)
    mean, spread = images.x_train.mean(axis=(0, 1, 2)), images.x_train.std(axis=(0, 1, 2))
    order = np.argsort(batch.inputs[:, 0, 0, 0])
    expected = (images.x_train - mean) / spread
    there = np.argsort(expected[:, 0, 0, 0])
    np.testing.assert_allclose(batch.inputs[order], expected[there], atol=1e-5)
    np.testing.assert_array_equal(batch.targets[order], images.y_train[there])
    # the test set by the training set's numbers
    np.testing.assert_allclose(task.test.inputs, (images.x_test - mean) / spread, atol=1e-5)
    np.testing.assert_array_equal(task.test.targets, images.y_test)
    assert (task.outputs, task.vocabulary, task.per_position) == (5, None, False)


def test_sequences_are_rows_and_permutations_are_of_places():
    image = image_task(colours()).test.inputs
    rows = image_sequence_task(colours()).test.inputs
    assert rows.shape == (10, 24, 3)
    np.testing.assert_array_equal(rows[:, 6:12], image[:, 1])
    mixed = image_sequence_task(colours(), permuted=True).test.inputs
    assert not np.array_equal(mixed, rows)
    place = [int(np.flatnonzero((rows[0] == pixel).all(axis=1))[0]) for pixel in mixed[0]]
    assert sorted(place) == list(range(24))
    np.testing.assert_array_equal(mixed, rows[:, place])  # the same for every image
    other = image_sequence_task(colours(), permuted=True, permutation_seed=1).test.inputs
    assert not np.array_equal(mixed, other)
    again = image_sequence_task(colours(), permuted=True, seed=9).test.inputs
    np.testing.assert_array_equal(mixed, again)


def test_shrunk_and_grey():
    images = colours()
    small = image_task(images, shrink=2).train(0, 40)
    assert small.inputs.shape == (40, 2, 3, 3)
    first = images.x_test[0, :2, 2:4].mean(axis=(0, 1))
    facts = image_task(images, shrink=2).facts
    expected = (first - facts["mean"]) / facts["deviation"]
    found = image_task(images, shrink=2).test.inputs[0, 0, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    grey = image_sequence_task(images, grey=True)
    assert grey.input_shape == (24, 1)
    values = images.x_test @ np.array([0.299, 0.587, 0.114])
    expected = (values - grey.facts["mean"]) / grey.facts["deviation"]
    np.testing.assert_allclose(grey.test.inputs[..., 0], expected.reshape(10, 24), atol=1e-4)


@pytest.mark.parametrize("kind", [image_task, image_sequence_task])
def test_orders(kind):
    check_order(lambda seed: kind(colours(), seed=seed), start=30)


def test_digits():
    task = image_sequence_task(digits(), shrink=2)
    assert task.input_shape == (16, 1)
    assert len(task.test.inputs) == 797
    assert np.bincount(task.train(0, 1000).targets).min() > 80


def test_facts_tell_sets_apart():
    images = colours()
    other = images._replace(y_train=images.y_train[::-1].copy())
    assert image_task(images).facts["sha256"] == image_task(colours()).facts["sha256"]
    assert image_task(images).facts["sha256"] != image_task(other).facts["sha256"]


def test_fewer_test_examples_are_the_first_ones_and_a_fact():
    task = image_task(colours())
    fewer = task.tested_on(3)
    np.testing.assert_array_equal(fewer.test.inputs, task.test.inputs[:3])
    assert len(fewer.test.weights) == 3
    assert fewer.facts["test_examples"] == 3
    assert task.tested_on(None) is task
    for wrong in (0, 11):
        with pytest.raises(ValueError, match=f"examples is {wrong}; accepted is 1 to 10"):
            task.tested_on(wrong)


def test_bad_values_are_refused_by_name():
    with pytest.raises(ValueError, match="shrink is 3; accepted is a divisor of 4 and of 6"):
        image_task(colours(), shrink=3)
    with pytest.raises(ValueError, match="grey is True; accepted for 3 channels, and digits has 1"):
        image_task(digits(), grey=True)
    with pytest.raises(ValueError, match="permutation_seed is -1"):
        image_sequence_task(colours(), permuted=True, permutation_seed=-1)
