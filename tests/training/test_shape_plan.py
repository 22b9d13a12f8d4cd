"""Plans follow the steepest law, and their switches are where slopes cross."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.training.shape_plan import ComputeLaw, shape_plan

COARSE, FINE = ComputeLaw(1.0, 1.0, 0.5), ComputeLaw(0.5, 20.0, 0.5)


def test_a_switch_is_where_the_slopes_cross_at_equal_loss():
    first, second = shape_plan([COARSE, FINE], start=5.0, budget=1e4)
    assert (first.shape, second.shape) == (0, 1)
    at = second.loss
    # b A^(-1/b) (L - E)^(1 + 1/b): (L - 1)^3 = (L - 0.5)^3 / 400
    root = (1 - 0.5 * 400 ** (-1 / 3)) / (1 - 400 ** (-1 / 3))
    assert at == pytest.approx(root, rel=2e-3)
    assert first.compute == pytest.approx(COARSE.compute(at))
    assert first.compute + second.compute == pytest.approx(1e4)


def test_a_plan_is_no_worse_by_the_laws_than_either_shape():
    _, second = shape_plan([COARSE, FINE], start=5.0, budget=1e4)
    reached = FINE.loss(np.array(FINE.compute(second.loss) + second.compute))
    assert reached < min(COARSE.loss(np.array(1e4)), FINE.loss(np.array(1e4)))


def test_no_switch_where_none_pays_or_the_budget_ends_before():
    assert [s.shape for s in shape_plan([COARSE, FINE], 5.0, 10.0)] == [0]
    worse = ComputeLaw(1.5, 2.0, 0.5)
    assert [s.shape for s in shape_plan([COARSE, worse], 5.0, 1e9)] == [0]
    assert [s.shape for s in shape_plan([worse, COARSE], 5.0, 1e9)] == [1]


def test_slopes_are_derivatives():
    C = FINE.compute(2.0)
    assert FINE.loss(np.array(C)) == pytest.approx(2.0)
    numeric = (FINE.loss(np.array(C * 1.001)) - FINE.loss(np.array(C * 0.999))) / (0.002 * C)
    assert FINE.steepness(2.0) == pytest.approx(-numeric, rel=1e-4)
    assert FINE.steepness(0.4) == 0


@pytest.mark.parametrize(
    ("laws", "start", "budget", "words"),
    [
        ([], 1.0, 1.0, "laws is empty"),
        ([ComputeLaw(0.0, 1.0, -0.5)], 1.0, 1.0, r"laws\[0\]"),
        ([COARSE], 0.5, 1.0, "start is 0.5"),
        ([COARSE], 5.0, 0.0, "budget is 0.0"),
    ],
)
def test_refusals(laws, start, budget, words):
    with pytest.raises(ValueError, match=words):
        shape_plan(laws, start, budget)
