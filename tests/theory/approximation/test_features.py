"""Random features: right on average, at the rate and with the errors that they tell."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory import stax
from theory.approximation import (
    arc_cosine_features,
    kernel_estimate,
    nngp_features,
    ntk_features,
)

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
X2 = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)


def arc_cosine(x, y, order):
    """E s(g.x) s(g.y): Cho and Saul's closed forms, halved."""
    a, b = np.linalg.norm(x, axis=1)[:, None], np.linalg.norm(y, axis=1)
    t = np.arccos(np.clip(x @ y.T / (a * b), -1, 1))
    j = (np.pi - t, np.sin(t) + (np.pi - t) * np.cos(t))
    if order == 2:
        j2 = 3 * np.sin(t) * np.cos(t) + (np.pi - t) * (1 + 2 * np.cos(t) ** 2)
        return (a * b) ** 2 * j2 / (2 * np.pi)
    return (a * b) ** order * j[order] / (2 * np.pi)


def deviations(estimate, exact):
    """Root mean square of errors over standard errors: about 1 where both are right."""
    return float(np.sqrt(np.mean(((estimate.kernel - exact) / estimate.stderr) ** 2)))


@pytest.mark.parametrize("order", [0, 1, 2])
def test_arc_cosine_features(order):
    exact = arc_cosine(X, X2, order)
    errors = []
    for m in (500, 32000):
        features = arc_cosine_features(jax.random.key(order), 3, m, order=order)
        out = kernel_estimate(features(X), features(X2))
        assert 0.3 < deviations(out, exact) < 2.5
        errors.append(np.abs(np.asarray(out.kernel) - exact).mean())
    assert 2.5 < errors[0] / errors[1] < 25  # sqrt(64) = 8


@pytest.mark.slow
def test_orthogonal_directions_err_less_and_are_not_biased():
    x = np.random.default_rng(2).normal(size=(6, 8)).astype(np.float32)
    exact = arc_cosine(x, x, 1)
    keys = jax.random.split(jax.random.key(0), 300)

    def samples(orthogonal):
        def sample(key):
            phi = arc_cosine_features(key, 8, 16, orthogonal=orthogonal)(x)
            return phi @ phi.T

        return np.asarray(jax.jit(jax.vmap(sample))(keys))

    plain, coupled = samples(False), samples(True)
    assert ((coupled - exact) ** 2).mean() < 0.85 * ((plain - exact) ** 2).mean()
    bias = (coupled.mean(0) - exact) / (coupled.std(0) / np.sqrt(300))
    assert np.sqrt((bias**2).mean()) < 2.5


def network(width):
    return stax.serial(stax.Dense(width, 1.4, 0.1), stax.Relu(), stax.Dense(4, 1.2))


@pytest.mark.slow
def test_outputs_of_networks_estimate_the_nngp():
    init_fn, apply_fn, kernel_fn = network(256)
    features = nngp_features(init_fn, apply_fn, jax.random.key(0), 300, (-1, 3))
    phi = features(X)
    assert phi.shape == (8, 1200)
    out = kernel_estimate(phi, features(X2), group=4)
    assert 0.3 < deviations(out, kernel_fn(X, X2, "nngp")) < 2.5


@pytest.mark.slow
def test_random_directions_estimate_the_empirical_ntk():
    init_fn, apply_fn, _ = network(16)
    params = init_fn(jax.random.key(0), (-1, 3))[1]
    jacobian = jax.jacobian(apply_fn)(params, X)
    flat = np.concatenate([leaf.reshape(8, 4, -1) for leaf in jax.tree.leaves(jacobian)], -1)
    exact = np.einsum("icp,jcp->ij", flat, flat) / 4
    features = ntk_features(apply_fn, params, jax.random.key(1), 400)
    phi = features(X)
    assert phi.shape == (8, 1600)
    out = kernel_estimate(phi, group=4)
    assert 0.3 < deviations(out, exact) < 2.5


def test_groups_are_averaged_before_their_spread_is_taken():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, 6, 3)) for n in (4, 2))
    each = np.einsum("igc,jgc->gij", a, b)
    out = kernel_estimate(
        jnp.asarray(a.reshape(4, 18), jnp.float32),
        jnp.asarray(b.reshape(2, 18), jnp.float32),
        group=3,
    )
    np.testing.assert_allclose(out.kernel, each.sum(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.stderr, np.sqrt(6) * each.std(0, ddof=1), rtol=1e-3)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="must be at least 1"):
        arc_cosine_features(jax.random.key(0), 0, 4)
    with pytest.raises(ValueError, match=r"x must have shape \(n, 3\)"):
        arc_cosine_features(jax.random.key(0), 3, 4)(np.ones((2, 2)))
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        nngp_features(None, None, jax.random.key(0), 0, (1, 3))
    with pytest.raises(ValueError, match="n_features must be at least 1, got 0"):
        ntk_features(None, {}, jax.random.key(0), 0)
    with pytest.raises(
        ValueError, match=r"apply_fn must give outputs \(n, channels\), got \(2, 3, 1\)"
    ):
        ntk_features(lambda p, x: p * x[..., None], jnp.ones(()), jax.random.key(0), 2)(
            np.ones((2, 3))
        )
    with pytest.raises(ValueError, match="as many features"):
        kernel_estimate(jnp.ones((2, 3)), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="group must divide the 3 features"):
        kernel_estimate(jnp.ones((2, 3)), group=2)
