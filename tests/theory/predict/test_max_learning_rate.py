"""Gradient descent converges just below the rate and diverges just above it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.theory.predict.problems import joint, paired
from theory.predict import max_learning_rate


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_the_edge_of_stability(momentum):
    k = joint(6, 0)[1]
    size = 18  # three outputs each
    edge = max_learning_rate(k, size, momentum)
    worst = np.linalg.eigh(k)[1][:, -1]

    def run(rate):
        f, step = worst, 0.0
        for _ in range(4000):
            step = momentum * step - rate / size * (k @ f)
            f = f + step
        return np.abs(f).max()

    assert run(0.99 * edge) < 1e-3
    assert run(1.01 * edge) > 1e3


def test_paired_axes_and_traced_kernels():
    k = joint(6, 0)[1]
    expected = 2 * 6 / np.linalg.eigvalsh(k)[-1]
    assert max_learning_rate(paired(k, (3, 2), (3, 2))) == pytest.approx(expected, rel=1e-10)
    assert float(jax.jit(max_learning_rate)(jnp.asarray(k))) == pytest.approx(expected, rel=1e-10)
    assert max_learning_rate(np.zeros((2, 2))) == pytest.approx(4e12)
    with pytest.raises(ValueError, match="ntk_train_train must have shape"):
        max_learning_rate(k[:3])
    with pytest.raises(ValueError, match="ntk_train_train must be finite"):
        max_learning_rate(np.full((2, 2), np.inf))
