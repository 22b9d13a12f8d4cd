"""Kernels of Gram matrices: their formulas, and that they are theory.stax's own layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import assert_close, relative_max
from tests.theory.dkm.sparse import oracle
from tests.theory.dkm.sparse.quick import jit
from theory import dkm, stax

NAMES = sorted(oracle.KERNELS)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", NAMES)
def test_kernels_follow_their_formulas(name):
    triple = oracle.covariances(5, (2, 3), seed=1)
    expected = oracle.kernel(name, triple)
    actual = jit(dkm.gram_kernel(name))(dkm.Gram(*triple))
    for got, wanted in zip(actual, expected, strict=True):
        assert relative_max(got, wanted) < 1e-10
    assert relative_max(jit(dkm.matrix_kernel(name))(triple[0]), expected[0]) < 1e-10


@pytest.mark.parametrize("name", ["relu", "heaviside"])
def test_kernels_of_opposite_and_zero_points(name):
    x = np.array([[2.0, 2.0], [-2.0, -2.0], [0.0, 0.0]])
    K = np.asarray(dkm.matrix_kernel(name)(x @ x.T / 2))
    assert_close(K, np.diag([4.0, 4.0, 0.0]), "float64")


@pytest.mark.parametrize(("weight", "bias"), [(1.0, None), (None, None), (0.3, 0.2), (None, 2.0)])
def test_a_kernel_layer_scales_and_shifts(weight, bias):
    triple = oracle.covariances(5, (4,), seed=2)
    layer = dkm.kernel("relu", weight=weight, bias=bias)
    params = layer.init(jax.random.key(0), dkm.Gram(*triple))
    assert len(params) == (weight is not None) + (bias is not None)
    out, kl = jit(layer.apply)(params, dkm.Gram(*triple))
    expected = oracle.kernel("relu", triple, weight or 1.0, bias or 0.0)
    assert float(kl) == 0
    for got, wanted in zip(out, expected, strict=True):
        assert relative_max(got, wanted) < 1e-10


NETWORKS = {
    "relu": (stax.Relu(), stax.Dense(1, 1.3, 0.2)),
    "two layers": (stax.Dense(1, 1.2, 0.1), stax.Erf(), stax.Dense(1), stax.Relu()),
    "rbf": (stax.Dense(1), stax.Rbf(0.7)),
    "heaviside": (dkm.PolarHeaviside(), stax.Dense(1, 0.8, 0.1)),
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_any_network_of_stax_is_a_kernel(name):
    network = stax.serial(*NETWORKS[name])
    rng = np.random.default_rng(3)
    z, x = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    out = dkm.gram_kernel(network)(dkm.Gram(*oracle.inputs(x, z)))
    given = stax.serial(stax.Dense(1), network)  # its inputs are not Gaussian: G is of Dense(1)
    assert_close(out.ii, given.kernel_fn(z, None, "nngp"), "float64")
    assert_close(out.ti, given.kernel_fn(x, z, "nngp"), "float64")
    assert_close(out.t, np.diag(given.kernel_fn(x, None, "nngp")), "float64")
    assert_close(dkm.matrix_kernel(network)(z @ z.T / 3), out.ii, "float64")


def test_the_name_relu_is_a_normalised_relu_network():
    network = stax.serial(stax.Relu(), stax.Dense(1, 2**0.5))
    G = oracle.covariances(5, ())[0]
    assert_close(dkm.matrix_kernel("relu")(G), dkm.matrix_kernel(network)(G), "float64")
    assert_close(np.diag(dkm.matrix_kernel("relu")(G)), np.diag(G), "float64")


CONV = (stax.Conv(1, (3, 3), (1, 1), "SAME", 1.4, 0.3), stax.Relu())
SPATIAL = {
    "pooled": (*CONV, stax.GlobalAvgPool()),
    "flattened": (*CONV, stax.AvgPool((2, 2), (2, 2)), stax.Flatten()),
    "images": CONV,
}


@pytest.mark.parametrize("name", sorted(SPATIAL))
def test_layers_over_places_are_kernels(name):
    """Gram matrices of places give what kernel_fn gives of the images they come from."""
    network = stax.serial(*SPATIAL[name])
    x = np.random.default_rng(4).normal(size=(3, 4, 2, 5))
    G = np.einsum("nhwc,mijc->nhwmij", x, x).reshape(24, 24) / 5
    K = dkm.matrix_kernel(network, (4, 2))(G)
    expected = np.asarray(network.kernel_fn(x, None, "nngp"))
    if name == "images":
        expected = expected.transpose(0, 2, 4, 1, 3, 5).reshape(24, 24)
    assert_close(K, expected, "float64")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_at_coincident_points(name):
    x = np.array([[1.0, 2.0], [1.0, 2.0], [-1.0, 0.5]])

    def total(x):
        G = x @ x.T / 2
        one = dkm.gram_kernel(name)(dkm.Gram(G, G[:2], jnp.diagonal(G)[:2]))
        return sum(part.sum() for part in one) + dkm.matrix_kernel(name)(G).sum()

    value, slopes = jit(jax.value_and_grad(total))(x)
    assert np.isfinite(value)
    assert np.isfinite(slopes).all()


def test_gradients_over_places_are_finite_at_coincident_points():
    network = stax.serial(*SPATIAL["pooled"])
    x = np.ones((2, 2, 2, 3))

    def total(x):
        G = jnp.einsum("nhwc,mijc->nhwmij", x, x).reshape(8, 8) / 3
        return dkm.matrix_kernel(network, (2, 2))(G).sum()

    assert np.isfinite(jit(jax.grad(total))(x)).all()


def test_functions_are_matrix_kernels_as_they_are():
    def double(G):
        return 2 * G

    assert dkm.matrix_kernel(double) is double


def test_heaviside_has_no_finite_network():
    layer = dkm.PolarHeaviside()
    with pytest.raises(NotImplementedError, match="no finite network"):
        layer.apply_fn((), np.ones((2, 3)))
