"""Where nothing is approximated: inducing points that are the data, no jitter, the exact q(u).

The sparse objective is then the full machine's, and at nu = inf the NNGP's.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import relative_l2, relative_max
from tests.theory.dkm.sparse import oracle
from tests.theory.dkm.sparse.quick import jit
from theory import dkm, stax
from theory.dkm.gram_layer import packed
from theory.dkm.objective import objective
from theory.predict import gp_inference

KEY = jax.random.key(0)
N, FEATURES, NOISE = 6, 3, 0.3


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def data(columns):
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, FEATURES)), rng.normal(size=(N, columns))


def machine(depth, nu, columns, kernel="squared_exponential", **options):
    """(model, the layers before the output, the output's kernel apart)."""
    x, _ = data(columns)
    layers = [dkm.inputs(N, inducing=x)]
    for _ in range(depth):
        layers += [dkm.kernel(kernel, weight=None), dkm.gram(nu, jitter=0.0, **options)]
    layers += [dkm.kernel(kernel, weight=None), dkm.output(columns, jitter=0.0)]
    return dkm.Model(dkm.serial(*layers), dkm.gaussian(NOISE, learned=False))


def exact_parameters(model, x, y, grams=()):
    """Those of the Gram matrices `grams`, and of the best q(u) given them."""

    @jit
    def find(x, y, grams):
        params = model.network.init(KEY, x)
        for i, G in enumerate(grams):
            params[2 + 2 * i] = packed(jnp.linalg.cholesky(G))
        value, _ = dkm.serial(*model.network.children[:-1]).apply(params[:-1], x)
        params[-1] = dkm.gaussian_optimum(value, y, NOISE, jitter=0.0)
        return {"network": params, "likelihood": {}}

    return find(x, y, list(grams))


@pytest.mark.parametrize(
    ("depth", "nu", "columns"), [(1, 0.5, 1), (1, 2.0, 3), (2, 0.5, 3), (2, 2.0, 1)]
)
def test_sparse_is_full(depth, nu, columns):
    x, y = data(columns)
    G0 = x @ x.T / FEATURES
    grams = [oracle.covariances(N, (), seed=layer)[0] for layer in range(1, depth + 1)]
    model = machine(depth, nu, columns)
    params = exact_parameters(model, x, y, grams)

    @jit
    @jax.value_and_grad
    def value(q, x, y):
        network = [*params["network"][:-1], q]
        return dkm.terms(model, {"network": network, "likelihood": {}}, x, y, N).value * N

    best, slopes = value(params["network"][-1], x, y)
    expected = oracle.full(G0, grams, y, "squared_exponential", nu, NOISE)
    assert relative_l2(best, expected) < 1e-8
    ours = objective(
        G0, grams, y, kernel="squared_exponential", nu=nu, noise_variance=NOISE, jitter=0.0
    )
    assert relative_l2(best, ours.value) < 1e-8
    # The best q(u): every gradient vanishes there, and elsewhere the objective is lower.
    assert all(np.abs(leaf).max() < 1e-8 for leaf in jax.tree.leaves(slopes))
    rng = np.random.default_rng(1)
    worse = jax.tree.map(
        lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape), params["network"][-1]
    )
    assert value(worse, x, y)[0] < best


def test_the_objective_has_the_gradient_of_the_full_one():
    """With respect to the Gram matrix's parameters, q(u) at its best."""
    x, y = data(2)
    model = machine(1, 0.7, 2)
    params = exact_parameters(model, x, y, [oracle.covariances(N, (), seed=3)[0]])
    direction = oracle.triangular(N, 4)

    @jit
    @jax.grad
    def slope(step):
        network = list(params["network"])
        network[2] = network[2] + step * direction
        return dkm.terms(model, params | {"network": network}, x, y, N).value * N

    def full(step):
        V = oracle.factor(np.asarray(params["network"][2] + step * direction)) / math.sqrt(N)
        return oracle.full(x @ x.T / FEATURES, [V @ V.T], y, "squared_exponential", 0.7, NOISE)

    assert float(slope(0.0)) == pytest.approx((full(1e-5) - full(-1e-5)) / 2e-5, rel=1e-7)


def test_nu_inf_predicts_as_the_nngp():
    x, y = data(2)
    tests = np.random.default_rng(2).normal(size=(5, FEATURES))
    model = machine(2, math.inf, 2, "relu")
    params = exact_parameters(model, x, y)
    layer = stax.serial(stax.Dense(1), *(stax.Relu(), stax.Dense(1, 2**0.5)) * 3)
    K = layer.kernel_fn(np.concatenate([x, tests]), None, "nngp")
    expected = gp_inference(K[:N, :N], y, diag_reg=NOISE, diag_reg_absolute_scale=True)(
        "nngp", K[N:, :N], K[N:, N:]
    )

    @jit
    def run(params, x, y, tests):
        noisy, terms = dkm.predict(model, params, tests), dkm.terms(model, params, x, y, N)
        return model.network.apply(params["network"], tests), noisy, terms.value * N

    (out, kl), noisy, value = run(params, x, y, tests)
    assert relative_max(out.mean, expected.mean) < 1e-9
    assert relative_max(out.variance, np.diag(expected.covariance)) < 1e-9
    assert relative_max(noisy.variance, out.variance + NOISE) < 1e-12
    assert relative_l2(value, oracle.marginal(K[:N, :N], y, NOISE)) < 1e-9
    assert float(kl) > 0  # of q(u) alone


@pytest.mark.parametrize(("kl", "parametrisation"), [("exact", "absolute"), ("taylor", "relative")])
def test_machines_start_at_their_nngp(kl, parametrisation):
    x, _ = data(1)
    tests = np.random.default_rng(2).normal(size=(5, FEATURES))

    def start(model):
        return jit(lambda x, t: model.network.apply(model.network.init(KEY, x), t))(x, tests)

    expected, _ = start(machine(2, math.inf, 1))
    out, price = start(machine(2, 1.0, 1, kl=kl, parametrisation=parametrisation))
    assert relative_max(out.variance, expected.variance) < 1e-10
    assert not np.asarray(out.mean).any()
    assert abs(float(price)) < 1e-9
