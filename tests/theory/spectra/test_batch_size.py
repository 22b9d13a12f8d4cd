"""Batch Hessians: formulas against eigenvalues of drawn ones, and the rates that follow."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory.spectra import (
    adam_learning_rate,
    batch_gauss_newton_eigenvalue,
    batch_hessian_eigenvalue,
    scaled_learning_rate,
    sgd_learning_rate,
)


def batch_hessian(l1, sigma, P, B, rng):
    """The mean of B Hessians l1 e e^T + sigma W_i; the mean of B such W_i is one/sqrt(B)."""
    W = rng.standard_normal((P, P))
    H = sigma * (np.tril(W) + np.tril(W, -1).T) / np.sqrt(B)
    H[0, 0] += l1
    return H


@pytest.mark.parametrize("batch", [4, 16, 64, 256])
def test_the_largest_eigenvalue_of_drawn_batch_hessians(batch):
    """P = 400, l1 = 4, sigma = 1: below B = 25 the noise hides the largest eigenvalue."""
    rng = np.random.default_rng(batch)
    P, l1, sigma = 400, 4.0, 1.0
    tops = [np.linalg.eigvalsh(batch_hessian(l1, sigma, P, batch, rng))[-1] for _ in range(8)]
    expected = batch_hessian_eigenvalue(l1, sigma, P, batch)
    assert np.mean(tops) == pytest.approx(float(expected), rel=0.02)
    assert (expected > l1) == (batch < np.inf)


def test_the_mean_of_drawn_hessians_is_the_drawn_mean():
    """The shortcut above, against B Hessians drawn one by one."""
    rng = np.random.default_rng(0)
    P, B = 200, 10
    each = [batch_hessian(3.0, 1.0, P, 1, rng) for _ in range(B)]
    top = np.linalg.eigvalsh(np.mean(each, 0))[-1]
    assert top == pytest.approx(float(batch_hessian_eigenvalue(3.0, 1.0, P, B)), rel=0.06)


@pytest.mark.parametrize("batch", [50, 200, 800, 3200])
def test_the_largest_eigenvalue_of_drawn_gauss_newton_matrices(batch):
    """P = 400, l1 = 3: hidden below B = 100."""
    rng = np.random.default_rng(batch)
    P, l1 = 400, 3.0
    tops = []
    for _ in range(6):
        G = rng.standard_normal((batch, P))
        G[:, 0] *= np.sqrt(l1)
        small = G @ G.T if batch < P else G.T @ G
        tops.append(np.linalg.eigvalsh(small / batch)[-1])
    expected = float(batch_gauss_newton_eigenvalue(l1, 1.0, P, batch))
    assert np.mean(tops) == pytest.approx(expected, rel=0.03)


def test_both_forms_are_continuous_where_the_eigenvalue_appears():
    P, l1, sigma = 1000.0, 2.0, 0.5
    at = P * (sigma / l1) ** 2
    low, high = batch_hessian_eigenvalue(l1, sigma, P, [at * (1 - 1e-9), at * (1 + 1e-9)])
    assert low == pytest.approx(high, rel=1e-6)
    at = P / (l1 / sigma - 1) ** 2
    low, high = batch_gauss_newton_eigenvalue(l1, sigma, P, [at * (1 - 1e-9), at * (1 + 1e-9)])
    assert low == pytest.approx(high, rel=1e-6)


def test_rates_against_the_batch_size():
    P, sigma = 1e6, 1.0
    B = np.array([1.0, 10, 100])
    hidden = sgd_learning_rate(batch_hessian_eigenvalue(1.0, sigma, P, B))
    np.testing.assert_allclose(hidden[1:] / hidden[:-1], np.sqrt(10), rtol=1e-12)
    linear = sgd_learning_rate(batch_gauss_newton_eigenvalue(1.5, 1.0, P, B))
    np.testing.assert_allclose(linear[1:] / linear[:-1], 10, rtol=0.03)
    for form in (batch_hessian_eigenvalue, batch_gauss_newton_eigenvalue):
        assert sgd_learning_rate(form(4.0, 1.0, P, 1e14)) == pytest.approx(0.5, rel=1e-6)
    adam = adam_learning_rate(sigma, P, B)
    np.testing.assert_allclose(adam, np.sqrt(B / P))
    rule = partial(batch_hessian_eigenvalue, 1.0, sigma, P)
    np.testing.assert_allclose(scaled_learning_rate(0.1, 1.0, B, rule), 0.1 * np.sqrt(B))


def test_descent_on_a_batch_diverges_above_its_rate_and_not_below():
    rng = np.random.default_rng(1)
    H = batch_hessian(4.0, 1.0, 300, 50, rng)
    H = H @ H  # a convex quadratic
    rate = float(sgd_learning_rate(np.linalg.eigvalsh(H)[-1]))
    for factor, grows in ((0.98, False), (1.02, True)):
        w = start = rng.standard_normal(300)
        for _ in range(400):
            w = w - factor * rate * (H @ w)
        assert (np.linalg.norm(w) > np.linalg.norm(start)) == grows


def test_a_small_network_is_no_wigner_matrix():
    """A limit, kept in view: one example's Hessian has few directions, so that small batches of a
    network have a larger top eigenvalue than noise of independent entries of its size gives.
    """
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (200, 12))
    y = jnp.argmax(x[:, :4], 1)
    w = jnp.concatenate(
        [jax.random.normal(keys[1], (12 * 8,)) / 3, jax.random.normal(keys[2], (32,)) / 3]
    )

    def loss(w, x, y):
        scores = jnp.tanh(x @ w[:96].reshape(12, 8)) @ w[96:].reshape(8, 4)
        return -jnp.take_along_axis(jax.nn.log_softmax(scores), y[:, None], 1).mean()

    hessian = jax.jit(jax.vmap(jax.hessian(loss), (None, 0, 0)))
    each = np.asarray(hessian(w, x[:, None], y[:, None]), np.float64)
    full = each.mean(0)
    l1, sigma = np.linalg.eigvalsh(full)[-1], np.sqrt(((each - full) ** 2).mean())
    rng = np.random.default_rng(0)
    tops = [np.linalg.eigvalsh(each[rng.integers(0, 200, 4)].mean(0))[-1] for _ in range(50)]
    expected = batch_hessian_eigenvalue(l1, sigma, len(w), 4)
    assert expected > l1
    assert np.mean(tops) > 1.2 * expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batch_hessian_eigenvalue(0, 1, 1, 1), "l1 must be"),
        (lambda: batch_hessian_eigenvalue(1, -1, 1, 1), "sigma must be"),
        (lambda: batch_gauss_newton_eigenvalue(1, 1, 0, 1), "parameters must be"),
        (lambda: batch_gauss_newton_eigenvalue(1, 1, 1, 0), "batch must be"),
        (lambda: batch_hessian_eigenvalue(1, 1, 1, np.inf), "batch must be finite"),
        (lambda: adam_learning_rate(0, 1, 1), "sigma must be"),
        (lambda: sgd_learning_rate(0), "batch_eigenvalue must be"),
        (lambda: scaled_learning_rate(0, 1, 1, float), "rate must be"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
