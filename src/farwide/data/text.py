"""Text as a task: predict the next byte."""

from __future__ import annotations

import numpy as np

from farwide.data.batching import shuffled
from farwide.data.corpus import Corpus
from farwide.data.task import Batch, Task
from farwide.data.windows import validation_windows
from farwide.validate import at_least


def byte_text(corpus: Corpus, *, length: int = 256, test_windows: int = 256, seed: int = 0) -> Task:
    """Windows of a corpus, the target at each position being the byte that follows it.

    Training windows do not overlap; in an epoch each comes once, in an order of its own. (For runs
    that must repeat nothing, `Windows` raises instead of beginning a second epoch.) Test windows
    are spread evenly over the corpus' validation side.

    Args:
      corpus: of `read_corpus`.
      length: bytes of a window.
      test_windows: how many, all where the validation side has fewer.
      seed: of the order of training windows.

    Returns:
      A Task with inputs and targets (batch, length), 256 tokens and as many classes.

    Raises:
      ValueError: a side of the corpus is shorter than one window; an argument is out of range.
    """
    at_least(1, length=length, test_windows=test_windows)
    count = (len(corpus.train) - 1) // length
    if count < 1:
        raise ValueError(
            f"length is {length}; accepted is at most the corpus' training bytes less one, "
            f"{len(corpus.train) - 1}"
        )

    def gather(index: np.ndarray) -> Batch:
        return _split(corpus.train[index[:, None] * length + np.arange(length + 1)])

    held_out = _split(validation_windows(corpus.validation, length, test_windows))
    facts = {
        "task": "byte_text", "length": length, "test_windows": len(held_out.inputs), "seed": seed,
        "train_windows": count, "sha256": corpus.manifest["sha256"],
    }  # fmt: skip
    return Task("byte_text", (length,), 256, 256, shuffled(count, gather, seed), held_out, facts)


def _split(windows: np.ndarray) -> Batch:
    windows = windows.astype(np.int32)
    inputs, targets = windows[:, :-1].copy(), windows[:, 1:].copy()
    return Batch(inputs, targets, np.ones(targets.shape, np.float32))
