"""Designs that cannot tell parameters apart are reported in words."""

import numpy as np
import pytest

from tests.theory.scaling.planted import SMALL, chinchilla
from theory import scaling


def runs(N, D, noise=0.01):
    loss = SMALL["E"] + SMALL["A"] * N ** -SMALL["alpha"] + SMALL["B"] * D ** -SMALL["beta"]
    shock = np.random.default_rng(0).normal(size=np.shape(loss))
    return {"N": N, "D": D, "loss": loss * np.exp(noise * shock)}


N = chinchilla(24, 0, 0.0, small=True)["N"]


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_dataset_size(noise):
    data = runs(N, np.full(24, 1e6), noise)
    fit = scaling.fit("chinchilla", data, bootstrap=10)
    assert fit.status == "unidentifiable"
    assert fit.notes[0] == "all runs share one D (1e+06): E, B and beta cannot be separated"
    assert fit.bootstrap_status == {
        "converged": 0,
        "at bound": 0,
        "unidentifiable": 10,
        "failed": 0,
    }
    # What can be told is told: the curve over N at that D.
    assert np.max(np.abs(fit.residuals)) < 5 * noise + 1e-6


def test_one_model_size():
    fit = scaling.fit("chinchilla", runs(np.full(24, 1e5), 10 * N))
    assert fit.status == "unidentifiable"
    assert fit.notes[0] == "all runs share one N (100000): E, A and alpha cannot be separated"


def test_one_dataset_size_that_the_law_does_without():
    """E and B end at zero, so their sum is told; the design is reported all the same."""
    loss = 30 * N**-0.3 - 0.05
    fit = scaling.fit("chinchilla", {"N": N, "D": np.full(24, 1e6), "loss": loss})
    assert (fit.params["E"], fit.params["B"]) == (0.0, 0.0)
    assert fit.status == "unidentifiable"
    assert fit.notes[0] == "all runs share one D (1e+06): B and beta cannot be separated"


def test_two_dataset_sizes():
    fit = scaling.fit("chinchilla", runs(N, np.where(np.arange(24) % 2, 1e5, 1e6), 0.0))
    assert fit.status == "unidentifiable"
    assert "only two values of D" in fit.notes[0]
    assert "beta" in fit.notes[0]


def test_a_fixed_ratio_of_tokens_to_parameters():
    fit = scaling.fit("chinchilla", runs(N, 20 * N))
    assert fit.status == "unidentifiable"
    assert "D" in fit.notes[0]
    assert "N" in fit.notes[0]


def test_a_constant_column_of_a_one_variable_law():
    fit = scaling.fit("m2", {"x": np.full(8, 2.0), "y": np.linspace(1, 1.1, 8)})
    assert fit.status == "unidentifiable"
    assert "all runs share one x (2)" in fit.notes[0]


def test_a_term_that_the_data_do_not_ask_for_is_at_its_bound():
    D = np.exp(np.random.default_rng(9).uniform(12, 15, 24))
    loss = 1.0 + 30 * N**-0.35 + 1e-3 * np.log(D)  # rises with D, which the law cannot
    fit = scaling.fit("chinchilla", {"N": N, "D": D, "loss": loss})
    assert fit.status == "at bound"
    assert fit.notes == ("B is 0, the end of its range, so beta has no effect",)


def test_a_sound_design_has_no_notes():
    fit = scaling.fit("chinchilla", chinchilla(24, 0, 0.01, small=True))
    assert (fit.status, fit.notes) == ("converged", ())
