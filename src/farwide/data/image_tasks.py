"""Labelled images as tasks: as images, and as sequences of pixels."""

from __future__ import annotations

import numpy as np

from farwide.data.batching import FIXED, fingerprint, shuffled, stream
from farwide.data.images import LabelledImages
from farwide.data.task import Batch, Task
from farwide.validate import at_least

LUMA = (0.299, 0.587, 0.114)  # red, green and blue in a grey value, ITU-R BT.601


def image_task(
    images: LabelledImages, *, shrink: int = 1, grey: bool = False, seed: int = 0
) -> Task:
    """Images (height, width, channels), standardised: x -> (x - mean) / deviation.

    Mean and deviation are those of each channel over the training set.

    Args:
      images: `fashion_mnist()`, `digits()`, `cifar10(folder)`, or others.
      shrink: side of the squares of pixels whose mean becomes one; divides height and width.
      grey: colours to one channel of luma, 0.299 R + 0.587 G + 0.114 B.
      seed: of the order of training examples.

    Returns:
      A Task with targets (batch,); its test examples are the set's own.

    Raises:
      ValueError: shrink does not divide the image's sides; grey of images without three channels.
    """
    return _task(images, images.name, "image", shrink, grey, None, seed)


def image_sequence_task(
    images: LabelledImages,
    *,
    shrink: int = 1,
    grey: bool = False,
    permuted: bool = False,
    permutation_seed: int = 0,
    seed: int = 0,
) -> Task:
    """Images as sequences of pixels, row by row: (height * width, channels), standardised.

    Sequential Fashion-MNIST has the length 784, digits 64, CIFAR-10 1024: with `grey=True` that is
    the image task of the Long Range Arena, but for its inputs, which are there 256 tokens.

    Args:
      images: `fashion_mnist()`, `digits()`, `cifar10(folder)`, or others.
      shrink: side of the squares of pixels whose mean becomes one; divides height and width.
      grey: colours to one channel of luma.
      permuted: pixels in one random order, the same for all images.
      permutation_seed: of that order.
      seed: of the order of training examples.

    Returns:
      A Task with targets (batch,); its test examples are the set's own.

    Raises:
      ValueError: shrink does not divide the image's sides; grey of images without three channels.

    References:
      Le, Jaitly and Hinton 2015, A simple way to initialize recurrent networks of rectified linear
      units, section 4.2 (sequential and permuted MNIST); Tay et al. 2020, Long Range Arena,
      section 2.2.4.
    """
    name = f"{images.name}-{'permuted' if permuted else 'sequence'}"
    return _task(
        images, name, "sequence", shrink, grey, permutation_seed if permuted else None, seed
    )


def _task(
    images: LabelledImages,
    name: str,
    form: str,
    shrink: int,
    grey: bool,
    permutation: int | None,
    seed: int,
) -> Task:
    at_least(1, shrink=shrink)
    height, width, channels = images.x_train.shape[1:]
    if height % shrink or width % shrink:
        raise ValueError(f"shrink is {shrink}; accepted is a divisor of {height} and of {width}")
    if grey and channels != 3:
        raise ValueError(f"grey is True; accepted for 3 channels, and {images.name} has {channels}")
    x_train = _smaller(images.x_train, shrink, grey)
    x_test = _smaller(images.x_test, shrink, grey)
    mean = x_train.mean(axis=(0, 1, 2), dtype=np.float64)
    spread = x_train.std(axis=(0, 1, 2), dtype=np.float64)
    pixels = x_train.shape[1] * x_train.shape[2]
    order = np.arange(pixels)
    if permutation is not None:
        at_least(0, permutation_seed=permutation)
        order = stream(permutation, FIXED).permutation(pixels)
    shape = (pixels, x_train.shape[3]) if form == "sequence" else x_train.shape[1:]

    def batch(x: np.ndarray, y: np.ndarray) -> Batch:
        inputs = ((x - mean) / np.where(spread > 0, spread, 1)).astype(np.float32)
        if form == "sequence":
            inputs = inputs.reshape(len(x), *shape)[:, order]
        return Batch(inputs, y, np.ones(len(x), np.float32))

    facts = {
        "task": f"image as {form}", "images": images.name, "shrink": shrink, "grey": grey,
        "permutation_seed": permutation, "seed": seed,
        "sha256": fingerprint(*images[1:5]),
        "train_examples": len(x_train), "mean": mean.tolist(), "deviation": spread.tolist(),
    }  # fmt: skip
    return Task(
        name=name,
        input_shape=shape,
        vocabulary=None,
        outputs=len(images.classes),
        train=shuffled(len(x_train), lambda i: batch(x_train[i], images.y_train[i]), seed),
        test=batch(x_test, images.y_test),
        facts=facts,
    )


def _smaller(x: np.ndarray, shrink: int, grey: bool) -> np.ndarray:
    """Means over squares of shrink x shrink pixels, in grey where asked for."""
    if grey:
        x = (x @ np.array(LUMA, np.float32))[..., None]
    if shrink == 1:
        return x
    n, height, width, channels = x.shape
    squares = x.reshape(n, height // shrink, shrink, width // shrink, shrink, channels)
    return squares.mean(axis=(2, 4))
