"""Covariances of finite networks drawn many times, which the limits are checked against.

The rule: entry by entry

    |mean of draws - limit| <= DEVIATIONS * standard error + BIAS / width * max |limit|

A finite network is off its limit by O(1 / width) (Hanin & Nica 2020); BIAS is a bound of the factor
over the layers tested.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

DEVIATIONS, BIAS = 5.0, 2.0


def flat(value, batch_axes: int = 2) -> np.ndarray:
    """(*batch, p_1, q_1, p_2, q_2, ..) as (*batch, places, places)."""
    value = np.asarray(value)
    rank = (value.ndim - batch_axes) // 2
    order = [batch_axes + 2 * a + side for side in range(2) for a in range(rank)]
    value = value.transpose(*range(batch_axes), *order)
    size = int(np.prod(value.shape[batch_axes : batch_axes + rank], dtype=int))
    return value.reshape(*value.shape[:batch_axes], size, size)


def draws(layer, x1, x2, count, *, pattern=(None, None), mask_constant=None, seed=0):
    """NNGP and NTK of `count` networks, each (count, N1, N2, places, places).

    The NTK is that of the first output channel.
    """
    shape = jax.tree.map(lambda x: x.shape, x1)

    def outputs(params, x, rng, graph):
        y = layer.apply_fn(params, x, rng=rng, pattern=graph, mask_constant=mask_constant)
        y = getattr(y, "masked_value", y)
        return y.reshape(y.shape[0], -1, y.shape[-1])

    def jacobian(params, x, rng, graph):
        rows = jax.jacrev(lambda p: outputs(p, x, rng, graph)[..., 0])(params)
        leaves = [leaf.reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(rows)]
        return jnp.concatenate(leaves, -1)

    @jax.jit
    def one(key):
        key_init, key1, key2 = jax.random.split(key, 3)
        params = layer.init_fn(key_init, shape)[1]
        y1 = outputs(params, x1, key1, pattern[0])
        y2 = outputs(params, x2, key2, pattern[1])
        j1 = jacobian(params, x1, key1, pattern[0])
        j2 = jacobian(params, x2, key2, pattern[1])
        nngp = jnp.einsum("npc,mqc->nmpq", y1, y2) / y1.shape[-1]
        return nngp, jnp.einsum("npw,mqw->nmpq", j1, j2)

    parts = [one(key) for key in jax.random.split(jax.random.key(seed), count)]
    return tuple(np.stack([np.asarray(part[i]) for part in parts]) for i in range(2))


def assert_limit(samples: np.ndarray, limit, width: int) -> None:
    """The rule of this file; `limit` in the layout of kernel_fn."""
    expected = flat(limit)
    mean, error = samples.mean(0), samples.std(0, ddof=1) / np.sqrt(len(samples))
    excess = np.abs(mean - expected) - DEVIATIONS * error
    allowed = BIAS / width * np.abs(expected).max()
    assert excess.max() <= allowed, (
        f"beyond {DEVIATIONS} deviations by {excess.max():.3g} > {allowed:.3g}"
    )


def assert_network(layer, x1, x2, width: int, count: int = 60, **options) -> None:
    """NNGP and NTK of a network against draws of it."""
    kernel_options = {key: value for key, value in options.items() if key != "seed"}
    kernel = layer.kernel_fn(x1, x2, ("nngp", "ntk"), **kernel_options)
    nngp, ntk = draws(layer, x1, x2, count, **options)
    assert_limit(nngp, kernel.nngp, width)
    assert_limit(ntk, kernel.ntk, width)
