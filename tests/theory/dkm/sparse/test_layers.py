"""Layers without places against the NumPy oracle."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import relative_l2, relative_max
from tests.theory.dkm.sparse import oracle
from tests.theory.dkm.sparse.quick import agree, jit
from theory import dkm
from theory.dkm.gram import through
from theory.dkm.gram_layer import packed, root

KEY = jax.random.key(0)
JITTERS = [0.0, 1e-3, (0.02, 0.01)]
FEW, MANY = (3,), (2, 8, 8)  # points: solved by triangles, and by products
P = 6


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def test_inputs():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    layer = dkm.inputs(3, inducing=z)
    params = layer.init(KEY, jnp.asarray(x))
    out, kl = layer.apply(params, x)
    agree(out, oracle.inputs(x, z))
    assert float(kl) == 0


def test_inducing_inputs_start_at_different_training_inputs():
    x = jnp.arange(12.0).reshape(6, 2)
    params = np.asarray(dkm.inputs(6).init(KEY, x))
    assert not np.array_equal(params, x)
    np.testing.assert_array_equal(params[np.argsort(params[:, 0])], x)


@pytest.mark.parametrize("batch", [FEW, MANY])
@pytest.mark.parametrize("jitter", JITTERS)
@pytest.mark.parametrize("parametrisation", ["absolute", "relative"])
def test_gram_layers(parametrisation, jitter, batch):
    triple = oracle.covariances(P, batch, seed=1)
    params = oracle.triangular(P)
    G = oracle.learned(triple[0], params, parametrisation, jitter)
    K = oracle.jittered(triple[0], jitter)
    prices = {"exact": oracle.kl(G, K), "taylor": oracle.taylor_kl(G, K)}
    for form, price in prices.items():
        layer = dkm.gram(0.7, kl=form, jitter=jitter, parametrisation=parametrisation)
        out, kl = jit(layer.apply)(params, dkm.Gram(*triple))
        agree(out, oracle.gram_layer(triple, G, jitter))
        assert relative_l2(kl, 0.7 * price) < 1e-10


def test_what_is_learned_is_read_back_from_a_factor():
    params = np.tril(oracle.triangular(P))
    V = oracle.factor(params) / math.sqrt(P)
    assert relative_max(root(params), V) < 1e-14
    assert relative_max(packed(V), params) < 1e-14


@pytest.mark.parametrize("batch", [FEW, MANY])
def test_any_square_root_moves_the_other_points_alike(batch):
    triple = oracle.covariances(P, batch)
    V = np.random.default_rng(5).normal(size=(P, 2 * P))
    out = through(dkm.Gram(*triple), jnp.linalg.cholesky(triple[0]), V)
    agree(out, oracle.gram_layer(triple, V @ V.T, 0.0))


@pytest.mark.parametrize("parametrisation", ["absolute", "relative"])
@pytest.mark.parametrize("nu", [0.0, 1e-3, 5.0])
def test_a_gram_layer_starts_at_the_nngp(nu, parametrisation):
    given = dkm.Gram(*oracle.covariances(P, FEW))
    limit, nothing = dkm.gram(math.inf).apply((), given)
    for form in ("exact", "taylor"):
        layer = dkm.gram(nu, kl=form, parametrisation=parametrisation)
        out, kl = jit(layer.apply)(layer.init(KEY, given), given)
        agree(out, limit, 1e-12)
        assert abs(float(kl)) < 1e-12
    assert float(nothing) == 0
    assert dkm.gram(math.inf).init(KEY, given) == ()


def test_a_layer_for_free_takes_nothing():
    given = dkm.Gram(*oracle.covariances(P, FEW))
    for form in ("exact", "taylor"):
        _, kl = dkm.gram(0.0, kl=form).apply(oracle.triangular(P), given)
        assert float(kl) == 0


COMBINATIONS = list(itertools.product(("global", "local"), ("global", "batch", "image", "pixel")))


@pytest.mark.parametrize(("inducing", "others"), COMBINATIONS)
def test_norms(inducing, others):
    triple = oracle.covariances(4, (2, 3, 2), seed=3)
    layer = dkm.norm(inducing, others)
    given = dkm.Gram(*triple)
    assert jax.tree.all(jax.tree.map(lambda at: at == 0, layer.init(KEY, given)))
    out, kl = jit(layer.apply)({"log_scale_inducing": 0.3, "log_scale_others": -0.2}, given)
    agree(out, oracle.norm(triple, inducing, others, 0.3, -0.2))
    assert float(kl) == 0


def test_norms_keep_correlations():
    triple = oracle.covariances(4, (2, 3, 2), seed=3)
    correlation = triple[1] / np.sqrt(triple[2][..., None] * np.diag(triple[0]))
    for inducing, others in COMBINATIONS:
        layer = dkm.norm(inducing, others)
        params = {"log_scale_inducing": 0.3, "log_scale_others": -0.2}
        ii, ti, t = (np.asarray(part) for part in layer.apply(params, dkm.Gram(*triple))[0])
        assert relative_max(ti / np.sqrt(t[..., None] * np.diag(ii)), correlation) < 1e-12


def test_norms_of_nothing_stay_finite():
    nothing = dkm.Gram(jnp.zeros((2, 2)), jnp.zeros((3, 2)), jnp.zeros(3))
    for inducing, others in COMBINATIONS:
        layer = dkm.norm(inducing, others)
        params = layer.init(KEY, nothing)
        slopes = jit(jax.grad(lambda g, f=layer, p=params: sum(x.sum() for x in f.apply(p, g)[0])))
        assert all(np.isfinite(part).all() for part in slopes(nothing))


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, -0.5, 0.3)])
def test_residuals_weigh_their_branches_by_a_softmax(weights):
    triple = oracle.covariances(P, FEW)
    names = ("linear", "relu", "squared_exponential")[: len(weights)]
    skip, *others = (dkm.kernel(name, weight=None) for name in names)
    layer = dkm.residual(dkm.identity(), *others)
    params = layer.init(KEY, dkm.Gram(*triple))
    np.testing.assert_array_equal(params["logits"], np.zeros(len(weights)))
    params["logits"] = jnp.array(weights)
    out, kl = jit(layer.apply)(params, dkm.Gram(*triple))
    agree(out, oracle.residual([oracle.kernel(name, triple) for name in names], weights))
    # The weights sum to one: branches that agree change nothing.
    same, _ = dkm.residual(*[skip] * len(weights)).apply(
        params | {"branches": [{}] * len(weights)}, dkm.Gram(*triple)
    )
    agree(same, triple, 1e-14)
    assert float(kl) == 0


@pytest.mark.parametrize("combine", [dkm.serial, dkm.residual])
def test_prices_of_children_add_up(combine):
    given = dkm.Gram(*oracle.covariances(P, FEW))
    layer = combine(dkm.gram(0.5), dkm.gram(2.0, kl="taylor"))
    params = layer.init(KEY, given)
    moved = [oracle.triangular(P, seed) for seed in (1, 2)]
    if combine is dkm.residual:
        params["branches"] = moved
        values = given, given
    else:
        params = moved
        values = given, dkm.gram(0.5).apply(moved[0], given)[0]
    _, kl = layer.apply(params, given)
    parts = [c.apply(p, v)[1] for c, p, v in zip(layer.children, moved, values, strict=True)]
    assert relative_l2(kl, sum(parts)) < 1e-14
    assert float(kl) > 0


@pytest.mark.parametrize("jitter", JITTERS)
def test_outputs(jitter):
    triple = oracle.covariances(P, (40,), seed=4)
    m, free = np.random.default_rng(6).normal(size=(P, 3)), oracle.triangular(P, 7)
    layer = dkm.output(3, jitter=jitter)
    params = {"mean": m, "root": free}
    expected = oracle.output(triple, m, free, jitter)
    apply = jit(layer.apply)
    for n in (40, 5):  # many points, and few
        out, kl = apply(params, dkm.Gram(triple[0], triple[1][:n], triple[2][:n]))
        agree(out, (expected[0][:n], expected[1][:n]))
        assert relative_l2(kl, expected[2]) < 1e-10


def test_outputs_start_at_the_prior():
    given = dkm.Gram(*oracle.covariances(P, FEW))
    layer = dkm.output(2, jitter=0.0)
    out, kl = layer.apply(layer.init(KEY, given), given)
    assert relative_max(out.variance, given.t) < 1e-13
    assert not np.asarray(out.mean).any()
    assert float(kl) == 0
