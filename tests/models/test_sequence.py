"""Sequence models: causality, both directions, readouts, dropout; the learned butterfly."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import (
    MIXERS,
    ButterflyConv,
    Conv,
    Gated,
    SequenceConfig,
    Squash,
    TokenMlp,
    mixer,
    sequence_model,
)
from farwide.models.butterfly import LearnedTransform, radices
from farwide.models.mixers import has_causal_form, make_mixer
from kernels_pallas import long_conv
from tests.numerics import assert_close

LENGTH = 24
CONFIG = SequenceConfig(width=8, depth=1, length=LENGTH, outputs=5, vocabulary=7)


def influence(config):
    """[t, s]: how much the logits at t move when the input at s does."""
    config = replace(config, vocabulary=None, features=2)
    model = sequence_model(config)

    @jax.jit
    def jacobian(key):
        k_params, k_x = jax.random.split(key)
        params = model.init(k_params)
        x = jax.random.normal(k_x, (1, LENGTH, 2))
        full = jax.jacrev(lambda x: model.apply(params, x))(x)  # (1, L, 5, 1, L, 2)
        return jnp.abs(full).max((0, 2, 3, 5))

    return np.asarray(jacobian(jax.random.key(0)))


@pytest.mark.parametrize("name", [n for n in MIXERS if has_causal_form(mixer(n))])
def test_causal_models_do_not_see_the_future(name):
    found = influence(replace(CONFIG, mixer=mixer(name)))
    assert np.triu(found, 1).max() <= 1e-6 * found.max()
    assert np.diag(found).min() > 0
    assert np.diag(found, -2).min() > 0  # and they do see the past


@pytest.mark.parametrize("name", MIXERS)
def test_models_of_both_directions_see_both(name):
    found = influence(replace(CONFIG, mixer=mixer(name), causal=False))
    for lag in (-2, 0, 2):
        assert np.diag(found, lag).min() > 1e-6 * found.max()


def test_readouts_and_dropout():
    base = replace(CONFIG, mixer=Conv(Squash(dropout=0.2)), dropout=0.3)
    tokens = jax.random.randint(jax.random.key(0), (3, LENGTH), 0, 7)
    for readout, shape in (("positions", (3, LENGTH, 5)), ("mean", (3, 5)), ("last", (3, 5))):
        model = sequence_model(replace(base, readout=readout))
        params = jax.jit(model.init)(jax.random.key(1))
        apply = jax.jit(model.apply)
        quiet = apply(params, tokens)
        assert quiet.shape == shape
        np.testing.assert_array_equal(quiet, apply(params, tokens))
        one, two, other = (apply(params, tokens, jax.random.key(k)) for k in (2, 2, 3))
        np.testing.assert_array_equal(one, two)
        assert not np.allclose(one, other)
        assert not np.allclose(one, quiet)
    positions = sequence_model(replace(base, readout="positions"))
    last = sequence_model(replace(base, readout="last"))
    both = (jax.jit(m.apply)(params, tokens) for m in (positions, last))
    np.testing.assert_allclose(next(both)[:, -1], next(both), atol=1e-6)


def test_a_tied_head_is_the_embedding():
    config = replace(CONFIG, mixer=Gated(Squash()), outputs=7, bias=False, tied_head=0.5)
    params = jax.jit(sequence_model(config).init)(jax.random.key(0))
    names = {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(params)}
    assert "head" not in params
    assert "bias" not in names
    embedding = params["embed"]["embedding"]
    own = replace(config, tied_head=None)
    untied = params | {"head": {"kernel": 0.5 * embedding.T}}
    tokens = jax.random.randint(jax.random.key(1), (2, LENGTH), 0, 7)
    a, b = (jax.jit(sequence_model(c).apply) for c in (config, own))
    np.testing.assert_allclose(a(params, tokens), b(untied, tokens), rtol=1e-5, atol=1e-6)


def test_the_butterfly_begins_as_the_convolution():
    rng = jax.random.split(jax.random.key(0), 3)
    for length in (1, 5, 16, 24, 100):
        x = jax.random.normal(rng[0], (2, length, 3))
        taps, future = (jax.random.normal(k, (3, length)) for k in rng[1:])
        conv = ButterflyConv(length)
        found, _ = jax.jit(conv.init_with_output)(jax.random.key(1), x, taps, future)
        expected = long_conv(x, taps, k_future=future, layout="BLC")
        assert_close(found, expected, "float32")


def test_the_learned_transform_is_a_permuted_fourier_transform():
    stages = (4, 2, 8)
    transform = LearnedTransform(stages)
    x = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    z, params = transform.init_with_output(jax.random.key(0), x)
    expected = np.fft.fft(x)
    order = np.arange(64).reshape(stages[::-1]).transpose(2, 1, 0).ravel()  # k = k1 + 4 k2 + 8 k3
    assert_close(z.real, expected[:, order].real, "float32")
    assert_close(z.imag, expected[:, order].imag, "float32")
    assert_close(transform.apply(params, z, method="inverse"), x, "float32")
    assert radices(100) == (16, 8)
    assert radices(1) == (2,)
    with pytest.raises(ValueError, match="stages is"):
        LearnedTransform((3,)).init(jax.random.key(0), x)


def test_learning_moves_the_transform():
    config = replace(CONFIG, mixer=mixer("butterfly"), causal=False, readout="mean")
    model = sequence_model(config)
    params = jax.jit(model.init)(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (2, LENGTH), 0, 7)
    gradient = jax.jit(jax.grad(lambda p: (model.apply(p, tokens) ** 2).sum()))(params)
    stages = gradient["blocks_0"]["mixer"]["butterfly"]["transform"]
    assert len(stages) == 2 * len(radices(2 * LENGTH))
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in stages.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"vocabulary": None}, "vocabulary is None and features None"),
        ({"features": 3}, "vocabulary is 7 and features 3"),
        ({"readout": "max"}, "readout is 'max'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"mixer": (Conv(), Conv())}, "mixer has 2 settings"),
        ({"tied_head": 1.0}, "outputs is 5; accepted with a tied head is vocabulary, 7"),
        ({"mixer": TokenMlp()}, "causal is True; accepted with TokenMlp"),
        ({"mixer": Conv(butterfly=True)}, "causal is True; accepted with Conv"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **settings)


def test_bad_calls_are_named():
    model = sequence_model(replace(CONFIG, mixer=Conv()))
    params = jax.jit(model.init)(jax.random.key(0))
    with pytest.raises(ValueError, match=r"inputs has shape \(1, 23\); this model takes"):
        model.apply(params, jnp.zeros((1, 23), jnp.int32))
    with pytest.raises(ValueError, match=r"causal is True; accepted with Conv.* is False"):
        make_mixer(mixer("butterfly"), 8, 8, causal=True)
    with pytest.raises(ValueError, match="name is 'mamba'"):
        mixer("mamba")
    with pytest.raises(TypeError, match="mixer is 'conv'"):
        make_mixer("conv", 8, 8, causal=True)
    with pytest.raises(ValueError, match="heads is 4"):
        sequence_model(replace(CONFIG, width=12, mixer=mixer("attention"))).init(jax.random.key(0))
