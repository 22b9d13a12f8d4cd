"""Labelled images: Fashion-MNIST and the digits of scikit-learn."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from farwide.data.locate import DataError, locate


class LabelledImages(NamedTuple):
    """Images and their classes, in two parts.

    Attributes:
      name: of the data set.
      x_train, x_test: (N, height, width, 1) float32 in [0, 1].
      y_train, y_test: (N,) int32 classes.
      classes: their names.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]


FASHION_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"
)  # fmt: skip
DIGITS_TEST = 797  # the other 1000 train


def fashion_mnist() -> LabelledImages:
    """Fashion-MNIST: 60000 and 10000 images of clothes, 28 x 28, 10 classes.

    Raises:
      DataError: it is not installed, or a file is damaged.

    References:
      Xiao, Rasul and Vollgraf 2017, Fashion-MNIST: a novel image dataset for benchmarking.
    """
    folder = locate("fashion-mnist")
    parts = []
    for side, n in (("train", 60000), ("t10k", 10000)):
        images = read_idx(folder / f"{side}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{side}-labels-idx1-ubyte.gz")
        if images.shape != (n, 28, 28) or labels.shape != (n,):
            raise DataError(
                f"{folder} holds images {images.shape} and labels {labels.shape} of {side!r}, "
                f"expected {(n, 28, 28)} and {(n,)}"
            )
        parts += [(images[..., None] / np.float32(255)).astype(np.float32), labels.astype(np.int32)]
    return LabelledImages("fashion-mnist", *parts, classes=FASHION_CLASSES)


def digits(seed: int = 0) -> LabelledImages:
    """The 1797 handwritten digits of scikit-learn, 8 x 8, split into 1000 and 797 at random.

    Args:
      seed: of the split, since the data set has none of its own.

    Raises:
      DataError: scikit-learn is not installed, or the file is damaged.

    References:
      Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits (UCI repository), test
      part.
    """
    path = locate("digits") / "digits.csv.gz"
    try:
        table = np.loadtxt(path, delimiter=",")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if table.shape != (1797, 65):
        raise DataError(f"{path} holds a table {table.shape}, expected (1797, 65)")
    order = np.random.default_rng(seed).permutation(len(table))
    x = (table[order, :64].reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    y = table[order, 64].astype(np.int32)
    cut = len(table) - DIGITS_TEST
    return LabelledImages("digits", x[:cut], y[:cut], x[cut:], y[cut:], classes=tuple("0123456789"))


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of bytes, gzipped: two zeros, type 8, the rank, the sizes (big endian), the data.

    Raises:
      DataError: it is no such file, or it is cut short.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is no IDX file of bytes: it begins with {raw[:4].hex()!r}")
    rank = raw[3]
    start = 4 + 4 * rank
    if len(raw) < start:
        raise DataError(f"{path} is cut short in its header")
    shape = struct.unpack(f">{rank}I", raw[4:start])
    if len(raw) - start != int(np.prod(shape)):
        raise DataError(f"{path} has {len(raw) - start} bytes of data, expected {shape}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` examples, as many of each class as there can be, in random order.

    Args:
      labels: (N,) classes.
      count: examples wanted; classes that run out leave the rest to the others.
      seed: of the choice; a larger count with the same seed begins with the smaller one.

    Raises:
      ValueError: count is not between 1 and N.
    """
    if not 1 <= count <= len(labels):
        raise ValueError(f"count must be between 1 and {len(labels)}, got {count}")
    rng = np.random.default_rng(seed)
    columns = [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)]
    rounds = [
        rng.permutation([column[i] for column in columns if i < len(column)])
        for i in range(max(map(len, columns)))
    ]
    return np.concatenate(rounds)[:count]
