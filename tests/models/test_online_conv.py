"""The step-by-step long convolution against the sum that defines it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import start_online_conv, step_online_conv
from tests.numerics import assert_accurate


@jax.jit
def stream(taps, u):
    """(batch, channels, length) through the steps."""
    start = start_online_conv(taps, len(u))
    return jnp.moveaxis(jax.lax.scan(step_online_conv, start, jnp.moveaxis(u, 2, 0))[1], 0, 2)


def direct(taps, u):
    y = np.zeros(u.shape)
    for s in range(u.shape[-1]):
        y[..., s:] += taps[:, s, None] * u[..., : u.shape[-1] - s]
    return y


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9, 31, 100, 257])
def test_steps_give_the_causal_sum(length):
    rng = np.random.default_rng(length)
    taps, u = rng.normal(size=(3, length)), rng.normal(size=(2, 3, length))
    y = stream(jnp.asarray(taps, jnp.float32), jnp.asarray(u, jnp.float32))
    assert_accurate(y, direct(taps.astype(np.float32), u.astype(np.float32)), "float32")


def test_a_stream_may_end_early_and_its_state_stays_small():
    taps = jnp.ones((4, 4096))
    state = start_online_conv(taps, 2)
    step = jax.jit(step_online_conv)
    for t in range(5):
        state, y = step(state, jnp.full((2, 4), 2.0))
        np.testing.assert_allclose(y, 2.0 * (t + 1), rtol=1e-6)
    assert int(state.position) == 5
    sizes = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert sizes < 8 * 2 * 4 * 4096  # a few times the inputs, not length squared
