"""Pathfinder from a folder of the Long Range Arena's release, or of the published generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from farwide.data.batching import fingerprint, shuffled
from farwide.data.locate import DataError
from farwide.data.task import Batch, Task

LEVELS = {
    "easy": "curv_baseline",
    "intermediate": "curv_contour_length_9",
    "hard": "curv_contour_length_14",
}


def lra_pathfinder(
    folder: str | Path, *, level: str = "hard", sequence: bool = True, seed: int = 0
) -> Task:
    """Pathfinder's PNG files: are the two dots the ends of one dashed path?

    metadata/N.npy has a line for each image: its folder, its file, its number and its label. In
    the order of those files the first 80% are for training and the last 10% for tests, as in the
    Long Range Arena; the 10% between are its validation set, which is not used here. Files that are
    empty (the release has one) are left out and listed in the facts.

    Args:
      folder: holds curv_contour_length_14 and the like: pathfinder32 and so on of the release.
      level: "easy", "intermediate" or "hard": paths of 6, 9 or 14 dashes.
      sequence: pixels row by row, (pixels, 1), instead of images (height, width, 1).
      seed: of the order of training examples.

    Returns:
      A Task with inputs in [-1, 1], -1 the background, and targets (batch,), 2 classes.

    Raises:
      DataError: files are missing, are no such images, or differ in size.
      ValueError: the level is unknown.
    """
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}; accepted is one of {', '.join(LEVELS)}")
    root = Path(folder).expanduser() / LEVELS[level]
    listed = _listed(root)
    left_out = [name for name, _ in listed if not (root / name).stat().st_size]
    listed = [(name, label) for name, label in listed if name not in set(left_out)]
    images = _read_all([root / name for name, _ in listed])
    labels = np.array([label for _, label in listed], np.int32)
    low, high = len(labels) * 8 // 10, len(labels) * 9 // 10
    if not 0 < low or not high < len(labels):
        raise DataError(f"{root} has {len(labels)} images; accepted is at least 2")
    shape = (images[0].size, 1) if sequence else (*images.shape[1:], 1)

    def batch(x: np.ndarray, y: np.ndarray) -> Batch:
        inputs = (x.reshape(len(x), *shape) / np.float32(127.5) - 1).astype(np.float32)
        return Batch(inputs, y, np.ones(len(y), np.float32))

    facts = {
        "task": "lra_pathfinder", "level": level, "sequence": sequence, "seed": seed,
        "train_examples": low, "test_examples": len(labels) - high, "validation": high - low,
        "left_out": left_out, "sha256": fingerprint(images, labels),
    }  # fmt: skip
    return Task(
        name=f"lra_pathfinder-{images.shape[1]}",
        input_shape=shape,
        vocabulary=None,
        outputs=2,
        train=shuffled(low, lambda i: batch(images[i], labels[i]), seed),
        test=batch(images[high:], labels[high:]),
        facts=facts,
    )


def _listed(root: Path) -> list[tuple[str, int]]:
    """File and label of each image, in the order of the metadata's numbers."""
    files = sorted((root / "metadata").glob("*.npy"), key=lambda path: (len(path.stem), path.stem))
    if not files:
        raise DataError(
            f"{root} has no metadata/*.npy; name the folder of the unpacked release that holds "
            f"{root.name}"
        )
    listed = []
    for path in files:
        for number, fields in enumerate(_rows(path), start=1):
            if len(fields) < 4 or fields[3] not in ("0", "1"):
                raise DataError(
                    f"{path}, line {number}: expected folder, file, number and label 0 or 1, got "
                    f"{' '.join(fields)[:60]!r}"
                )
            name = f"{fields[0]}/{fields[1]}"
            if not (root / name).is_file():
                raise DataError(f"{path}, line {number}: {root / name} is not there")
            listed.append((name, int(fields[3])))
    return listed


def _rows(path: Path) -> list[list[str]]:
    """Fields of each line: the release has text under the name .npy, the generator NumPy arrays."""
    raw = path.read_bytes()
    if raw.startswith(b"\x93NUMPY"):
        try:
            return np.load(path, allow_pickle=False).astype(str).tolist()
        except ValueError as error:
            raise DataError(f"{path} cannot be read: {error}") from None
    return [line.split() for line in raw.decode(errors="replace").splitlines() if line.strip()]


def _read_all(paths: list[Path]) -> np.ndarray:
    """(N, height, width) uint8."""
    from matplotlib.image import imread  # imported here: reading other data needs no plotting

    images = []
    for path in paths:
        try:
            image = np.asarray(imread(path))
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}") from None
        if image.ndim == 3:  # grey in colour, with or without opacity
            image = image[..., 0]
        if image.dtype != np.uint8:
            image = np.rint(image * 255).astype(np.uint8)
        if images and image.shape != images[0].shape:
            raise DataError(f"{path} is {image.shape}, expected {images[0].shape} as the others")
        images.append(image)
    if not images:
        raise DataError("no image is left to read")
    return np.stack(images)
