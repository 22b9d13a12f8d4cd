"""Whole machines: likelihoods, the objective of minibatches, precision, slopes, and ResNets."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm as normal

from tests.numerics import assert_close, relative_l2, relative_max
from tests.theory.dkm.sparse import oracle
from tests.theory.dkm.sparse.quick import jit
from theory import dkm

KEY = jax.random.key(0)
JITTER = (1e-3, 1e-3)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def marginals(n=4, outputs=3, seed=0):
    rng = np.random.default_rng(seed)
    return dkm.Output(rng.normal(size=(n, outputs)), rng.uniform(0.1, 2, size=n))


def test_expectations_under_a_gaussian_likelihood():
    out, y = marginals(), np.random.default_rng(1).normal(size=(4, 3))
    for learned in (False, True):
        likelihood = dkm.gaussian(0.3, learned=learned)
        params = likelihood.init(jnp.float64)
        assert len(params) == learned
        expected = oracle.expected_log_gaussian(y, *out, 0.3)
        assert relative_max(likelihood.expected(params, out, y), expected) < 1e-10
        density = normal(out.mean, np.sqrt(out.variance + 0.3)[:, None]).logpdf(y).sum(-1)
        assert relative_max(likelihood.log_density(params, out, y), density) < 1e-10
        assert relative_max(likelihood.predict(params, out).variance, out.variance + 0.3) < 1e-14


def test_one_output_takes_targets_without_columns():
    out, y = marginals(outputs=1), np.arange(4.0)
    likelihood = dkm.gaussian(learned=False)
    np.testing.assert_array_equal(
        likelihood.expected({}, out, y), likelihood.expected({}, out, y[:, None])
    )


def test_certain_classes_have_their_log_softmax():
    mean, y = marginals().mean, np.array([0, 2, 1, 1])
    out, likelihood = dkm.Output(jnp.asarray(mean), jnp.zeros(4)), dkm.categorical(3)
    log_p = mean - np.log(np.exp(mean).sum(-1, keepdims=True))
    for f in (likelihood.expected, likelihood.log_density):
        assert relative_max(f({}, out, y, KEY), log_p[range(4), y]) < 1e-12
    assert relative_max(likelihood.predict({}, out, KEY), log_p) < 1e-12


def test_expectations_over_classes_by_sampling_agree_with_quadrature():
    """f_1 - f_2 is one Gaussian: log sigmoid and sigmoid of it, by Gauss-Hermite."""
    out, y = marginals(5, 2), np.array([0, 1, 1, 0, 1])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    sign = 1 - 2 * y
    mean = sign * (out.mean[:, 0] - out.mean[:, 1])
    gap = mean[:, None] + np.sqrt(2 * out.variance)[:, None] * nodes
    weights = weights / weights.sum()
    likelihood = dkm.categorical(5_000)
    expected = likelihood.expected({}, out, y, KEY)
    np.testing.assert_allclose(expected, -np.logaddexp(0, -gap) @ weights, atol=0.05)
    density = likelihood.log_density({}, out, y, KEY)
    np.testing.assert_allclose(density, np.log((1 / (1 + np.exp(-gap))) @ weights), atol=0.03)
    log_p = likelihood.predict({}, out, KEY)
    assert relative_max(jax.nn.logsumexp(log_p, -1) + 1, np.ones(5)) < 1e-12
    assert_close(density, np.asarray(log_p)[range(5), y], "float64")


def images(n=5, side=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, side, side, 2)), rng.normal(size=(n, 2))


def convolutional(**options):
    """Every kind of layer, small."""
    body = dkm.serial(
        dkm.kernel("relu"), dkm.mixup(7, start="random"), dkm.gram(0.3, jitter=JITTER, **options),
        dkm.norm("local", "image"),
    )  # fmt: skip
    return dkm.serial(
        dkm.patches(7),
        dkm.norm("global", "batch"),
        dkm.kernel("normalized_gaussian", bias=0.1),
        dkm.gram(2.0, jitter=JITTER, **options),
        dkm.residual(dkm.identity(), body),
        dkm.global_pool(jitter=JITTER),
        dkm.gram(0.5, jitter=JITTER, **options),
        dkm.kernel("squared_exponential"),
        dkm.output(2, jitter=JITTER),
    )


@pytest.fixture(scope="module")
def machine():
    """(model, parameters away from where they start, x, y, jitted terms and slopes)."""
    with jax.enable_x64(True):
        model = dkm.Model(convolutional(), dkm.gaussian(0.3))
        x, y = images()
        params = jit(lambda: dkm.init(model, KEY, jnp.asarray(x)))()
        rng = np.random.default_rng(3)
        params = jax.tree.map(lambda p: p + 0.1 * rng.normal(size=p.shape), params)

        @jit
        def run(params, x, y):
            def loss(params):
                terms = dkm.terms(model, params, x, y, 20)
                return terms.value, terms

            slopes, terms = jax.grad(loss, has_aux=True)(params)
            return terms, slopes

        yield model, params, jnp.asarray(x), jnp.asarray(y), run


def by_hand(params, x, y, form):
    """`convolutional` with numpy's matrices alone: value of the objective of 20 examples."""
    own, log_s2 = params["network"], params["likelihood"]["log_noise_variance"]
    prices = []

    def moved(triple, at, nu):
        G = oracle.learned(triple[0], at, "absolute", JITTER)
        K = oracle.jittered(triple[0], JITTER)
        prices.append(nu * (oracle.kl(G, K) if form == "exact" else oracle.taylor_kl(G, K)))
        return oracle.gram_layer(triple, G, JITTER)

    def scales(at):
        return at["log_scale_inducing"], at["log_scale_others"]

    value = oracle.patches(x, own[0], (1, 1), "SAME", False)
    value = oracle.norm(value, "global", "batch", *scales(own[1]))
    factors = (math.exp(own[2][f"log_{name}"]) for name in ("weight", "bias"))
    value = moved(oracle.kernel("normalized_gaussian", value, *factors), own[3], 2.0)
    body = own[4]["branches"][1]
    other = oracle.kernel("relu", value, math.exp(body[0]["log_weight"]))
    other = moved(oracle.mixup(other, body[1], (1, 1), "SAME", False), body[2], 0.3)
    other = oracle.norm(other, "local", "image", *scales(body[3]))
    value = oracle.residual([value, other], own[4]["logits"])
    value = moved(oracle.global_pool(value, JITTER), own[6], 0.5)
    value = oracle.kernel("squared_exponential", value, math.exp(own[7]["log_weight"]))
    mean, variance, price = oracle.output(value, own[8]["mean"], own[8]["root"], JITTER)
    fit = oracle.expected_log_gaussian(y, mean, variance, math.exp(log_s2)).mean()
    return fit - (sum(prices) + price) / 20, fit, sum(prices) + price


