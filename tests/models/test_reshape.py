"""Patches are resized as they should be, growth keeps outputs, and FLOPs are those of XLA."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import (
    ImageConfig,
    MLPConfig,
    image_model,
    mlp,
    reshape_image_model,
    reshape_moments,
    resize_patches,
    training_flops_per_image,
    widen_mlp,
)
from farwide.models.reshape import resize_matrix

KEY = jax.random.key(0)


@pytest.mark.parametrize(("old", "new"), [(2, 4), (4, 7), (3, 3), (1, 2)])
def test_enlarged_patches_have_the_same_embedding(old, new):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(old, old, 3, 8)).astype(np.float32)
    patches = rng.normal(size=(5, old, old, 3))
    B = resize_matrix(old, new)
    enlarged = np.einsum("ia,jb,nabc->nijc", B, B, patches)
    before = np.einsum("nabc,abcw->nw", patches, kernel)
    after = np.einsum("nabc,abcw->nw", enlarged, resize_patches(jnp.asarray(kernel), new))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_smaller_patches_get_the_nearest_embedding():
    kernel = np.random.default_rng(0).normal(size=(4, 1, 2)).astype(np.float32)
    B = resize_matrix(4, 2)
    expected = np.linalg.lstsq(B.T, kernel[:, 0], rcond=None)[0]
    found = resize_patches(jnp.asarray(kernel), 2)[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    back = resize_patches(resize_patches(jnp.asarray(kernel), 8), 4)
    np.testing.assert_allclose(B.sum(1), 1, atol=1e-12)  # means of pixels
    assert back.shape == kernel.shape


def test_linear_interpolation_is_at_the_middles_of_cells():
    np.testing.assert_allclose(
        resize_matrix(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], atol=1e-12
    )
    with pytest.raises(ValueError, match="new is 0; accepted is at least 1"):
        resize_matrix(2, 0)
    with pytest.raises(ValueError, match="kernel has shape"):
        resize_patches(jnp.zeros((3, 4)), 2)


OLD = ImageConfig((8, 8), width=16, depth=1, heads=2, window=3)


@pytest.mark.parametrize("mixer", ["attention", "neighborhood", "cnn"])
def test_a_wider_model_has_the_same_outputs_and_learns_with_its_new_units(mixer):
    old = replace(OLD, mixer=mixer, positions=mixer == "cnn")
    new = replace(old, width=24, heads=3)

    @jax.jit
    def both(key, x):
        first, second, third = jax.random.split(key, 3)
        params = image_model(old).init(first)
        noise = jax.random.normal(third, ())  # biases and gains that are not those of the start
        params = jax.tree.map(
            lambda p: p + 0.1 * jnp.sin(noise + jnp.arange(p.size)).reshape(p.shape), params
        )
        grown = reshape_image_model(params, old, new, second)

        def loss(p):
            y = image_model(new).apply(p, x)
            return jnp.sum(y**2), y

        gradient, after = jax.grad(loss, has_aux=True)(grown)
        return image_model(old).apply(params, x), after, gradient

    before, after, gradient = both(KEY, jax.random.normal(jax.random.key(1), (3, 8, 8, 1)))
    np.testing.assert_allclose(after, before, atol=1e-5 * float(jnp.abs(before).max()))
    for layer in ("patches", "down_0"):
        assert jnp.abs(gradient[layer]["kernel"][..., 16:]).max() > 1e-4, layer


@pytest.mark.parametrize("mixer", ["attention", "cnn"])
def test_moments_of_old_entries_lie_where_their_gradients_do(mixer):
    old = replace(OLD, mixer=mixer, positions=True)
    new = replace(old, width=24, heads=3)
    params = image_model(old).init(KEY)
    x = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))

    def gradient(config, params):
        return jax.jit(jax.grad(lambda p: jnp.sum(image_model(config).apply(p, x) ** 2)))(params)

    grown = reshape_image_model(params, old, new, jax.random.key(2))
    zeros = jax.tree.map(jnp.zeros_like, grown)
    moments = reshape_moments(gradient(old, params), zeros, old, new)
    places = reshape_moments(jax.tree.map(jnp.ones_like, params), zeros, old, new)
    found = jax.tree.map(jnp.multiply, gradient(new, grown), places)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(moments), jax.tree.leaves(found), strict=True
    ):
        gain = (16 / 24) ** 0.5 if path[-1].key == "scale" else 1.0  # the gains were scaled by it
        np.testing.assert_allclose(a, gain * b, atol=1e-4 * float(jnp.abs(a).max()) + 1e-7)
        assert jnp.abs(a).max() > 0


def test_patches_change_the_embedding_alone_and_other_changes_are_refused():
    old = replace(OLD, mixer="attention", positions=True)
    new = replace(old, patch=4)
    params = jax.jit(image_model(old).init)(KEY)
    found = reshape_image_model(params, old, new, KEY)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(
        jnp.shape, jax.eval_shape(image_model(new).init, KEY)
    )
    assert found["patches"]["kernel"].shape == (4, 4, 1, 16)
    assert found["down_0"] is params["down_0"]
    for wrong in (
        replace(old, depth=3, mixer="cnn"),
        replace(old, width=24, heads=2),
        replace(old, width=8, heads=1),
    ):
        with pytest.raises(ValueError, match="accepted"):
            reshape_image_model(params, old, wrong, KEY)


@pytest.mark.parametrize("bias", [True, False])
def test_a_wider_mlp_has_the_same_outputs(bias):
    old = MLPConfig(width=7, depth=3, input_size=5, outputs=2, bias=bias)
    new = replace(old, width=12)
    x = jax.random.normal(jax.random.key(1), (4, 5))
    params = mlp(old).init(KEY)
    grown = widen_mlp(params, old, new, jax.random.key(2))
    before, after = mlp(old).apply(params, x), mlp(new).apply(grown, x)
    np.testing.assert_allclose(after, before, atol=1e-5)
    gradient = jax.grad(lambda p: mlp(new).apply(p, x).sum())(grown)
    assert jnp.abs(gradient["readout"]["kernel"][7:]).max() > 1e-4
    with pytest.raises(ValueError, match="a width of at least 7"):
        widen_mlp(params, old, replace(old, width=3), KEY)


@pytest.mark.parametrize(
    "config",
    [
        ImageConfig((28, 28), mixer="attention", width=64, depth=2, patch=4),
        ImageConfig((28, 28), mixer="attention", width=32, depth=2, heads=2, patch=2),
        ImageConfig((28, 28), mixer="cnn", width=64, depth=2, patch=2, window=3),
    ],
)
def test_flops_are_those_that_xla_counts(config):
    model = image_model(config)
    x = jax.ShapeDtypeStruct((8, 28, 28, 1), jnp.float32)
    params = jax.eval_shape(model.init, KEY)

    def loss(params, x):
        return jnp.sum(model.apply(params, x) ** 2)

    lowered = jax.jit(jax.grad(loss)).lower(params, x)
    counted = lowered.cost_analysis()["flops"] / 8
    ratio = counted / training_flops_per_image(config)
    assert 0.95 < ratio < 1.15, ratio
