"""Moments of the taps of finite filters drawn many times, which the formulas are checked against.

The rule: entry by entry

    |mean of draws - moment| <= DEVIATIONS * error + (ROUNDING + BIAS / width) * max |moment|

`error` is the standard error over keys, each with all of its channels; `width` is that of the
filter's network, if it has one whose limit was taken (see tests/theory/stax/sampling.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

DEVIATIONS, BIAS, ROUNDING = 5.0, 2.0, 1e-5


class Sample(NamedTuple):
    """A mean over draws, (taps, taps), and its standard error."""

    mean: np.ndarray
    error: np.ndarray


def draws(
    module: Any,
    deviations: Callable[[dict, list[jax.Array]], dict],
    keys: int,
    *,
    seed: int = 0,
    batch: int = 50,
) -> tuple[Sample, Sample]:
    """R and T from `keys` draws of a Linen filter.

    Args:
      module: a filter.
      deviations: (params, what normal numbers its initialisers drew) -> a tree of arrays that
        broadcast against params: the initial deviation of each parameter, 0 where not trained.
      keys: number of draws, a multiple of `batch`.
    """
    assert keys % batch == 0

    def one(key):
        raws = []
        normal = jax.random.normal

        def recorded(*args, **kwargs):
            raws.append(normal(*args, **kwargs))
            return raws[-1]

        with mock.patch.object(jax.random, "normal", recorded):
            params = module.init(key)["params"]
        taps = module.apply({"params": params})
        scales = deviations(params, raws)
        rows = jax.jacrev(lambda p: module.apply({"params": p}))(params)
        leaves = jax.tree.map(
            lambda row, scale, p: row * jnp.broadcast_to(scale, p.shape), rows, scales, params
        )
        jac = jnp.concatenate([x.reshape(*taps.shape, -1) for x in jax.tree.leaves(leaves)], -1)
        second = jnp.einsum("cs,ct->st", taps, taps, precision="highest")
        ntk = jnp.einsum("csp,ctp->st", jac, jac, precision="highest")
        return second / len(taps), ntk / len(taps)

    drawn = jax.jit(jax.vmap(one))
    parts = [drawn(part) for part in jax.random.split(jax.random.key(seed), (keys // batch, batch))]
    values = [np.concatenate([np.asarray(p[i], np.float64) for p in parts]) for i in range(2)]
    return tuple(Sample(v.mean(0), v.std(0, ddof=1) / np.sqrt(keys)) for v in values)


def assert_moment(sample: Sample, expected: np.ndarray, width: float = np.inf) -> None:
    """The rule of this file."""
    excess = np.abs(sample.mean - expected) - DEVIATIONS * sample.error
    allowed = (ROUNDING + BIAS / width) * np.abs(expected).max()
    assert np.all(excess <= allowed), f"off by {excess.max():.3g} > {allowed:.3g}"


def assert_covariance(matrix: np.ndarray) -> None:
    """Symmetric, and positive semidefinite up to rounding."""
    np.testing.assert_array_equal(matrix, matrix.T)
    values = np.linalg.eigvalsh(matrix)
    assert values[0] >= -1e-14 * len(matrix) * values[-1]
