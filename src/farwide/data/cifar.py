"""CIFAR-10, from a folder that the user names: it is not to be had as a package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from farwide.data.images import LabelledImages
from farwide.data.locate import DataError

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = "test_batch.bin"
RECORD = 1 + 3 * 32 * 32  # a label, then red, green and blue planes


def cifar10(folder: str | Path) -> LabelledImages:
    """CIFAR-10: 50000 and 10000 photographs, 32 x 32 in colour, 10 classes.

    Args:
      folder: holds the binary version, data_batch_1.bin to data_batch_5.bin and test_batch.bin, or
        has a folder cifar-10-batches-bin that does. (The Python version is pickled: reading it
        could run anything.)

    Raises:
      DataError: a file is missing, cut short, or no such file.

    References:
      Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    root = Path(folder).expanduser()
    below = root / "cifar-10-batches-bin"
    root = below if below.is_dir() else root
    missing = [name for name in (*TRAIN, TEST) if not (root / name).is_file()]
    if missing:
        raise DataError(
            f"{root} has no {', '.join(missing)}; unpack the binary version of CIFAR-10 "
            "(cifar-10-binary.tar.gz) and name the folder that holds its .bin files"
        )
    parts = [read_batch(root / name) for name in TRAIN]
    x_train, y_train = (np.concatenate(part) for part in zip(*parts, strict=True))
    x_test, y_test = read_batch(root / TEST)
    return LabelledImages("cifar-10", x_train, y_train, x_test, y_test, CLASSES)


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, 32, 32, 3) float32 in [0, 1] and (N,) int32 of one file.

    Raises:
      DataError: it is cut short, or has a label that is no class.
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if raw.size == 0 or raw.size % RECORD:
        raise DataError(
            f"{path} has {raw.size} bytes, which is no whole number of records of {RECORD}"
        )
    records = raw.reshape(-1, RECORD)
    labels = records[:, 0].astype(np.int32)
    if labels.max() >= len(CLASSES):
        raise DataError(f"{path} has the label {labels.max()}, expected 0 to {len(CLASSES) - 1}")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return (images / np.float32(255)).astype(np.float32), labels
