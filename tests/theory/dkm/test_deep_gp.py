"""Sampled deep Gaussian processes: their prior, their limit, and what they are asked for."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest

from tests.numerics import relative_l2
from tests.theory.dkm import oracle
from theory.dkm.deep_gp import sample_deep_gp

SETTINGS = {"kernel": "squared_exponential", "noise_variance": 0.1, "depth": 1}


@pytest.fixture(autouse=True)
def _double():
    pytest.importorskip("blackjax")
    with jax.enable_x64(True):
        yield


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def sampled(**change):
    G0, y = oracle.toy()
    given = {"nu": 1.0, "width": 8, "chains": 8, "warmup": 500, "steps": 2000} | SETTINGS | change
    return sample_deep_gp(key(), G0, y, **given)


def test_the_prior_and_the_posterior():
    """E[G_1] = K_1 a priori; a posteriori it is at 0.032 of its limit, which is 0.32 away."""
    G0, _ = oracle.toy()
    K = oracle.squared_exponential(G0) + 1e-6 * np.eye(6)
    prior = sampled(likelihood=0.0)
    noise = np.linalg.norm(prior.error()[0]) / np.linalg.norm(K)
    assert prior.widths == (8,)
    assert noise < 0.05
    assert relative_l2(prior.mean()[0], K) < 4 * noise
    out = sampled()
    for each in (prior, out):
        assert each.grams[0].shape == (8, 6, 6)
        acceptance = np.asarray(each.acceptance)
        assert abs(acceptance.mean() - 0.574) < 0.1
        assert acceptance.min() > 0.3
    limit = np.array(oracle.TOY_GRAM)
    moved = relative_l2(out.mean()[0], limit)
    noise = np.linalg.norm(out.error()[0]) / np.linalg.norm(limit)
    assert moved < 0.032 + 4 * noise
    assert moved < 0.5 * relative_l2(K, limit)


def test_layers_of_different_widths():
    """Deeper, E[G_2 | G_1] = K(G_1) + jitter I; its diagonal is 1 + jitter whatever G_1."""
    out = sampled(depth=2, nu=np.array([0.5, 2.0]), likelihood=0.0, chains=4, steps=1000)
    assert out.widths == (4, 16)
    diagonal = np.diagonal(out.mean()[1])
    error = np.diagonal(out.error()[1])
    assert np.all(np.abs(diagonal - 1) < 5 * error + 1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width must be a whole number, at least 1, got 0"),
        ({"depth": 0}, "depth must be a whole number, at least 1, got 0"),
        ({"chains": 1}, "chains must be a whole number, at least 2, got 1"),
        ({"steps": 1.5}, "steps must be a whole number, at least 1, got 1.5"),
        ({"nu": 0.3}, r"width times nu must be whole numbers, at least 1, got \[2.4"),
        ({"nu": np.inf}, r"width times nu must be whole numbers, at least 1, got \[inf"),
        ({"step_size": -1.0}, "step_size must be positive, got -1.0"),
    ],
)
def test_errors_name_the_argument(change, message):
    with pytest.raises(ValueError, match=message):
        sampled(**change)


def test_without_blackjax_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    with pytest.raises(ImportError, match=r"pip install 'farwide\[sampling\]'"):
        sampled()
