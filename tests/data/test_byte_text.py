"""Next byte: each window's targets are its inputs, one byte on."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.data import Corpus, byte_text
from tests.data.orders import check_order

TRAIN = np.random.default_rng(0).integers(0, 256, 1001, dtype=np.uint8)
CORPUS = Corpus(TRAIN, TRAIN[::-1][:100].copy(), {"sha256": "abc"})


def test_an_epoch_predicts_every_byte_once():
    task = byte_text(CORPUS, length=10)
    batch = task.train(0, 100)
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert sorted(batch.targets.ravel()) == sorted(TRAIN[1:])
    assert {row.tobytes() for row in batch.inputs.astype(np.uint8)} == {
        TRAIN[i : i + 10].tobytes() for i in range(0, 1000, 10)
    }
    assert (batch.weights == 1).all()


def test_the_test_windows_are_of_the_other_side():
    task = byte_text(CORPUS, length=10, test_windows=4)
    assert task.test.inputs.shape == (4, 10)
    np.testing.assert_array_equal(task.test.inputs[0], CORPUS.validation[:10])
    np.testing.assert_array_equal(task.test.targets[0], CORPUS.validation[1:11])
    assert task.facts["sha256"] == "abc"


def test_orders():
    check_order(lambda seed: byte_text(CORPUS, length=10, seed=seed), start=90)


def test_a_corpus_too_short_is_refused():
    with pytest.raises(ValueError, match="length is 1001; accepted is at most"):
        byte_text(CORPUS, length=1001)
