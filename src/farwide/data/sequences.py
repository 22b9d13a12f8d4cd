"""Texts and series of unequal lengths, as rows of one length that end where the example ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from farwide.data.batching import fingerprint, from_arrays
from farwide.data.task import Batch, Task

PAD = 0  # tokens of bytes are one more than the byte


def byte_tokens(text: bytes, length: int) -> np.ndarray:
    """The first `length` bytes, each plus 1, as (length,) int32, padded with 0 on the left."""
    row = np.zeros(length, np.int32)
    kept = np.frombuffer(text[:length], np.uint8)
    row[length - len(kept) :] = kept
    row[length - len(kept) :] += 1
    return row


def rows_of(tokens: Sequence[np.ndarray], length: int) -> np.ndarray:
    """(examples, length) int32: each example's first `length` tokens, padded on the left with 0."""
    rows = np.full((len(tokens), length), PAD, np.int32)
    for row, kept in zip(rows, tokens, strict=True):
        cut = kept[:length]
        row[length - len(cut) :] = cut
    return rows


def labelled(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    vocabulary: int | None,
    outputs: int,
    seed: int,
    facts: dict[str, object],
) -> Task:
    """A Task of two sets of (inputs, classes), one class an example.

    Its facts get a SHA-256 of the arrays, their sizes and the seed.
    """
    counted = Batch(test[0], test[1], np.ones(test[1].shape, np.float32))
    facts = {
        "task": name, **facts, "seed": seed, "train_examples": len(train[1]),
        "test_examples": len(test[1]), "sha256": fingerprint(*train, *test),
    }  # fmt: skip
    return Task(
        name, train[0].shape[1:], vocabulary, outputs, from_arrays(*train, seed), counted, facts
    )
