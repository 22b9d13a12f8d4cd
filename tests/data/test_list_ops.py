"""ListOps: every label is what a reader of the tokens makes of them."""

from __future__ import annotations

import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farwide.data import list_ops
from farwide.data.expressions import random_trees
from tests.data.orders import check_order, check_streams

WORDS = ["PAD", *map(str, range(10)), "[MIN", "[MAX", "[MED", "[SM", "]"]
MEANING = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda v: int(statistics.median(v)),
    "[SM": lambda v: sum(v) % 10,
}


def read(words: list[str], most: int) -> tuple[int, int]:
    """Value and depth of an expression, by a stack; every bracket is checked."""
    stack: list[tuple[str, list[int]]] = [("root", [])]
    deepest = 1
    for word in words:
        if word == "]":
            name, values = stack.pop()
            assert 2 <= len(values) <= most
            stack[-1][1].append(MEANING[name](values))
        elif word in MEANING:
            stack.append((word, []))
            deepest = max(deepest, len(stack))  # its arguments' depth
        else:
            assert word.isdigit()
            stack[-1][1].append(int(word))
    ((root, [value]),) = stack
    assert root == "root"
    return value, deepest


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(2, 10), st.integers(0, 5))
def test_labels_are_the_values(depth, arguments, seed):
    task = list_ops(length=48, shortest=4, depth=depth, arguments=arguments, seed=seed)
    for x, y in zip(*task.train(60, 30)[:2], strict=True):
        words = [WORDS[i] for i in x]
        start = next(i for i, word in enumerate(words) if word != "PAD")
        assert "PAD" not in words[start:]  # padding on the left, the end at the end
        value, deepest = read(words[start:], arguments)
        assert value == y
        assert deepest <= depth
        assert 4 <= len(words) - start <= 48


def test_long_ones_and_the_default_shortest():
    task = list_ops(test_examples=32)
    lengths = (task.test.inputs > 0).sum(axis=1)
    assert lengths.min() >= 500
    assert lengths.max() <= 2000
    for x, y in zip(task.test.inputs, task.test.targets, strict=True):
        assert read([WORDS[i] for i in x if i], 10)[0] == y


def by_recursion(rng: random.Random, depth: int, deepest: int, arguments: int) -> int:
    """Tokens of one tree, by the published procedure."""
    if depth < deepest and rng.random() < 0.25:
        n = rng.randint(2, arguments)
        return 2 + sum(by_recursion(rng, depth + 1, deepest, arguments) for _ in range(n))
    return 1


def test_lengths_are_distributed_as_by_the_published_procedure():
    n, edges = 20_000, np.array([1, 2, 6, 10, 15, 25, 50, 100])
    rng = random.Random(0)
    ours = random_trees(
        np.random.default_rng(0), n, shortest=1, longest=100, depth=5, arguments=8
    ).lengths
    theirs = np.array([by_recursion(rng, 1, 5, 8) for _ in range(n)])
    a = np.histogram(ours, edges)[0] / n  # out of all that were drawn
    b = np.histogram(theirs[theirs <= 100], edges)[0] / n
    assert (np.abs(a - b) < 5 * np.sqrt((a + b) / n)).all()
    assert 0.7 < a[0] < 0.8


def test_orders():
    check_order(lambda seed: list_ops(length=64, seed=seed, test_examples=20), start=60)
    check_streams(list_ops(length=256, test_examples=200), 300)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 3}, "length is 3"),
        ({"shortest": 2001}, "shortest is 2001; accepted is at most length, 2000"),
        ({"depth": 1}, "depth is 1"),
        ({"arguments": 1}, "arguments is 1"),
    ],
)
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        list_ops(**arguments)


def test_lengths_that_do_not_occur_are_refused(monkeypatch):
    monkeypatch.setattr("farwide.data.listops.TRIALS", 2)
    with pytest.raises(ValueError, match="expressions had shortest=20 to length=30 tokens"):
        list_ops(length=30, shortest=20, depth=2, arguments=4)
