"""The optimiser: the transfer rule, the schedule, decay where it belongs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import LongConvLMConfig, long_conv_lm
from farwide.training import (
    OptimizerConfig,
    learning_rates,
    make_optimizer,
    peak_learning_rate,
)
from farwide.training.optimizer import labels


def first_update(width, **options):
    """The first Adam update of a gradient of ones: the label's factor, but for weight decay."""
    model = long_conv_lm(LongConvLMConfig(width, 1, sequence_length=32))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), shapes)
    optimizer = make_optimizer(OptimizerConfig(**options), width)

    @jax.jit
    def update(params):
        ones = jax.tree.map(jnp.ones_like, params)
        return optimizer.update(ones, optimizer.init(params), params)[0]

    return params, update(params)


def test_hidden_matrices_scale_as_one_over_width_and_nothing_else_does():
    by_width = {w: first_update(w, weight_decay=0.0, base_width=32)[1] for w in (32, 64)}
    for path, small in jax.tree_util.tree_leaves_with_path(by_width[32]):
        names = [entry.key for entry in path]
        large = by_width[64]
        for name in names:
            large = large[name]
        ratio = float(jnp.abs(large).mean() / jnp.abs(small).mean())
        hidden = any(name in ("in_proj", "out_proj", "up", "down") for name in names)
        assert ratio == pytest.approx(0.5 if hidden else 1.0, rel=1e-3), names
        if "filters_0" in names:
            assert float(jnp.abs(small).mean()) == pytest.approx(0.3, rel=1e-3)


def test_every_leaf_has_a_label_and_all_labels_occur():
    params, _ = first_update(16)
    assert set(jax.tree.leaves(labels(params))) == {"hidden", "filter", "vector"}


def test_weight_decay_reaches_hidden_matrices_only():
    params, with_decay = first_update(32, weight_decay=0.5)
    _, without = first_update(32, weight_decay=0.0)
    kinds = labels(params)
    for kind, p, a, b in zip(
        *map(jax.tree.leaves, (kinds, params, with_decay, without)), strict=True
    ):
        expected = 0.5 * p if kind == "hidden" else jnp.zeros_like(p)
        np.testing.assert_allclose(a - b, expected, atol=1e-6)


def test_gradients_are_clipped_by_their_global_norm():
    params = {"up": jnp.ones((4, 4))}
    optimizer = make_optimizer(OptimizerConfig(clip_norm=1.0), 4)
    state = optimizer.init(params)
    _, huge = optimizer.update({"up": jnp.full((4, 4), 1e9)}, state, params)
    moments = [leaf for leaf in jax.tree.leaves(huge) if leaf.shape == (4, 4)]
    assert float(jnp.linalg.norm(moments[0])) == pytest.approx(0.1, rel=1e-5)  # (1 - beta1) * 1


def test_schedule_warms_up_peaks_and_ends_at_its_final_fraction():
    config = OptimizerConfig(learning_rate=0.1, base_tokens=1000, warmup_fraction=0.1)
    rates = learning_rates(config, 200, 1000)
    assert rates.shape == (200,)
    assert rates.argmax() == 20
    assert rates.max() == pytest.approx(0.1)
    assert np.all(np.diff(rates[:21]) > 0)
    assert np.all(np.diff(rates[20:]) < 0)
    progress = (199 - 20) / (200 - 20)
    expected = 0.1 * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress)))
    assert rates[-1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_schedules_are_finite_and_positive(steps):
    rates = learning_rates(OptimizerConfig(), steps, 1000)
    assert rates.shape == (steps,)
    assert np.all(np.isfinite(rates) & (rates > 0))


def test_peak_falls_as_the_fourth_root_of_the_budget():
    config = OptimizerConfig(learning_rate=0.04, base_tokens=1000)
    assert peak_learning_rate(config, 16_000) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"base_width": 0}, "base_width is 0"),
        ({"warmup_fraction": 1.0}, "warmup_fraction is 1.0"),
        ({"clip_norm": float("nan")}, "clip_norm is nan"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**options)
    with pytest.raises(ValueError, match="steps is 0"):
        learning_rates(OptimizerConfig(), 0, 10)