@pytest.mark.parametrize("form", ["exact", "taylor"])
def test_a_whole_machine_is_its_layers(machine, form):
    model, params, x, y, run = machine
    if form == "exact":
        found, _ = run(params, x, y)
    else:
        model = model._replace(network=convolutional(kl=form))
        found = jit(lambda p, x, y: dkm.terms(model, p, x, y, 20))(params, x, y)
    expected = by_hand(*(jax.tree.map(np.asarray, part) for part in (params, x, y)), form)
    for got, wanted in zip(found, expected, strict=True):
        assert relative_l2(got, wanted) < 1e-10


def test_slopes_are_finite_differences(machine):
    _, params, x, y, run = machine
    slopes = run(params, x, y)[1]
    rng, h = np.random.default_rng(4), 1e-5
    for _ in range(3):
        way = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
        up, down = (
            float(run(jax.tree.map(lambda p, d, s=s: p + s * h * d, params, way), x, y)[0].value)
            for s in (1, -1)
        )
        products = jax.tree.map(lambda a, b: float((a * b).sum()), slopes, way)
        assert sum(jax.tree.leaves(products)) == pytest.approx((up - down) / (2 * h), rel=1e-6)
    # Above the diagonal nothing is read.
    for at in (3, 6):
        assert not np.triu(slopes["network"][at], 1).any()


