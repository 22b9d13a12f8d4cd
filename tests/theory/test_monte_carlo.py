"""Averages over random networks."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory import monte_carlo_kernel_fn, stax

KEY = jax.random.key(0)
X1, X2 = (jax.random.normal(jax.random.key(i), (n, 4)) for i, n in ((1, 3), (2, 2)))


def linear_init(key, shape):
    return (shape[0], 6), jax.random.normal(key, (shape[1], 6))


def linear(p, x):
    return x @ p


def test_average_is_within_its_standard_error():
    fn = monte_carlo_kernel_fn(linear_init, linear, KEY, 200, vmap_axes=0)
    found = fn(X1, X2, ("nngp", "nngp_stderr", "ntk", "ntk_stderr"))
    assert type(found).__name__ == "MonteCarloKernel"
    gram = np.asarray(X1 @ X2.T)
    norms = np.einsum("ic,ic->i", X1, X1)[:, None] * np.einsum("jc,jc->j", X2, X2)
    spread = np.sqrt((norms + gram**2) / 6)  # of one network: Wishart
    np.testing.assert_allclose(found.nngp_stderr, spread / np.sqrt(200), rtol=0.25)
    assert np.abs((found.nngp - gram) / found.nngp_stderr).max() < 4
    np.testing.assert_allclose(found.ntk, gram, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.ntk_stderr, 0, atol=1e-5)


def test_several_numbers_of_samples_give_a_generator():
    found = monte_carlo_kernel_fn(linear_init, linear, KEY, [3, 1, 3])(X1, None, "nngp")
    assert isinstance(found, types.GeneratorType | map)
    estimates = [np.asarray(k) for k in found]
    assert len(estimates) == 2
    once = [
        np.asarray(monte_carlo_kernel_fn(linear_init, linear, KEY, n)(X1, None, "nngp"))
        for n in (1, 3)
    ]
    np.testing.assert_allclose(estimates, once, rtol=1e-5, atol=1e-6)


def test_tiles_have_one_network():
    whole = monte_carlo_kernel_fn(linear_init, linear, KEY, 2)(X1, X2)
    tiles = monte_carlo_kernel_fn(
        linear_init, linear, KEY, 2, batch_size=2, device_count=0, store_on_device=False
    )(X1, X2)
    assert isinstance(tiles.nngp, np.ndarray)
    for a, e in zip(tiles, whole, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)


def test_a_key_is_handed_to_networks_that_take_one():
    def noisy(p, x, rng):
        return x @ p + jax.random.normal(rng, (x.shape[0], 6))

    quiet = monte_carlo_kernel_fn(linear_init, linear, KEY, 2)(X1, None, "nngp")
    noise = monte_carlo_kernel_fn(linear_init, noisy, KEY, 2)(X1, None, "nngp")
    assert np.abs(np.asarray(noise - quiet)).max() > 0.1


@pytest.mark.slow
def test_wide_networks_approach_the_limit_at_the_rate_of_their_width():
    errors = []
    for width in (32, 512):
        init_fn, apply_fn, kernel_fn = stax.serial(
            stax.Dense(width), stax.Relu(), stax.Dense(width), stax.Relu(), stax.Dense(1)
        )
        fn = monte_carlo_kernel_fn(init_fn, apply_fn, KEY, 200, vmap_axes=0)
        found = fn(X1, X2, ("ntk", "ntk_stderr"))
        expected = kernel_fn(X1, X2, "ntk")
        assert np.abs((found.ntk - expected) / found.ntk_stderr).max() < 4.5
        errors.append(np.linalg.norm(found.ntk_stderr))
    assert 2.5 < errors[0] / errors[1] < 6.5  # sqrt(16) = 4


@pytest.mark.parametrize("n_samples", [0, -1, [], [1, 0], [1.5]])
def test_wrong_numbers_of_samples(n_samples):
    with pytest.raises(ValueError, match="n_samples must be positive ints"):
        monte_carlo_kernel_fn(linear_init, linear, KEY, n_samples)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="n_samples must be an int or several of them, got float"):
        monte_carlo_kernel_fn(linear_init, linear, KEY, 1.5)
    with pytest.raises(ValueError, match="get must be one of nngp, ntk, nngp_stderr, ntk_stderr"):
        monte_carlo_kernel_fn(linear_init, linear, KEY, 1)(X1, X2, "cov1")
    with pytest.raises(ValueError, match="at least 2 for standard errors"):
        monte_carlo_kernel_fn(linear_init, linear, KEY, 1)(X1, X2, "ntk_stderr")
    assert jnp.isfinite(monte_carlo_kernel_fn(linear_init, linear, KEY, 1)(X1, X2, "ntk")).all()
