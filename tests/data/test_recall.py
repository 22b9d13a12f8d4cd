"""Recall: the target is the value that followed the key, and nothing else counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farwide.data import associative_recall, mqar
from tests.data.orders import check_order, check_streams

CASES = settings(max_examples=25, deadline=None)


@CASES
@given(st.integers(1, 6), st.integers(0, 9), st.integers(0, 20), st.booleans())
def test_every_key_is_asked_once_for_the_value_that_followed_it(pairs, more, words, noise):
    task = mqar(
        length=4 * pairs + 2 * more, pairs=pairs, vocabulary=2 * pairs + 2 + words, noise=noise,
        test_examples=2,
    )  # fmt: skip
    half = (2 * pairs + 2 + words) // 2
    for x, y, w in zip(*task.train(5, 20), strict=True):
        head = x[: 2 * pairs].tolist()
        memory = dict(zip(head[::2], head[1::2], strict=True))
        assert len(memory) == pairs  # keys differ
        assert len(set(memory.values())) == pairs
        assert all(0 < key < half for key in memory)
        assert all(value >= half for value in memory.values())
        places = np.flatnonzero(w)
        assert sorted(x[places]) == sorted(memory)  # each key once more
        assert (places >= 2 * pairs).all()
        assert (places % 2 == 0).all()
        assert [memory[key] for key in x[places].tolist()] == y[places].tolist()
        assert not y[w == 0].any()
        if not noise:
            rest = np.setdiff1d(np.arange(2 * pairs, len(x)), places)
            assert not x[rest].any()


def test_gaps_follow_the_power_law():
    """One pair: the place of its query has odds i^(a - 1)."""
    task = mqar(length=22, pairs=1, vocabulary=64, power_a=0.5, test_examples=1)
    n = 20_000
    place = (np.argmax(task.train(0, n).weights, axis=1) - 2) // 2
    odds = np.arange(1, 11) ** -0.5
    expected = odds / odds.sum()
    found = np.bincount(place, minlength=10) / n
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / n)).all()


def test_smaller_powers_ask_sooner():
    def mean(a: float) -> float:
        weights = mqar(length=128, pairs=8, power_a=a, test_examples=1).train(0, 500).weights
        return float(np.nonzero(weights)[1].mean())

    assert mean(0.01) < mean(0.5) - 5 < mean(1.0) - 10


@CASES
@given(st.integers(3, 40), st.integers(4, 40))
def test_the_last_token_is_a_key_and_its_value_is_asked(length, vocabulary):
    task = associative_recall(length=length, vocabulary=vocabulary, test_examples=2)
    for x, y, w in zip(*task.train(3, 20), strict=True):
        pairs = x[-1 - 2 * ((length - 1) // 2) : -1].tolist()
        memory: dict[int, int] = {}
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            assert memory.setdefault(key, value) == value  # a key keeps its value
        assert y[-1] == memory[int(x[-1])]
        assert w.tolist() == [0.0] * (length - 1) + [1.0]
        assert length % 2 or x[0] == 0


def test_every_key_that_was_seen_is_asked_as_often():
    x = associative_recall(length=21, vocabulary=6, test_examples=1).train(0, 4000).inputs
    both = np.array([len(set(row[:-1:2])) == 2 for row in x])
    assert abs((x[both, -1] == 1).mean() - 0.5) < 5 * 0.5 / np.sqrt(both.sum())


@pytest.mark.parametrize("kind", [mqar, associative_recall])
def test_orders(kind):
    check_order(lambda seed: kind(seed=seed, test_examples=20), start=250)
    check_streams(kind(test_examples=500), 2000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 15}, "length is 15; accepted is an integer of at least 16"),
        ({"length": 17}, "length is 17; accepted is an even number"),
        ({"vocabulary": 9}, "vocabulary is 9; accepted is an integer of at least 10"),
        ({"power_a": 0.0}, "power_a is 0.0; accepted is a number > 0"),
        ({"pairs": 0}, "pairs is 0"),
        ({"test_examples": 0}, "test_examples is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        mqar(**arguments)


def test_facts_remake_the_task():
    task = mqar(length=32, pairs=2, vocabulary=64, power_a=0.3, noise=True, seed=4)
    facts = {k: v for k, v in task.facts.items() if k not in ("task", "block")}
    np.testing.assert_array_equal(mqar(**facts).train(7, 9).inputs, task.train(7, 9).inputs)