def test_single_precision_agrees_with_double(machine):
    _, params, x, y, run = machine
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, x, y))
    double, got = run(params, x, y), run(*single)
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {jnp.dtype("float32")}
    for a, b in zip(got[0], double[0], strict=True):
        assert relative_l2(a, b) < 1e-4
    flat = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(t[1])]) for t in (got, double)
    ]
    assert relative_l2(*flat) < 1e-4


def test_examples_do_not_see_one_another_and_minibatches_are_unbiased(machine):
    """All norms but "batch": the mean over all batches of 2 of 5 examples is the whole data's."""
    model, params, x, y, _ = machine
    layers = list(model.network.children)
    layers[1] = dkm.norm("global", "pixel")
    model = model._replace(network=dkm.serial(*layers))

    @jit
    def run(x, y):
        return dkm.predict(model, params, x).mean, dkm.terms(model, params, x, y, 5).value

    together, whole = run(x, y)
    values = []
    for pair in itertools.combinations(range(5), 2):
        mean, value = run(x[np.array(pair)], y[np.array(pair)])
        assert relative_max(mean, together[np.array(pair)]) < 1e-10
        values.append(float(value))
    assert np.mean(values) == pytest.approx(float(whole), rel=1e-12)


def test_conditions_name_every_layer_that_is_given_a_gram():
    body = dkm.serial(dkm.kernel("linear"), dkm.gram(0.3))
    network = dkm.serial(dkm.inputs(4), dkm.residual(dkm.identity(), body), dkm.output(2))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)))
    params = jit(lambda x: network.init(KEY, x))(x)
    found = dkm.conditions(network, params, x)
    names = ["1/0:identity()", '1/1/0:kernel("linear")', "1/1/1:gram(nu=0.3)", "2:output(2)"]
    assert [condition.layer for condition in found] == names
    assert all(condition.finite for condition in found)
    expected = np.linalg.cond(params[0] @ params[0].T)
    assert found[0].condition_number == pytest.approx(expected, rel=1e-8)


RESNETS = {
    "no blocks": {"counts": (6,), "blocks": 0, "kernel": "relu", "first_stride": 2},
    "two stages": {"counts": (6, 8), "blocks": (0, 1), "skr": None, "norms": ("local", "image")},
}


@pytest.mark.parametrize("name", sorted(RESNETS))
def test_resnets_of_several_sizes(name):
    model = dkm.Model(dkm.resnet(3, **RESNETS[name]), dkm.categorical(10))
    x, y = images(16, 8)[0].astype(np.float32), np.arange(16) % 3

    @jit
    def run(key, x, y):
        start, draw = jax.random.split(key)
        params = dkm.init(model, start, x)

        def value(p):
            return dkm.terms(model, p, x, y, 16, draw)[:2]

        return jax.value_and_grad(value, has_aux=True)(params)

    found = run(jax.random.key(1), x, y)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(found))
    (_, fit), _ = found
    assert float(fit) > -4  # of three classes, at the prior: log 3 and some spread


def test_a_resnet_is_counted_in_blocks():
    network = dkm.resnet(3, counts=(4, 6, 8), blocks=(2, 1, 0), inducing=None)
    kinds = [layer.kind for layer in network.children]
    assert kinds.count("sum") == 3
    first, second, third = (layer for layer in network.children if layer.kind == "sum")
    assert [first.children[0].name, second.children[0].name] == ["identity()"] * 2
    assert third.children[0].name.startswith("serial(")
    assert network.children[-1].name == "output(3)"
