"""The layers against dense attention in NumPy, and what windows promise."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import (
    NeighborhoodAttention1D,
    NeighborhoodAttention2D,
    NeighborhoodAttention3D,
    axial_rotary,
    count_parameters,
)
from tests.numerics import assert_close

LAYERS = {1: NeighborhoodAttention1D, 2: NeighborhoodAttention2D, 3: NeighborhoodAttention3D}
SPACES = {1: (9,), 2: (4, 5), 3: (2, 3, 4)}


def image(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def started(layer, x, seed=0):
    """Parameters, every one of them random: zeros would hide what an offset or a table does."""
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(0.4 * rng.standard_normal(a.shape), a.dtype), shapes)


def dense(parameters, x, heads, kv_heads, head_dim, rotary, mask):
    """Plain multi-head attention, float64, of a layer whose window is the whole space."""
    weights = jax.tree.map(lambda a: np.asarray(a, np.float64), parameters["params"])
    batch, *space, _ = x.shape
    qkv = np.asarray(x, np.float64) @ weights["qkv"]["kernel"] + weights["qkv"].get("bias", 0)
    qkv = qkv.reshape(batch, *space, heads + 2 * kv_heads, head_dim)
    q, k, v = np.split(qkv, (heads, heads + kv_heads), axis=-2)
    if rotary:
        q, k = (np.asarray(axial_rotary(jnp.asarray(a, jnp.float32)), np.float64) for a in (q, k))
    q, k, v = (a.reshape(batch, -1, *a.shape[-2:]) for a in (q, k, v))
    k, v = (np.repeat(a, heads // kv_heads, axis=-2) for a in (k, v))
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(head_dim)
    if "relative_bias" in weights:
        places = np.stack(np.unravel_index(np.arange(np.prod(space)), space))
        offset = places[:, None, :] - places[:, :, None] + np.array(space)[:, None, None] - 1
        scores = scores + weights["relative_bias"][:, *offset]
    if mask is not None:
        scores = np.where(mask.reshape(batch, 1, 1, -1), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    y = np.einsum("bhqk,bkhd->bqhd", p / p.sum(-1, keepdims=True), v)
    y = y.reshape(batch, *space, heads * head_dim)
    return y @ weights["out"]["kernel"] + weights["out"]["bias"]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("plain", [True, False])
def test_a_window_of_the_whole_space_is_dense_attention(rank, plain):
    space, heads = SPACES[rank], 4
    x, mask = image(2, *space, 12), None
    options = {"kv_heads": None, "head_dim": None, "qkv_bias": True}
    if not plain:
        options = {"kv_heads": 2, "head_dim": 12, "qkv_bias": False}
        options |= {"rotary": True, "relative_bias": True}
        mask = np.random.default_rng(1).random((2, *space)) < 0.6
        mask[:, *(0,) * rank] = True
    layer = LAYERS[rank](12, heads, window=space, **options)
    parameters = started(layer, x)
    y = jax.jit(layer.apply)(parameters, x, mask)
    expected = dense(
        parameters, x, heads, 2 if not plain else 4, 12 if not plain else 3, not plain, mask
    )
    assert_close(y, expected)


@pytest.mark.parametrize("rank", [1, 2])
def test_the_future_does_not_reach_the_past(rank):
    space = (12,) if rank == 1 else (4, 12)  # causal along the last axis
    causal = True if rank == 1 else (False, True)
    layer = LAYERS[rank](8, 2, window=4, causal=causal, rotary=True)
    x = image(1, *space, 8)
    parameters = started(layer, x)
    changed = x.at[..., 7:, :].add(1.0)
    apply = jax.jit(layer.apply)
    a, b = (np.asarray(apply(parameters, z)) for z in (x, changed))
    assert np.array_equal(a[..., :7, :], b[..., :7, :])
    assert np.abs(a[..., 7:, :] - b[..., 7:, :]).min(axis=-1).max() > 1e-3


def test_what_is_outside_the_window_is_not_seen():
    layer = NeighborhoodAttention2D(8, 2, window=(3, 5), dilation=(1, 2), stride=(1, 2))
    x = image(1, 9, 11, 8)
    parameters = started(layer, x)
    slopes = jax.jit(jax.grad(lambda x: layer.apply(parameters, x)[0, 4, 4].sum()))(x)
    seen = np.abs(np.asarray(slopes)[0]).max(-1) > 0
    expected = np.zeros((9, 11), bool)
    expected[3:6, 2:11:2] = True  # queries 2 and 3 of six are led by 3: places 1 to 5
    assert np.array_equal(seen, expected)


def test_shifted_images_give_shifted_features_with_relative_positions():
    layer = NeighborhoodAttention2D(8, 2, window=3, rotary=True, relative_bias=True, head_dim=8)
    x = image(1, 8, 9, 8)
    parameters = started(layer, x)
    apply = jax.jit(layer.apply)
    a, b = (apply(parameters, z) for z in (x, jnp.roll(x, (1, 2), (1, 2))))
    assert_close(b[:, 2:-1, 3:-1], a[:, 1:-2, 1:-3])  # away from the borders


def test_parameters():
    x = image(1, 7, 7, 12)
    layer = NeighborhoodAttention2D(12, 3, window=(3, 7))
    parameters = jax.eval_shape(layer.init, jax.random.key(0), x)["params"]
    assert jax.tree.map(lambda a: a.shape, parameters) == {
        "qkv": {"kernel": (12, 36), "bias": (36,)},
        "out": {"kernel": (12, 12), "bias": (12,)},
    }
    assert count_parameters(parameters).total == 4 * (12 * 12 + 12)
    few = layer.clone(kv_heads=1, head_dim=8, qkv_bias=False, relative_bias=True)
    parameters = jax.jit(few.init)(jax.random.key(0), x)["params"]
    assert jax.tree.map(lambda a: a.shape, parameters) == {
        "qkv": {"kernel": (12, 40)},
        "out": {"kernel": (24, 12), "bias": (12,)},
        "relative_bias": (3, 5, 13),
    }
    assert 0.015 < float(parameters["relative_bias"].std()) < 0.025


def test_dtypes():
    def started_as(x, **dtypes):
        layer = NeighborhoodAttention1D(8, 2, window=3, relative_bias=True, rotary=True, **dtypes)
        y, parameters = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
        (of_parameters,) = {str(a.dtype) for a in jax.tree.leaves(parameters)}
        return str(y.dtype), of_parameters

    x = image(1, 9, 8)
    assert started_as(x, dtype=jnp.bfloat16) == ("bfloat16", "float32")
    assert started_as(x.astype(jnp.bfloat16)) == ("float32", "float32")
    half = jnp.float16
    assert started_as(x.astype(half), param_dtype=half) == ("float16", "float16")
    with jax.enable_x64(True):
        assert started_as(x, dtype=jnp.float32, param_dtype=jnp.float64) == ("float32", "float64")
        assert started_as(x, param_dtype=jnp.float64) == ("float64", "float64")


def test_gradients_are_finite_and_reach_every_parameter():
    """Also where a sample has no valid key at all."""
    x = image(2, 4, 5, 8)
    mask = np.ones((2, 4, 5), bool)
    mask[1] = False
    layer = NeighborhoodAttention2D(
        8, 4, window=3, stride=(1, 2), kv_heads=2, head_dim=4, rotary=True, relative_bias=True
    )
    parameters = started(layer, x)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def loss(parameters):
        y = layer.apply(parameters, x, mask)
        return (y**2).mean(), y

    (value, y), slopes = loss(parameters)
    assert np.isfinite(value)
    for path, slope in jax.tree_util.tree_leaves_with_path(slopes):
        assert np.isfinite(slope).all(), path
        assert np.abs(slope).max() > 0, path
    offset = parameters["params"]["out"]["bias"]
    assert_close(y[1], np.broadcast_to(offset, y[1].shape))  # nothing attended: the offset alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "features is 0"),
        ({"heads": 3}, "heads is 3, which does not divide features 8"),
        ({"heads": True}, "heads is True"),
        ({"kv_heads": 3}, "kv_heads is 3"),
        ({"kv_heads": 0}, "kv_heads is 0"),
        ({"head_dim": 2.0}, "head_dim is 2.0"),
        ({"head_dim": 6, "rotary": True}, "head_dim is 6; accepted with rotary over 2 axes"),
        ({"window": 8}, "window is 8"),
        ({"window": (3, 3, 3)}, "window is"),
        ({"window": (3, 3, 3), "relative_bias": True}, "window is"),
        ({"window": 3.0, "relative_bias": True}, "window is"),
        ({"stride": 4}, "stride is 4"),
        ({"implementation": "cudnn"}, "implementation is 'cudnn'"),
    ],
)
def test_wrong_options_are_named(options, message):
    layer = NeighborhoodAttention2D(**{"features": 8, "heads": 2, "window": 3, **options})
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 6, 7, 8)))


@pytest.mark.parametrize("shape", [(1, 6, 8), (1, 6, 6, 6, 8), (1, 6, 7, 9)])
def test_wrong_shapes_are_named(shape):
    layer = NeighborhoodAttention2D(8, 2, window=3)
    with pytest.raises(ValueError, match=r"NeighborhoodAttention2D expects \(batch, height, width"):
        layer.init(jax.random.key(0), jnp.zeros(shape))
