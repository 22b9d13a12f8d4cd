"""From Gaussian outputs to targets: regression and classification."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theory.dkm.layer import whole
from theory.dkm.output import Output


class Likelihood(NamedTuple):
    """p(y | f).

    Attributes:
      name: as a user would write it.
      init: dtype -> params.
      expected: (params, Output, y, key) -> (N,) E_q[log p(y | f)] of every example, in nats.
      log_density: (params, Output, y, key) -> (N,) log E_q[p(y | f)], what a test set is scored by.
      predict: (params, Output, key) -> for regression an `Output` of the targets, noise included;
        for classes (N, C) log probabilities.
    """

    name: str
    init: Callable[[Any], Any]
    expected: Callable[..., Array]
    log_density: Callable[..., Array]
    predict: Callable[..., Any]


def gaussian(noise_variance: float = 0.1, *, learned: bool = True) -> Likelihood:
    """y_c = f_c + N(0, s²), s² learned in log space or fixed.

    With one output and learned noise a small nu overfits: nothing then keeps the representation
    from explaining every target.

    Args:
      noise_variance: s², where it starts.
      learned: whether it is a parameter.

    Raises:
      ValueError: a noise_variance that is not positive and finite.
    """
    if not 0 < noise_variance < math.inf:
        raise ValueError(f"noise_variance must be positive and finite, got {noise_variance!r}")

    def init(dtype):
        return {"log_noise_variance": jnp.asarray(math.log(noise_variance), dtype)}

    def log_variance(params, dtype):
        if not learned:
            return jnp.asarray(math.log(noise_variance), dtype)
        return params["log_noise_variance"]

    def expected(params, out: Output, y, key=None):
        y = _columns(y, out)
        log_s2 = log_variance(params, out.mean.dtype)
        square = (y - out.mean) ** 2 + out.variance[:, None]
        return -(math.log(2 * math.pi) + log_s2 + square * jnp.exp(-log_s2)).sum(-1) / 2

    def log_density(params, out: Output, y, key=None):
        y = _columns(y, out)
        variance = predict(params, out).variance[:, None]
        return -(jnp.log(2 * math.pi * variance) + (y - out.mean) ** 2 / variance).sum(-1) / 2

    def predict(params, out: Output, key=None):
        return Output(out.mean, out.variance + jnp.exp(log_variance(params, out.mean.dtype)))

    name = f"gaussian({noise_variance:g}" + ("" if learned else ", learned=False") + ")"
    return Likelihood(name, init if learned else lambda dtype: {}, expected, log_density, predict)


def categorical(samples: int = 100) -> Likelihood:
    """P(y = c) = softmax(f)_c; expectations over q by sampling f.

    Training averages log-softmaxes, of which only the normaliser is sampled (the mean of f_y is
    known); prediction averages probabilities. A y that is no class gives NaN.

    Args:
      samples: draws of f an example, in pairs of opposite noise.

    Raises:
      ValueError: samples below 1.
    """
    samples = whole("samples", samples)

    def draws(out: Output, key):
        if key is None:
            raise ValueError("a categorical likelihood samples its expectations: give it a key")
        # float32 has the digits that a sample needs, and random bits are what this costs
        shape = (-(-samples // 2), *out.mean.shape)
        half = jax.random.normal(key, shape, jnp.float32).astype(out.mean.dtype)
        tiny = jnp.finfo(out.mean.dtype).tiny
        half = jnp.sqrt(jnp.maximum(out.variance, tiny))[:, None] * half
        return jnp.concatenate([out.mean + half, out.mean - half])[:samples]

    def expected(params, out: Output, y, key=None):
        return _at_labels(out.mean, y) - jax.nn.logsumexp(draws(out, key), -1).mean(0)

    def predict(params, out: Output, key=None):
        log_p = jax.nn.log_softmax(draws(out, key), -1)
        return jax.nn.logsumexp(log_p, 0) - math.log(samples)

    def log_density(params, out: Output, y, key=None):
        return _at_labels(predict(params, out, key), y)

    return Likelihood(f"categorical({samples})", lambda dtype: {}, expected, log_density, predict)


def _at_labels(values: Array, y: Array) -> Array:
    """values[i, y_i]; NaN where y_i is no class."""
    if y.shape != values.shape[:1] or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(
            f"y must be whole numbers of shape {values.shape[:1]}, got {y.dtype} of {y.shape}"
        )
    at = jnp.where(y < 0, values.shape[1], y)  # a negative index would count from the end
    return jnp.take_along_axis(values, at[:, None], -1, mode="fill", fill_value=jnp.nan)[:, 0]


def _columns(y: Array, out: Output) -> Array:
    y = y[:, None] if y.ndim == 1 else y
    if y.shape != out.mean.shape:
        raise ValueError(f"y must have shape {out.mean.shape}, got {y.shape}")
    return y
