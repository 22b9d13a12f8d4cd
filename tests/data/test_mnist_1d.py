"""MNIST-1D by its authors' package, where that is installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from farwide.data import DataError, mnist_1d

installed = pytest.mark.skipif(find_spec("mnist1d") is None, reason="mnist1d is not installed")


@installed
def test_it_is_the_papers_set():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    data = mnist_1d(800, 200)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert data.x_train.shape == (800, 40)
    assert data.x_test.shape == (200, 40)
    every = np.concatenate([data.x_train, data.x_test])
    assert every.mean() == pytest.approx(0, abs=1e-5)
    assert every.std() == pytest.approx(1, rel=1e-4)
    counts = np.bincount(np.concatenate([data.y_train, data.y_test]))
    assert counts.tolist() == [100] * 10
    assert np.array_equal(mnist_1d(800, 200).x_test, data.x_test)
    assert not np.array_equal(mnist_1d(800, 200, seed=1).x_test, data.x_test)


def test_without_the_package_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(DataError, match="pip install mnist1d"):
        mnist_1d()


def test_classes_of_equal_size():
    with pytest.raises(ValueError, match=r"train \+ test is 15"):
        mnist_1d(10, 5)
