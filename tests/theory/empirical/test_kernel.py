"""Empirical covariances, both kernels together, and products with vectors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory.empirical import (
    empirical_kernel_fn,
    empirical_nngp_fn,
    empirical_ntk_fn,
    empirical_ntk_vp_fn,
)

W = jax.random.normal(jax.random.key(0), (4, 3))
X1, X2 = (jax.random.normal(jax.random.key(i), (n, 5, 4)) for i, n in ((1, 3), (2, 2)))


def net(p, x, scale=1.0):
    return scale * jnp.tanh(x @ p)


@pytest.mark.parametrize(
    ("trace", "diagonal", "form"),
    [
        ((-1,), (), "iac,jbc->ijab"),
        ((), (), "iac,jbd->ijabcd"),
        ((1, 2), (), "iac,jac->ij"),
        ((-1,), (1,), "iac,jac->ija"),
        ((), (1, -1), "iac,jac->ijac"),
    ],
)
def test_covariance_of_outputs(trace, diagonal, form):
    actual = empirical_nngp_fn(net, trace, diagonal)(
        X1, X2, W, scale=(jnp.ones(()), 2 * jnp.ones(()))
    )
    y1, y2 = np.asarray(net(W, X1)), 2 * np.asarray(net(W, X2))
    size = np.prod([y1.shape[a] for a in trace])
    np.testing.assert_allclose(actual, np.einsum(form, y1, y2) / size, rtol=1e-5, atol=1e-6)


def test_what_get_names():
    fn = empirical_kernel_fn(net, (1, 2), vmap_axes=0)
    both = fn(X1, X2, None, W)
    assert both._fields == ("nngp", "ntk")
    assert type(both).__name__ == "EmpiricalKernel"
    np.testing.assert_allclose(fn(X1, X2, "ntk", W), both.ntk, rtol=1e-6)
    np.testing.assert_allclose(both.ntk, empirical_ntk_fn(net, (1, 2))(X1, X2, W), rtol=1e-5)
    turned = fn(X1, None, ("ntk", "nngp"), W)
    assert turned._fields == ("ntk", "nngp")
    np.testing.assert_allclose(turned.nngp, empirical_nngp_fn(net, (1, 2))(X1, X1, W), rtol=1e-6)
    for get in ("cov1", ("nngp", "x"), ()):
        with pytest.raises(ValueError, match="get must be one of nngp, ntk"):
            fn(X1, X2, get, W)


def test_several_outputs_have_a_kernel_each():
    fn = empirical_kernel_fn(lambda p, x: (net(p, x), x.mean(1) @ p), vmap_axes=0)
    first, second = fn(X1, X2, None, W)
    assert first.ntk.shape == first.nngp.shape == (3, 2, 5, 5)
    assert second.ntk.shape == (3, 2)
    gram = np.asarray(X1.mean(1) @ X2.mean(1).T)
    np.testing.assert_allclose(second.ntk, gram, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("same", [True, False])
def test_products_are_those_of_the_kernel(same):
    x2 = None if same else X2
    full = np.asarray(empirical_ntk_fn(net, ())(X1, x2, W))
    v = jax.random.normal(jax.random.key(9), (*(X1 if same else X2).shape[:2], 3))
    actual = jax.jit(empirical_ntk_vp_fn(net, X1, x2, W))(v)
    np.testing.assert_allclose(actual, np.einsum("ijabcd,jbd->iac", full, v), rtol=1e-4, atol=1e-4)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="same size along trace_axes"):
        empirical_nngp_fn(net, 1)(X1, X2[:, :3], W)
    with pytest.raises(TypeError, match="arrays or hashable"):
        empirical_nngp_fn(net)(X1, X2, W, scale={1, 2})
