"""The first layer: vectors, and learned inducing vectors, to their Gram matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from theory.dkm.gram import Gram
from theory.dkm.layer import Layer, floating, leaf, whole, zero


def inputs(count: int, *, inducing: Float[Array, "count d"] | None = None) -> Layer:
    """(N, D) vectors to a `Gram`: ii = Z Z^T / D, ti = X Z^T / D, t = |x|² / D, with Z learned.

    Args:
      count: inducing points.
      inducing: (count, D) where they start; by default rows of the batch that `init` is given,
        at least `count` of them, no row twice.

    Raises:
      ValueError: when it is initialised: inputs of another rank or of whole numbers, or too few of
        them.
    """
    count = whole("count", count)

    def init(key, x):
        if x.ndim != 2:
            raise ValueError(f"inputs must have shape (N, D), got {x.shape}; images: dkm.patches")
        floating("inputs", x)
        if inducing is not None:
            shape = (count, x.shape[1])
            if jnp.shape(inducing) != shape:
                raise ValueError(f"inducing must have shape {shape}, got {jnp.shape(inducing)}")
            return jnp.asarray(inducing, x.dtype)
        if len(x) < count:
            raise ValueError(f"init needs at least {count} inputs to choose from, got {len(x)}")
        return jnp.asarray(x)[jax.random.choice(key, len(x), (count,), replace=False)]

    def apply(params, x, key, train):
        size = x.shape[-1]
        ii = jnp.matmul(params, params.T, precision="highest") / size
        ti = jnp.matmul(x, params.T, precision="highest") / size
        return Gram(ii, ti, (x**2).mean(-1)), zero(x)

    return leaf(f"inputs({count})", init, apply)
