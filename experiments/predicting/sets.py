"""The data of `experiments.predict_scaling`, all as short sequences (positions, features)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from farwide.data import digits, fashion_mnist, line_digits, mnist_1d

CLASSES = 10


class Sequences(NamedTuple):
    """Disjoint examples, float64, of mean 0 and variance 1 over the spectrum's points.

    Attributes:
      points, pool, test: (N, positions, features).
      y_points, y_pool, y_test: (N, 10) one-hot minus 1/10.
    """

    points: np.ndarray
    pool: np.ndarray
    test: np.ndarray
    y_points: np.ndarray
    y_pool: np.ndarray
    y_test: np.ndarray


def patches(images: np.ndarray, size: int) -> np.ndarray:
    """(N, height, width, 1) -> (N, patches, size^2), row by row."""
    count, height, width = images.shape[:3]
    cut = images.reshape(count, height // size, size, width // size, size)
    return cut.transpose(0, 1, 3, 2, 4).reshape(count, -1, size * size)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """1797 digits of 8 x 8 as 16 patches of 2 x 2."""
    data = digits()
    x = np.concatenate([data.x_train, data.x_test])
    return patches(x, 2), np.concatenate([data.y_train, data.y_test])


def _fashion() -> tuple[np.ndarray, np.ndarray]:
    """The training images of 28 x 28 as 16 patches of 7 x 7."""
    data = fashion_mnist()
    return patches(data.x_train, 7), data.y_train


def _lines() -> tuple[np.ndarray, np.ndarray]:
    """One-dimensional digits of 40 points as 20 pieces of 2."""
    data = line_digits(6000, 1)
    return data.x_train.reshape(len(data.x_train), -1, 2), data.y_train


def _mnist_1d() -> tuple[np.ndarray, np.ndarray]:
    """MNIST-1D, 40 points as 20 pieces of 2."""
    data = mnist_1d()
    x = np.concatenate([data.x_train, data.x_test])
    return x.reshape(len(x), -1, 2), np.concatenate([data.y_train, data.y_test])


SETS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "digits": _digits,
    "fashion-mnist": _fashion,
    "mnist-1d": _mnist_1d,
    "line-digits": _lines,
}
TITLES = {
    "digits": "digits",
    "fashion-mnist": "Fashion-MNIST",
    "mnist-1d": "MNIST-1D",
    "line-digits": "line digits",
}


def sequences(name: str, points: int, pool: int, test: int, seed: int) -> Sequences:
    """Examples of a set, in random order; test and pool are the same whatever `points` is.

    Raises:
      ValueError: the set has fewer examples than the three parts together.
      DataError: the set is not installed.
    """
    x, labels = SETS[name]()
    if points + pool + test > len(x):
        raise ValueError(f"{name} has {len(x)} examples, {points} + {pool} + {test} were asked for")
    order = np.random.default_rng(seed).permutation(len(x))
    ends = np.cumsum([test, pool, points])
    parts = np.split(order[: ends[-1]], ends[:-1])[::-1]
    x = x.astype(np.float64)
    mean, deviation = x[parts[0]].mean(), x[parts[0]].std()
    targets = np.eye(CLASSES) - 1 / CLASSES
    xs = [(x[part] - mean) / deviation for part in parts]
    return Sequences(*xs, *(targets[labels[part]] for part in parts))
