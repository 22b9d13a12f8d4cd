"""The language model: causal, counted, and learning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import (
    LongConvLMConfig,
    count_parameters,
    long_conv_lm,
    training_flops_per_token,
)


@pytest.mark.parametrize("kind", ["sgconv", "squash"])
def test_the_future_does_not_reach_the_past(kind):
    config = LongConvLMConfig(16, 2, sequence_length=64, filter=kind)
    model = long_conv_lm(config)
    params = jax.jit(model.init)(jax.random.key(0))
    tokens = np.random.default_rng(0).integers(0, 256, (2, 64)).astype(np.int32)
    changed = tokens.copy()
    changed[:, 40:] = (changed[:, 40:] + 7) % 256
    a, b = (np.asarray(model.apply(params, x)) for x in (tokens, changed))
    np.testing.assert_allclose(a[:, :40], b[:, :40], atol=1e-5 * np.abs(a).max())
    assert np.abs(a[:, 40:] - b[:, 40:]).max() > 1e-2


def test_the_whole_past_reaches_the_present():
    """A wrong filter (too short, reversed) would cut this."""
    model = long_conv_lm(LongConvLMConfig(16, 1, sequence_length=64))
    params = jax.jit(model.init)(jax.random.key(0))
    tokens = np.random.default_rng(0).integers(0, 256, (1, 64)).astype(np.int32)
    changed = tokens.copy()
    changed[:, 3] = (changed[:, 3] + 7) % 256
    difference = np.abs(
        np.asarray(model.apply(params, tokens)) - np.asarray(model.apply(params, changed))
    ).max(axis=(0, 2))
    assert difference[:3].max() < 1e-4
    assert difference[-1] > 1e-4
    assert (difference[3:] > 1e-6).mean() > 0.9


def test_parameter_counts_follow_the_formula():
    width, depth, length = 24, 3, 128
    config = LongConvLMConfig(width, depth, sequence_length=length, scale_dim=16)
    count = count_parameters(jax.eval_shape(long_conv_lm(config).init, jax.random.key(0)))
    scales = 4  # 1 + log2(128 / 16)
    block = 12 * width**2 + 3 * 3 * width + width + scales * 16 * width + 2 * width
    assert count.non_embedding == depth * block + width
    assert count.total == count.non_embedding + 256 * width


def test_flops_are_six_per_parameter_where_matrices_dominate():
    config = LongConvLMConfig(2048, 4, sequence_length=256)
    count = count_parameters(jax.eval_shape(long_conv_lm(config).init, jax.random.key(0)))
    assert training_flops_per_token(config) == pytest.approx(6 * count.total, rel=0.02)


def test_initial_loss_is_the_uniform_one_at_every_width():
    for width in (16, 128):
        model = long_conv_lm(LongConvLMConfig(width, 2, sequence_length=64))
        params = jax.jit(model.init)(jax.random.key(1))
        tokens = np.random.default_rng(1).integers(0, 256, (4, 65)).astype(np.int32)
        logits = model.apply(params, tokens[:, :-1])
        loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, 1:, None], -1).mean()
        assert float(loss) == pytest.approx(np.log(256), abs=0.8)


def test_wrong_shapes_and_options_are_named():
    with pytest.raises(ValueError, match="width is 0"):
        LongConvLMConfig(0, 2)
    with pytest.raises(ValueError, match="'hyena'"):
        LongConvLMConfig(8, 2, filter="hyena")  # type: ignore[arg-type]
    model = long_conv_lm(LongConvLMConfig(8, 1, sequence_length=32))
    params = jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(ValueError, match=r"inputs has shape \(1, 31\)"):
        model.apply(params, jnp.zeros((1, 31), jnp.int32))
