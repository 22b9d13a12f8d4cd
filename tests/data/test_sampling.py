"""Draws without replacement have the distribution of draws one after the other."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from farwide.data.sampling import distinct, weighted


@given(st.integers(1, 30), st.data())
def test_distinct_numbers_of_the_population(population, data):
    count = data.draw(st.integers(0, population))
    rows = distinct(np.random.default_rng(0), 5, population, count)
    assert rows.shape == (5, count)
    assert all(len(set(row)) == count for row in rows)
    assert count == 0 or (rows.min() >= 0 and rows.max() < population)


def frequencies(rows: np.ndarray) -> dict[tuple[int, ...], float]:
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    return {tuple(map(int, k)): c / len(rows) for k, c in zip(kinds, counts, strict=True)}


def test_every_ordered_choice_is_equally_likely():
    n = 60_000
    found = frequencies(distinct(np.random.default_rng(1), n, 4, 3))
    assert set(found) == set(permutations(range(4), 3))
    sigma = np.sqrt((1 / 24) * (23 / 24) / n)
    assert max(abs(f - 1 / 24) for f in found.values()) < 5 * sigma


def test_weighted_draws_are_successive_draws():
    n, w = 60_000, np.array([3.0, 1.0, 2.0])
    for count in (2, 3):
        found = frequencies(weighted(np.random.default_rng(2), n, w, count))
        assert len(found) == 6
        for (i, j, *_), f in found.items():
            p = w[i] / 6 * w[j] / (6 - w[i])
            assert abs(f - p) < 5 * np.sqrt(p * (1 - p) / n)
