"""MNIST-1D: ten templates of 12 points, padded, stretched, moved, sheared and drowned in noise."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from importlib import import_module

import numpy as np

from farwide.data.line_digits import LabelledSeries
from farwide.data.locate import DataError
from farwide.validate import at_least

CLASSES = 10


def mnist_1d(train: int = 4000, test: int = 1000, *, seed: int = 42) -> LabelledSeries:
    """MNIST-1D as its authors' package generates it: 40 points a series, 10 classes.

    The defaults give the 5000 series of the paper, mean 0 and variance 1 over all of them.

    Args:
      train, test: series; together a multiple of 10.
      seed: of the generator, 42 in the paper.

    Raises:
      DataError: the package mnist1d is not installed (the message says how), or makes other data.
      ValueError: train and test are no multiple of 10 together.

    References:
      Greydanus and Kobak 2024, Scaling Down Deep Learning with MNIST-1D.
    """
    at_least(1, train=train, test=test)
    at_least(0, seed=seed)
    count = train + test
    if count % CLASSES:
        raise ValueError(f"train + test is {count}; accepted is a multiple of {CLASSES}")
    try:
        generator = import_module("mnist1d.data")
    except ImportError as error:
        raise DataError(
            f"data set 'mnist-1d' needs the package mnist1d ({error}); install it with `pip "
            "install mnist1d`"
        ) from None
    settings = generator.get_dataset_args()
    settings.num_samples, settings.seed, settings.train_split = count, seed, train / count
    with _same_randomness():
        made = generator.make_dataset(settings)
    x, y = np.concatenate([made["x"], made["x_test"]]), np.concatenate([made["y"], made["y_test"]])
    if x.shape != (count, 40) or set(np.unique(y)) != set(range(CLASSES)):
        raise DataError(f"mnist1d made series {x.shape} of classes {np.unique(y)}, expected 40, 10")
    x, y = x.astype(np.float32), y.astype(np.int32)
    return LabelledSeries(x[:train], y[:train], x[train:], y[train:])


@contextlib.contextmanager
def _same_randomness() -> Iterator[None]:
    """The package seeds the global generators; they are put back."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
