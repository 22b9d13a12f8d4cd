"""Whole convolutional networks: wide finite ones, and derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.theory.stax.spatial.exact import inputs, masked_inputs
from theory import stax


def network(width):
    return stax.serial(
        stax.Conv(width, (3, 2), padding="SAME", W_std=1.4, b_std=0.2),
        stax.Relu(),
        stax.AvgPool((2, 2), padding="SAME", normalize_edges=True),
        stax.ConvTranspose(width, (2, 2), (2, 1), "SAME", 1.3),
        stax.Relu(),
        stax.ConvLocal(width, (2, 3), (2, 1), W_std=1.2, b_std=0.1),
        stax.Relu(),
        stax.ImageResize((-1, 3, -1, -1), "linear"),
        stax.GlobalAvgPool(),
        stax.Dense(1, 1.3),
    )


@pytest.mark.slow
@pytest.mark.parametrize("mask_constant", [None, 9.0])
def test_wide_finite_networks_approach_the_limit(mask_constant):
    """Means over draws of finite NNGP and NTK meet the kernel within their error of sampling."""
    make = inputs if mask_constant is None else masked_inputs
    x = make((4, 3), batch=2).astype("float32")
    net = network(96)
    apply = stax.unmask_fn(net.apply_fn)

    @jax.jit
    def draw(key):
        _, params = net.init_fn(key, x.shape)

        def outputs(p):
            return apply(p, x, mask_constant=mask_constant)[:, 0]

        rows = [leaf.reshape(2, -1) for leaf in jax.tree.leaves(jax.jacrev(outputs)(params))]
        return jnp.outer(outputs(params), outputs(params)), sum(row @ row.T for row in rows)

    draws = jax.lax.map(draw, jax.random.split(jax.random.key(0), 1500))
    kernel = net.kernel_fn(x, mask_constant=mask_constant)
    for samples, limit in zip(draws, (kernel.nngp, kernel.ntk), strict=True):
        samples = np.asarray(samples, np.float64)
        error = samples.std(0) / np.sqrt(len(samples))
        # 4 errors of sampling, and O(1/width) of the limit
        assert (np.abs(samples.mean(0) - limit) <= 4 * error + 2 / 96 * np.abs(limit)).all()


def test_derivatives_are_those_of_finite_differences():
    net = stax.serial(
        stax.Conv(1, (2,), padding="CIRCULAR", b_std=0.1),
        stax.Relu(),
        stax.SumPool((3,), padding="SAME"),
        stax.GlobalAvgPool(),
    )
    with jax.enable_x64(True):
        x1, x2 = (jnp.asarray(inputs((4,), batch=1, seed=seed)) for seed in (0, 1))
        direction, step = inputs((4,), batch=1, seed=2), 1e-6
        slope_of = jax.jit(jax.value_and_grad(lambda x: net.kernel_fn(x, x2, "ntk").sum()))
        slope = np.vdot(slope_of(x1)[1], direction)
        ends = [slope_of(x1 + sign * step * direction)[0] for sign in (1, -1)]
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)
