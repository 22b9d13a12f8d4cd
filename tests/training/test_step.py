"""One step against the same arithmetic written by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from farwide.models import LongConvLMConfig, long_conv_lm
from farwide.training import (
    OptimizerConfig,
    make_evaluate,
    make_init,
    make_optimizer,
    make_train_step,
    next_byte_loss,
)

CONFIG = LongConvLMConfig(8, 1, sequence_length=16)
WINDOWS = np.random.default_rng(0).integers(0, 256, (3, 17)).astype(np.int32)


def test_loss_is_the_mean_negative_log_probability_of_the_next_byte():
    model = long_conv_lm(CONFIG)
    params = model.init(jax.random.key(0))
    logits = np.asarray(model.apply(params, WINDOWS[:, :-1]), np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    picked = [log_probability[b, t, WINDOWS[b, t + 1]] for b in range(3) for t in range(16)]
    assert float(next_byte_loss(model, params, WINDOWS)) == pytest.approx(
        -np.mean(picked), rel=1e-5
    )


def test_step_equals_gradient_then_optax_by_hand():
    model = long_conv_lm(CONFIG)
    optimizer = make_optimizer(OptimizerConfig(), CONFIG.width)
    state = make_init(model, optimizer)(jax.random.key(0))
    params = jax.tree.map(jnp.copy, state.params)
    opt_state = jax.tree.map(jnp.copy, state.opt_state)
    loss, gradients = jax.value_and_grad(lambda p: next_byte_loss(model, p, WINDOWS))(params)
    updates, _ = optimizer.update(gradients, opt_state, params)
    expected = optax.apply_updates(params, jax.tree.map(lambda u: -0.01 * u, updates))
    state = make_train_step(model, optimizer)(state, WINDOWS, np.float32(0.01))
    assert int(state.step) == 1
    assert float(state.loss_sum) == pytest.approx(float(loss), rel=1e-6)
    for a, b in zip(*map(jax.tree.leaves, (state.params, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_evaluate_is_the_mean_over_all_windows_whatever_the_chunks():
    model = long_conv_lm(CONFIG)
    params = model.init(jax.random.key(0))
    windows = np.random.default_rng(1).integers(0, 256, (37, 17)).astype(np.int32)
    one_by_one = np.mean([float(next_byte_loss(model, params, w[None])) for w in windows])
    assert make_evaluate(model)(params, windows) == pytest.approx(one_by_one, rel=1e-5)
