"""A refused setting is named, with its value and what is accepted."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.validate import at_least, one_of, probability


def test_what_is_accepted_passes():
    at_least(2, width=2, depth=np.int64(3))
    one_of(("a", "b"), kind="b")
    probability(dropout=0.0)


@pytest.mark.parametrize("wrong", [1, 1.5, True, None, "2", np.float32(2)])
def test_a_size_is_an_integer(wrong):
    with pytest.raises(ValueError, match=r"depth is .*; accepted is an integer of at least 2"):
        at_least(2, width=4, depth=wrong)


def test_a_choice_and_a_probability():
    with pytest.raises(ValueError, match="kind is 'c'; accepted are 'a', 'b'"):
        one_of(("a", "b"), kind="c")
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"dropout is .*; accepted is 0 <= dropout < 1"):
            probability(dropout=wrong)
