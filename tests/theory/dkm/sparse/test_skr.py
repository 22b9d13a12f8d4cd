"""Stochastic kernel regularisation: noise in training, a ridge always, a KL that sees neither."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from tests.numerics import relative_max
from tests.theory.dkm.sparse import oracle
from tests.theory.dkm.sparse.quick import jit
from theory import dkm

P, GAMMA, RIDGE = 6, 2.0, 0.1
DEGREES = 3


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def case():
    """(covariances, parameters, G, draws of G in training, their KLs)."""
    triple = oracle.covariances(P, (2,), seed=1)
    params = oracle.triangular(P)
    layer = dkm.gram(1.0, skr=dkm.Skr(GAMMA, RIDGE))
    with jax.enable_x64(True):
        # threefry: its draws are the same under vmap
        keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), 20_000)

        @jit
        @jax.vmap
        def draw(key):
            return layer.apply(params, dkm.Gram(*triple), key=key, train=True)

        out, kls = jax.tree.map(np.asarray, draw(keys))
    G = oracle.learned(triple[0], params, "absolute", 0.0)
    return triple, params, G, out, kls


def test_the_mean_of_the_noise_is_the_gram_matrix(case):
    _, _, G, out, _ = case
    error = out.ii.mean(0) - RIDGE * np.eye(P) - G
    # The variance of a Wishart draw over its degrees of freedom.
    spread = np.sqrt((G**2 + np.outer(np.diag(G), np.diag(G))) / DEGREES / len(out.ii))
    assert (np.abs(error) < 5 * spread).all()


def test_the_noise_has_the_variance_of_its_degrees_of_freedom(case):
    _, _, G, out, _ = case
    expected = (G**2 + np.outer(np.diag(G), np.diag(G))) / DEGREES
    assert relative_max(out.ii.var(0), expected) < 0.1
    noise = out.ii[:100] - RIDGE * np.eye(P)
    spectrum = np.linalg.eigvalsh(noise)
    assert (np.abs(spectrum[:, : P - DEGREES]) < 1e-10).all()
    assert (spectrum[:, P - DEGREES :] > 1e-8).all()


@pytest.mark.parametrize(("gamma", "rank"), [(6.0, 1), (4.0, 2), (1.0, 6), (100.0, 1)])
def test_degrees_of_freedom_are_rounded_up(gamma, rank):
    triple = oracle.covariances(P, (2,), seed=1)
    layer = dkm.gram(1.0, skr=dkm.Skr(gamma, 1e-6))
    out, _ = layer.apply(oracle.triangular(P), dkm.Gram(*triple), key=jax.random.key(3), train=True)
    assert (np.linalg.eigvalsh(out.ii) > 1e-5).sum() == rank


def test_other_points_follow_the_same_draw(case):
    triple, _, _, out, _ = case
    K = (1e-4, 1e-4)  # the jitter of a layer that is given none
    for i in range(3):
        expected = oracle.gram_layer(triple, out.ii[i], K)
        for got, wanted in zip(out, expected, strict=True):
            assert relative_max(got[i], wanted) < 1e-10


def test_evaluation_adds_the_ridge_alone(case):
    triple, params, G, _, _ = case
    layer = dkm.gram(1.0, skr=dkm.Skr(GAMMA, RIDGE))
    out, _ = layer.apply(params, dkm.Gram(*triple))
    expected = oracle.gram_layer(triple, G + RIDGE * np.eye(P), (1e-4, 1e-4))
    for got, wanted in zip(out, expected, strict=True):
        assert relative_max(got, wanted) < 1e-10


@pytest.mark.parametrize("form", ["exact", "taylor"])
def test_the_kl_does_not_see_the_noise(case, form):
    triple, params, _, _, kls = case
    plain = dkm.gram(1.0, kl=form).apply(params, dkm.Gram(*triple))[1]
    layer = dkm.gram(1.0, kl=form, skr=dkm.Skr(GAMMA, RIDGE))
    noisy = layer.apply(params, dkm.Gram(*triple), key=jax.random.key(1), train=True)[1]
    assert float(noisy) == float(plain)
    if form == "exact":
        assert relative_max(kls, np.full(len(kls), float(plain))) < 1e-12


def test_the_nngp_is_regularised_too():
    triple = oracle.covariances(P, (2,), seed=1)
    layer = dkm.gram(math.inf, skr=dkm.Skr(GAMMA, RIDGE), jitter=0.0)
    out, kl = layer.apply((), dkm.Gram(*triple))
    assert relative_max(out.ii, triple[0] + RIDGE * np.eye(P)) < 1e-12
    assert float(kl) == 0


def test_training_without_a_key_is_refused():
    triple = oracle.covariances(P, (2,), seed=1)
    layer = dkm.serial(dkm.gram(1.0, skr=dkm.Skr()))
    with pytest.raises(ValueError, match="draws noise in training: give apply a key"):
        layer.apply([oracle.triangular(P)], dkm.Gram(*triple), train=True)


def test_every_layer_has_noise_of_its_own():
    triple = oracle.covariances(P, (2,), seed=1)
    params = oracle.triangular(P)
    layer = dkm.residual(*[dkm.gram(1.0, skr=dkm.Skr())] * 2)
    given = {"logits": np.zeros(2), "branches": [params, params]}
    key = jax.random.key(0)
    both, _ = layer.apply(given, dkm.Gram(*triple), key=key, train=True)
    again, _ = layer.apply(given, dkm.Gram(*triple), key=key, train=True)
    first, _ = layer.children[0].apply(
        params, dkm.Gram(*triple), key=jax.random.split(key)[0], train=True
    )
    np.testing.assert_array_equal(both.ii, again.ii)
    assert relative_max(both.ii, first.ii) > 1e-2
