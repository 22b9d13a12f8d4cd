"""Classifiers of images and volumes."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import ImageConfig, image_model

CONFIG = ImageConfig((12, 8), channels=2, outputs=3, width=24, depth=2, heads=3, window=3)


def outputs(config, inputs, key=None):
    model = image_model(config)
    params = jax.jit(model.init)(jax.random.key(0))
    return params, jax.jit(model.apply)(params, inputs, key)


@pytest.mark.parametrize("kind", ["neighborhood", "attention", "cnn"])
@pytest.mark.parametrize("shape", [(12, 8), (6, 8, 6)])
def test_logits_of_images_and_volumes(kind, shape):
    config = replace(CONFIG, mixer=kind, shape=shape, width=36, depth=1)
    inputs = jax.random.normal(jax.random.key(1), (2, *shape, 2))
    _, logits = outputs(config, inputs)
    assert logits.shape == (2, 3)
    assert not np.allclose(logits[0], logits[1])


def test_one_window_over_all_is_full_attention():
    """With the same parameters: the two mixers name them alike."""
    near = replace(CONFIG, shape=(8, 8), window=4)
    full = replace(near, mixer="attention")
    inputs = jax.random.normal(jax.random.key(1), (2, 8, 8, 2))
    params, logits = outputs(near, inputs)
    other = jax.jit(image_model(full).apply)(params, inputs)
    np.testing.assert_allclose(logits, other, atol=1e-5)
    narrow = jax.jit(image_model(replace(near, window=2)).apply)(params, inputs)
    assert np.abs(narrow - logits).max() > 1e-4


def test_dilations_take_turns():
    inputs = jax.random.normal(jax.random.key(1), (1, 12, 12, 2))
    base = replace(CONFIG, shape=(12, 12), depth=2)
    params, once = outputs(base, inputs)
    results = [once] + [
        jax.jit(image_model(replace(base, dilation=d)).apply)(params, inputs)
        for d in ((1, 2), (2, 1), (1, 1))
    ]
    np.testing.assert_array_equal(results[0], results[3])
    assert np.abs(results[1] - results[0]).max() > 1e-5
    assert np.abs(results[1] - results[2]).max() > 1e-5


def test_positions_are_learned_where_asked_for():
    config = replace(CONFIG, mixer="cnn", depth=1)
    inputs = jax.random.normal(jax.random.key(1), (1, 12, 8, 2))
    without, _ = outputs(config, inputs)
    params, logits = outputs(replace(config, positions=True), inputs)
    assert set(params) - set(without) == {"positions"}
    assert params["positions"].shape == (6, 4, 24)
    turned = params | {"positions": params["positions"][::-1]}
    other = jax.jit(image_model(replace(config, positions=True)).apply)(turned, inputs)
    assert not np.allclose(logits, other)


def test_dropout_needs_a_key():
    config = replace(CONFIG, dropout=0.5, mixer="cnn")
    inputs = jnp.ones((1, 12, 8, 2))
    _, quiet = outputs(config, inputs)
    _, one = outputs(config, inputs, jax.random.key(1))
    _, same = outputs(config, inputs, jax.random.key(1))
    assert not np.allclose(quiet, one)
    np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (12,)}, r"shape is \(12,\)"),
        ({"shape": (12, 7)}, r"shape is \(12, 7\)"),
        ({"heads": 5}, "heads is 5"),
        ({"width": 18}, "heads is 3; accepted with width 18"),
        ({"mixer": "mlp"}, "mixer is 'mlp'"),
        ({"window": 1}, "window is 1"),
        ({"dilation": ()}, "dilation is empty"),
        ({"dilation": (1, 0)}, r"dilation\[1\] is 0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **settings)


def test_another_shape_is_refused():
    model = image_model(CONFIG)
    params = jax.jit(model.init)(jax.random.key(0))
    with pytest.raises(ValueError, match=r"inputs has shape \(1, 8, 12, 2\)"):
        model.apply(params, jnp.ones((1, 8, 12, 2)))
