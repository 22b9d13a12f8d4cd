"""One-dimensional digits: shapes, moments, classes that can be told apart, the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.data import line_digits


def test_shapes_moments_and_seed():
    data = line_digits(500, 100)
    assert data.x_train.shape == (500, 40)
    assert data.x_test.shape == (100, 40)
    assert data.x_train.mean() == pytest.approx(0, abs=1e-6)
    assert data.x_train.std() == pytest.approx(1, rel=1e-5)
    assert set(data.y_train) == set(range(10))
    again = line_digits(500, 100)
    assert all(np.array_equal(a, b) for a, b in zip(data, again, strict=True))
    assert not np.array_equal(line_digits(500, 100, seed=1).x_train, data.x_train)
    with pytest.raises(ValueError, match="train"):
        line_digits(0, 10)


def test_classes_can_be_told_apart_where_they_lie():
    """Nearest neighbour over all shifts does far better than without shifts, and than chance."""
    data = line_digits(1500, 200)
    near = ((data.x_test[:, None] - data.x_train) ** 2).sum(2)
    plain = (data.y_train[near.argmin(1)] == data.y_test).mean()
    best = near
    for shift in range(-12, 13):
        moved = np.roll(data.x_train, shift, axis=1)
        best = np.minimum(best, ((data.x_test[:, None] - moved) ** 2).sum(2))
    shifted = (data.y_train[best.argmin(1)] == data.y_test).mean()
    assert plain > 0.2
    assert shifted > plain + 0.1
