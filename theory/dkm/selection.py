"""Which of many candidates become inducing points: some that differ, and not twice the same."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from theory.predict.pivoted_cholesky import eliminate

POOL = 4  # candidates for each inducing point


def spread_out(key: Array, G: Float[Array, "n n"], count: int) -> Int[Array, "count"]:
    """Indices of `count` points, each drawn in proportion to what those before leave unexplained.

    Unexplained is the conditional variance under a squared exponential kernel of the distances
    |f_i - f_j|² = G_ii + G_jj - 2 G_ij, its length scale their mean: equal points explain one
    another, and an image's many black patches count once. Where nothing is left, the rest is drawn
    alike.

    Args:
      key: a PRNG key.
      G: Gram matrix of the candidates.
      count: at most n.

    Raises:
      ValueError: fewer candidates than that.

    Reference: Chen, Epperly, Tropp, Webber 2023, Randomly pivoted Cholesky.
    """
    n = len(G)
    if count > n:
        raise ValueError(f"count must be at most {n}, the number of candidates, got {count}")
    variance = jnp.diagonal(G)
    square = jnp.maximum(variance[:, None] + variance - 2 * G, 0)
    K = jnp.exp(-square / jnp.maximum(square.mean(), jnp.finfo(G.dtype).tiny))

    def choose(i, carry):
        factor, left, free, chosen = carry
        weight = jnp.where(free, left + jnp.finfo(G.dtype).eps, 0)
        at = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(weight))
        factor, left = eliminate(factor, jnp.maximum(left, jnp.finfo(G.dtype).eps), K[at], at, i)
        return factor, left, free.at[at].set(False), chosen.at[i].set(at.astype(chosen.dtype))

    factor = jnp.zeros((n, count), G.dtype)
    chosen = jnp.zeros(count, jnp.int32)
    start = factor, jnp.ones(n, G.dtype), jnp.ones(n, bool), chosen
    return lax.fori_loop(0, count, choose, start)[-1]
