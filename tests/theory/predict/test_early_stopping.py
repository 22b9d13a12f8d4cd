"""Loss curves against predictions at each time."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import relative_max
from tests.theory.predict.problems import inputs, joint, kernel_fn, paired
from theory.predict import early_stopping, gradient_descent_mse


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def test_curves_are_the_losses_of_the_predictions():
    rng = np.random.default_rng(0)
    _, ntk = joint(6, 4)
    kept, test_kept = (3, 2), (2, 2)
    k = paired(ntk[:6, :6], kept, kept)
    cross = paired(ntk[6:, :6], test_kept, kept)
    y, y_test = rng.normal(size=(3, 2, 5)), rng.normal(size=(2, 2, 5))
    f0, g0 = rng.normal(size=(3, 2, 5)), rng.normal(size=(2, 2, 5))
    t = np.r_[0.0, np.geomspace(0.1, 1e4, 30)]
    curves = early_stopping(
        k, y, cross, y_test, t, fx_train_0=f0, fx_test_0=g0, learning_rate=0.7, diag_reg=0.1
    )
    train, test = gradient_descent_mse(k, y, 0.7, 0.1)(t, f0, g0, cross)
    assert relative_max(curves.train_loss, ((train - y) ** 2).mean((1, 2, 3)) / 2) < 1e-11
    losses = ((test - y_test) ** 2).mean((1, 2, 3)) / 2
    assert relative_max(curves.test_loss, losses) < 1e-11
    assert float(curves.best_t) == t[np.argmin(losses)]
    assert float(curves.best_test_loss) == pytest.approx(losses.min())


def test_noisy_targets_are_best_stopped_early_within_the_default_times():
    x, _, x_test = inputs(60, 200)
    truth = np.random.default_rng(1).normal(size=(5, 1))
    y = x @ truth + 2 * np.random.default_rng(2).normal(size=(60, 1))
    k, cross = kernel_fn(x, None, "ntk"), kernel_fn(x_test, x, "ntk")
    curves = early_stopping(k, y, cross, x_test @ truth)
    assert np.all(np.diff(curves.t) > 0)
    assert np.all(np.diff(curves.train_loss) <= 0)
    assert float(curves.train_loss[-1]) < 1e-3 * float(curves.train_loss[0])
    assert 0 < float(curves.best_t) < 0.1 * float(curves.t[-1])
    assert float(curves.best_test_loss) < 0.5 * float(curves.test_loss[-1])


@pytest.mark.parametrize("t", [np.array([2.0, 1.0]), np.array([-1.0]), 3.0, np.array([])])
def test_times_are_checked(t):
    with pytest.raises(ValueError, match="t must be a list of times"):
        early_stopping(np.eye(2), np.ones((2, 1)), np.ones((3, 2)), np.ones((3, 1)), t)


def test_test_targets_are_checked():
    with pytest.raises(ValueError, match=r"y_test must have shape \(3, 1\).*; got \(4, 1\)"):
        early_stopping(np.eye(2), np.ones((2, 1)), np.ones((3, 2)), np.ones((4, 1)))
