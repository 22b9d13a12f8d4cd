"""Stochastic Lanczos quadrature: against eigenvalues."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory.spectra import Product, hessian_product, lanczos_spectrum


def random_matrix(P: int, seed: int = 0) -> np.ndarray:
    """Symmetric, a semicircle with two outliers."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((P, P)) / np.sqrt(2 * P)
    H = W + W.T
    H[0, 0] += 5
    H[1, 1] -= 4
    return H


def product(H: np.ndarray) -> Product:
    A = jnp.asarray(H)
    return Product(lambda v: A @ v, len(H), A.dtype)


def test_as_many_steps_as_rows_give_every_eigenvalue():
    H = random_matrix(30)
    with jax.enable_x64(True):
        found = lanczos_spectrum(product(H), key=jax.random.key(0), probes=3, steps=50)
    assert found.nodes.shape == (3, 30)
    for nodes in found.nodes:
        np.testing.assert_allclose(nodes, np.linalg.eigvalsh(H), atol=1e-9)
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-12)


def test_moments_and_ends_of_a_large_matrix():
    H = random_matrix(600)
    values = np.linalg.eigvalsh(H)
    with jax.enable_x64(True):
        found = lanczos_spectrum(product(H), key=jax.random.key(1), probes=20, steps=40)
    assert found.largest == pytest.approx(values[-1], rel=1e-8)
    assert found.smallest == pytest.approx(values[0], rel=1e-8)
    assert found.moment(0) == pytest.approx(1)
    for power in (1, 2, 3, 4, 6):
        off = found.moment(power) - (values**power).mean()
        assert abs(off) < 4 * found.moment_error(power)
        assert found.moment_error(power) < 0.1 * (np.abs(values) ** power).mean()
    at = np.linspace(-6, 7, 2001)
    exact = np.exp(-0.5 * ((at[:, None] - values) / 0.3) ** 2).mean(1) / (0.3 * np.sqrt(2 * np.pi))
    density = found.density(at, 0.3)
    assert density.sum() * (at[1] - at[0]) == pytest.approx(1, rel=1e-6)
    assert np.abs(density - exact).max() < 0.05 * exact.max()


def test_each_probe_has_its_moments_exactly():
    """A Gauss rule of k nodes integrates powers up to 2k - 1 of the probe's own measure."""
    H = random_matrix(50)
    with jax.enable_x64(True):
        key = jax.random.key(2)
        found = lanczos_spectrum(product(H), key=key, probes=2, steps=4)
        starts = np.asarray(jax.random.rademacher(key, (2, 50), jnp.float64)) / np.sqrt(50)
    for v, nodes, weights in zip(starts, found.nodes, found.weights, strict=True):
        for power in range(8):
            exact = v @ np.linalg.matrix_power(H, power) @ v
            assert weights @ nodes**power == pytest.approx(exact, rel=1e-9)
        assert weights @ nodes**8 != pytest.approx(v @ np.linalg.matrix_power(H, 8) @ v, rel=1e-3)


@pytest.mark.parametrize("x64", [True, False])
def test_a_space_that_closes_ends_a_probe(x64):
    values = np.repeat([1.0, 3.0, 7.0], 20)
    with jax.enable_x64(x64):
        H = product(np.diag(values))
        found = lanczos_spectrum(H, key=jax.random.key(3), probes=4, steps=12)
    assert (found.weights[:, 3:] == 0).all()
    np.testing.assert_allclose(found.nodes[:, :3], [[1, 3, 7]] * 4, rtol=1e-5)
    np.testing.assert_allclose(found.weights[:, :3], 1 / 3, rtol=1e-5)
    assert found.largest == pytest.approx(7, rel=1e-5)
    assert found.moment(1) == pytest.approx(values.mean(), rel=1e-5)


def test_the_hessian_of_a_loss():
    x = jax.random.normal(jax.random.key(0), (40, 5))
    y = jnp.sin(x[:, 0])

    def loss(params):
        hidden = jnp.tanh(x @ params["w"] + params["b"])
        return jnp.mean((hidden @ params["out"] - y) ** 2)

    keys = jax.random.split(jax.random.key(1), 3)
    params = {
        "w": jax.random.normal(keys[0], (5, 6)),
        "b": jax.random.normal(keys[1], (6,)),
        "out": jax.random.normal(keys[2], (6,)),
    }
    found = lanczos_spectrum(hessian_product(loss, params), key=jax.random.key(2), steps=42)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    H = jax.jit(jax.hessian(lambda p: loss(unravel(p))))(flat)
    values = np.linalg.eigvalsh(np.asarray(H, np.float64))
    assert found.size == 42
    assert found.largest == pytest.approx(values[-1], rel=1e-4)
    assert found.smallest == pytest.approx(values[0], rel=1e-2)


def test_what_is_refused():
    H = product(np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match="probes must be at least 1, got 0"):
        lanczos_spectrum(H, key=jax.random.key(0), probes=0)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        lanczos_spectrum(H, key=jax.random.key(0), steps=0)
    bad = Product(lambda v: v * jnp.nan, 3, jnp.float32)
    with pytest.raises(FloatingPointError, match="not finite"):
        lanczos_spectrum(bad, key=jax.random.key(0))
    found = lanczos_spectrum(H, key=jax.random.key(0))
    with pytest.raises(ValueError, match="width must be > 0"):
        found.density(np.zeros(1), 0.0)
