"""Softmax attention over random logits, as many heads of many key channels leave it.

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

from jax import Array

from theory.stax.logit_draws import Given, Values, weights_of


def draw(given: Given, noise: Array, logit_std: float) -> Values:
    """K' and Theta' of one draw.

    Args:
      given: of `logit_draws`.
      noise: E, (size, size).
      logit_std: Q.
    """

    def weights(side: int) -> Array:
        root = given.roots[side]
        return weights_of(logit_std * (root @ noise @ root.mT), given.blind[side])

    a = weights(0)
    b = a if given.itself else weights(1)
    if given.ntk is None:
        return (a @ given.nngp @ b.mT,)
    return _both(a, b, given.nngp, given.ntk, logit_std)


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
