"""Softmax attention over random logits, as many heads leave it: averages over draws.

Logits over the root of the key channels are Gaussian in the limit, E G_pr G'_qs = Q² K_pq K_rs, for
x and x' together: with F F^T the covariance of both examples' places and E of N(0, 1), G is
Q F E F^T. A draw gives the weights A of x and A' of x' and, with k = K(x, x'), M = A k A'^T,

    K'      = E M
    Theta'  = E [A Theta A'^T + 2 M + Q² (2 k * B(k) + Theta * B(k) + k * B(Theta))]
    B(V) = A (k * V) A'^T - A ((k A'^T) * (V A'^T)) - ((A k) * (A V)) A'^T + M * (A V A'^T)

with * elementwise. 2 M is of the value and output weights. B sums V over the derivatives of both
examples' attended values by their logits, from dA_r / dG_c = A_r (delta_rc - A_c): 2 k * B(k) is of
the query and key weights, Theta * B(k) of what queries see, k * B(Theta) of what keys see.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory.stax.attention import HIDDEN, Side
from theory.stax.block import Block
from theory.stax.joint import batch_first, both_orders, joint_roots
from theory.stax.mixing import paired_places


def attended(
    k: Block, left: Side, right: Side, seen: np.ndarray, logit_std: float, samples: int, seed: int
) -> tuple[Array, Array | None]:
    """K' and Theta' without the output's scale and bias, means over draws.

    Args:
      k: a full block.
      left, right: K(x, x) and K(x', x') and masks.
      seen: (places, places) bool, query by key.
      logit_std: Q.
      samples, seed: draws.
    """
    assert left.nngp is not None
    assert right.nngp is not None
    nngp = batch_first(k, k.nngp)
    ntk = None if k.ntk is None else batch_first(k, k.ntk)
    root1, root2 = joint_roots(k, left.nngp, right.nngp)
    blind1, blind2 = (_blind(side, seen, k.rank) for side in (left, right))

    def weights(own: Array, noise: Array, blind: Array) -> Array:
        logits = logit_std * (own @ noise @ own.mT)
        return jax.nn.softmax(jnp.where(blind, HIDDEN, logits), -1)

    def step(total, key):
        draws = both_orders(k, jax.random.normal(key, (root1.shape[-1],) * 2, nngp.dtype))
        for noise in draws:
            a = weights(root1, noise, blind1)
            b = a if k.itself else weights(root2, noise, blind2)
            out = (a @ nngp @ b.mT,) if ntk is None else _both(a, b, nngp, ntk, logit_std)
            total = tuple(t + o / len(draws) for t, o in zip(total, out, strict=True))
        return total, None

    start = (jnp.zeros_like(nngp),) * (1 if ntk is None else 2)
    total, _ = lax.scan(step, start, jax.random.split(jax.random.key(seed), samples))

    def back(value: Array) -> Array:
        flat = jnp.moveaxis(value / samples, (-2, -1), (0, 1))
        return paired_places(flat, range(k.rank), k.space)

    return back(total[0]), None if ntk is None else back(total[1])


def _blind(side: Side, seen: np.ndarray, rank: int) -> Array:
    """Keys that queries do not see: (places, places), or (*batch, places, places)."""
    out = jnp.asarray(~seen)
    if side.mask is None:
        return out
    keys = jnp.moveaxis(side.mask.reshape(-1, *side.mask.shape[rank:]), 0, -1)
    return out | keys[..., None, :]


def _both(a: Array, b: Array, k: Array, theta: Array, logit_std: float) -> tuple[Array, Array]:
    """K' and Theta' of one draw; (*batch, p, q) all."""
    ak, kb = a @ k, k @ b.mT
    m = ak @ b.mT

    def derivatives(v: Array) -> Array:
        av, vb = a @ v, v @ b.mT
        one = a @ (k * v) @ b.mT
        return one - a @ (kb * vb) - (ak * av) @ b.mT + m * (av @ b.mT)

    own = derivatives(k)
    logits = (2 * k + theta) * own + k * derivatives(theta)
    return m, a @ theta @ b.mT + 2 * m + logit_std**2 * logits
