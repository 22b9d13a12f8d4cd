"""Dropout: variances grow, covariances do not."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.stax.sampling import assert_network
from theory import stax

RNG = np.random.default_rng(5)
X1, X2 = (RNG.normal(size=(n, 3, 4)).astype(np.float32) for n in (3, 2))
BEFORE = stax.serial(stax.Dense(32, 1.3, 0.2), stax.Relu())
RATE = 0.6


@pytest.mark.parametrize("diagonal", [False, True])
def test_only_variances_grow(diagonal):
    options = {"diagonal_spatial": diagonal}
    plain = jax.tree.map(np.array, BEFORE.kernel_fn(X1, None, **options))
    kernel = stax.serial(BEFORE, stax.Dropout(RATE)).kernel_fn(X1, None, **options)
    n, p = np.ogrid[:3, :3]
    at = (n, n, p) if diagonal else (n, n, p, p)
    for name in ("nngp", "ntk"):
        expected = getattr(plain, name)
        expected[at] /= RATE
        assert_close(getattr(kernel, name), expected)
    plain.cov1[at[1:]] /= RATE
    assert_close(kernel.cov1, plain.cov1)
    assert not kernel.is_gaussian


def test_two_sets_keep_their_covariances():
    """Equal examples of two sets have masks of their own."""
    net = stax.serial(BEFORE, stax.Dropout(RATE))
    assert_close(net.kernel_fn(X1, X1.copy(), "ntk"), BEFORE.kernel_fn(X1, X1.copy(), "ntk"))


def test_finite_masks_keep_the_mean():
    x = np.ones((200, 100), np.float32)
    y = np.asarray(stax.Dropout(RATE).apply_fn((), x, rng=jax.random.key(0)))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / RATE)}
    assert abs(y.mean() - 1) < 5 * np.sqrt((1 / RATE - 1) / y.size)
    assert np.array_equal(stax.Dropout(1.0).apply_fn((), x, rng=jax.random.key(0)), x)


def test_mode_test_is_the_identity():
    layer = stax.Dropout(RATE, mode="test")
    assert np.array_equal(layer.apply_fn((), X1), X1)
    assert np.array_equal(
        layer.kernel_fn(X1, X2, "nngp"), stax.Identity().kernel_fn(X1, X2, "nngp")
    )


def test_what_cannot_be_used_is_refused():
    for rate in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
            stax.Dropout(rate)
    with pytest.raises(ValueError, match="mode must be one of"):
        stax.Dropout(RATE, mode="eval")
    with pytest.raises(ValueError, match="needs a PRNG key"):
        stax.Dropout(RATE).apply_fn((), X1)
    with pytest.raises(ValueError, match="cannot be applied to inputs"):
        stax.Dropout(RATE).kernel_fn(X1, X2)


@pytest.mark.slow
def test_finite_networks_approach_the_limit():
    wide = stax.Dense(64, 1.3, 0.2)
    net = stax.serial(wide, stax.Relu(), stax.Dropout(RATE), wide, stax.Relu(), wide)
    assert_network(net, X1[:2], X2, 64, 100)
