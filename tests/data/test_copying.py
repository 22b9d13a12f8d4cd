"""Copying: what comes back at the end is what was said, in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farwide.data import delayed_copy, selective_copy
from tests.data.orders import check_order, check_streams

KINDS = [selective_copy, delayed_copy]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 8), st.integers(0, 20), st.integers(4, 12))
def test_the_targets_are_the_data_in_order(kind, tokens, more, alphabet):
    task = kind(length=2 * tokens + more, tokens=tokens, alphabet=alphabet, test_examples=1)
    for x, y, w in zip(*task.train(9, 20), strict=True):
        body, end = x[:-tokens], x[-tokens:]
        assert (end == alphabet - 1).all()
        assert (body < alphabet - 1).all()
        assert body[body > 0].tolist() == y[-tokens:].tolist()
        assert np.flatnonzero(w).tolist() == list(range(len(x) - tokens, len(x)))
        assert not y[:-tokens].any()
        if kind is delayed_copy:
            assert not body[tokens:].any()


def test_selective_places_are_uniform():
    x = selective_copy(length=24, tokens=4, test_examples=1).train(0, 5000).inputs[:, :20]
    share = (x > 0).mean(axis=0)
    assert np.abs(share - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 5000)


@pytest.mark.parametrize("kind", KINDS)
def test_orders(kind):
    check_order(lambda seed: kind(seed=seed, test_examples=20), start=250)
    check_streams(kind(test_examples=500), 2000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 31, "tokens": 16}, "length is 31; accepted is an integer of at least 32"),
        ({"alphabet": 3}, "alphabet is 3"),
        ({"tokens": 0}, "tokens is 0"),
    ],
)
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        selective_copy(**arguments)
