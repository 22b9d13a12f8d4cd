"""Coverage of the intervals over random laws: a few here, 200 of every form in the slow suite."""

import pytest

from benchmarks.scaling_recovery import DRAWS, recover


@pytest.mark.parametrize("form", ["m1", "chinchilla"])
def test_true_parameters_lie_in_their_intervals(form):
    found = recover(form, 25, 40)
    assert found["identified"] == 25
    assert found["fits_above_the_truth"] == 0
    # 20 or fewer of 25 at 0.95 happen with probability 0.0002 a parameter; 40 replicates cover less
    assert min(found["profile"].values()) >= 0.84
    assert min(found["bootstrap"].values()) >= 0.68


@pytest.mark.slow
@pytest.mark.parametrize("form", DRAWS)
def test_two_hundred_laws(form):
    found = recover(form, 200)
    assert found["fits_above_the_truth"] == 0
    assert found["identified"] >= 100
    assert min(found["profile"].values()) >= 0.88
    assert max(found["profile"].values()) <= 0.995
