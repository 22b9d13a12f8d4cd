"""One-dimensional digits: ten smooth shapes that are shifted, stretched, sheared and drowned.

After the description of MNIST-1D (Greydanus and Kobak 2024, Scaling Down Deep Learning with
MNIST-1D). Shapes and code are our own: it is not that data set, and errors on the two are not to be
compared.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from farwide.validate import at_least

LENGTH = 40
# Where a digit's stroke lies, left to right, at eight heights from its top down.
SHAPES = np.array(
    [
        [0.0, -0.7, -0.9, -1.0, -1.0, -0.9, -0.6, 0.0],
        [-0.5, 0.3, 0.4, 0.2, 0.1, 0.0, -0.1, -0.1],
        [-0.6, 0.3, 0.8, 0.6, 0.0, -0.5, -0.9, 0.4],
        [-0.4, 0.6, 0.7, 0.0, 0.6, 0.8, 0.4, -0.5],
        [0.3, 0.0, -0.4, -0.8, -0.2, 0.5, 0.6, 0.5],
        [0.7, -0.5, -0.6, 0.1, 0.7, 0.8, 0.3, -0.6],
        [0.5, -0.3, -0.8, -0.5, 0.3, 0.5, -0.1, -0.6],
        [-0.8, 0.1, 0.9, 0.6, 0.2, 0.0, -0.2, -0.4],
        [0.0, 0.7, -0.6, 0.1, -0.8, 0.6, 0.7, 0.0],
        [0.2, -0.6, -0.1, 0.6, 0.8, 0.6, 0.2, -0.3],
    ]
)


class LabelledSeries(NamedTuple):
    """Series and their classes, in two parts.

    Attributes:
      x_train, x_test: (N, length) float32 of mean 0 and variance 1 over the training part.
      y_train, y_test: (N,) int32 classes 0 to 9.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def line_digits(train: int = 4000, test: int = 1000, *, seed: int = 0) -> LabelledSeries:
    """One-dimensional digits, 40 points each, ten classes.

        x(t) = h s((t - c)/w) + b (t - c) in the shape's support, + smooth noise + white noise

    with s the class's shape (unit root mean square, zero outside), w uniform on 0.2 to 0.35 of the
    length, c uniform where the shape fits, h normal with mean 1 and deviation 0.4, slope b w normal
    with deviation 0.75; white noise smoothed over two points (deviation 0.25 afterwards), and white
    noise of 0.02.

    Args:
      train, test: series of each part, drawn independently.
      seed: of everything.

    References:
      Greydanus and Kobak 2024, Scaling Down Deep Learning with MNIST-1D, section 2.
    """
    at_least(1, train=train, test=test)
    at_least(0, seed=seed)
    rng = np.random.default_rng(seed)
    count = train + test
    y = rng.integers(0, 10, count).astype(np.int32)
    t = (np.arange(LENGTH) + 0.5) / LENGTH
    width = rng.uniform(0.2, 0.35, (count, 1))
    place = (t - rng.uniform(size=(count, 1)) * (1 - width)) / width  # 0 to 1 inside the shape
    knots = np.linspace(0, 1, SHAPES.shape[1] + 2)
    shapes = np.pad(SHAPES, ((0, 0), (1, 1)))
    shapes = shapes / np.sqrt((shapes**2).mean(1, keepdims=True))
    inside = (place > 0) & (place < 1)
    x = np.empty((count, LENGTH))
    for c in range(10):
        mine = y == c
        x[mine] = CubicSpline(knots, shapes[c])(np.clip(place[mine], 0, 1))
    x *= 1 + 0.4 * rng.standard_normal((count, 1))
    x += 0.75 * rng.standard_normal((count, 1)) * (place - 0.5)
    smooth = gaussian_filter1d(rng.standard_normal((count, LENGTH)), 2.0, axis=1, mode="wrap")
    x = np.where(inside, x, 0.0) + 0.25 * smooth / smooth.std()
    x += 0.02 * rng.standard_normal((count, LENGTH))
    x = ((x - x[:train].mean()) / x[:train].std()).astype(np.float32)
    return LabelledSeries(x[:train], y[:train], x[train:], y[train:])
