"""Programs whose import line alone differs give what they give with neural_tangents.

Rule, in float64: every entry within ALLOWED of the largest one. It is 1e-6, and not the 1e-10 of
the kernels, because what is compared lies behind a solve: the pairs (x, x) of the oracle's k(x, x)
are off by up to 1e-7, and a prediction depends on them. Programs without k(x, x) keep EXACT.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.golden.programs import OURS, programs, run

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "usages.npz"
ALLOWED, EXACT = 1e-6, 1e-10
NO_SOLVE = ("expansions", "finite_networks", "monte_carlo")
PROGRAMS = programs()


@cache
def golden() -> dict[str, np.ndarray]:
    """Every stored array by name."""
    with np.load(GOLDEN) as stored:
        return dict(stored)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_it_gives_with_the_peer(name):
    expected = {
        key.split("/")[1]: value for key, value in golden().items() if key.startswith(f"{name}/")
    }
    with jax.enable_x64(True):
        result = {key: np.asarray(value) for key, value in run(PROGRAMS[name], name, OURS).items()}
    assert set(result) == set(expected)
    allowed = EXACT if name in NO_SOLVE else ALLOWED
    for key, value in result.items():
        assert value.shape == expected[key].shape, key
        scale = np.abs(expected[key]).max() or 1.0
        error = np.abs(value.astype(float) - expected[key]).max() / scale
        assert error <= allowed, f"{key}: {error:.1e}"


def test_ten_programs_at_least_are_compared():
    assert len(PROGRAMS) >= 10


@pytest.mark.parametrize("text", ["import numpy\n", OURS + OURS, OURS + "theory.stax\n"])
def test_a_program_imports_the_library_in_one_line(text):
    with pytest.raises(ValueError, match="once"):
        run(text, "program", OURS)
