"""Softmax attention whose heads have few key channels, as many such heads leave it.

A head's queries and keys q_p, k_p have d independent channels of covariance K, for x and x'
together. With R_p an orthogonal map of the place (rotary positions) or the identity,

    G_pr = s (R_p q_p) . (R_r k_r),     s = Q / sqrt(d),     A = softmax(G) over the keys seen

Heads are many, so that outputs are Gaussian given K alone, and averages over heads are averages
over draws of q and k. With M = A K A'^T and * elementwise

    K'      = E M
    Theta'  = E [A Theta A'^T + 2 M + s² (K + Theta) * sum_i U_i K U'_i^T + s² sum_i C_i]

M stands twice for the value and output weights. The next term is of the queries: their weights give
K, what they see gives Theta. With the keys as query p sees them, u_pr = R_p^T R_r k_r,

    U_i[p, r] = A_pr (u_pr,i - sum_c A_pc u_pc,i)

is how channel i of q_p moves the weights of values. The last is of the keys: with w_pc =
R_c^T R_p q_p, D_i[p, c] = A_pc w_pc,i and H = K + Theta,

    C_i = D_i (H * K) D'_i^T - (D_i H * A K) D'_i^T - D_i (H D'_i^T * K A'^T) + D_i H D'_i^T * M

from dA_r / dG_c = A_r (delta_rc - A_c). As d grows without R, s² sum_i U_i K U'_i^T becomes
Q² B(K), and all of it `random_logits`. Derived here; rotary positions as of Su et al. 2021.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from theory.stax.logit_draws import Given, Values, weights_of

# (batch, *space, heads, head_dim) to the same: an orthogonal linear map at each place.
Turn = Callable[[Array], Array]


def draw(
    given: Given, noise: Array, logit_std: float, space: tuple[int, ...], turn: Turn | None
) -> Values:
    """K' and Theta' of one draw.

    Args:
      given: of `logit_draws`.
      noise: (size, 2, d): channels of queries and of keys.
      logit_std: Q.
      space: sizes of the spatial axes.
      turn: R; None for the identity.
    """
    scale = logit_std / noise.shape[-1] ** 0.5

    def head(side: int) -> tuple[Array, Array, Array]:
        """A, R q and R k of one example."""
        drawn = jnp.einsum("...ps,szd->...pzd", given.roots[side], noise)
        q, k = (turned(drawn[..., z, :], space, turn) for z in range(2))
        return weights_of(scale * (q @ k.mT), given.blind[side]), q, k

    one = head(0)
    other = one if given.itself else head(1)
    a, b = one[0], other[0]
    k, theta = given.nngp, given.ntk
    ak, kb = a @ k, k @ b.mT
    m = ak @ b.mT
    if theta is None:
        return (m,)
    both = k + theta

    def by_queries(weights: Array, keys: Array) -> Array:
        """U, (*batch, d, p, r)."""
        seen = turned_back(keys, space, turn)
        seen = seen - jnp.einsum("...pr,...prd->...pd", weights, seen)[..., None, :]
        return jnp.moveaxis(weights[..., None] * seen, -1, -3)

    def by_keys(weights: Array, queries: Array) -> Array:
        """D, (*batch, d, p, c)."""
        seen = jnp.swapaxes(turned_back(queries, space, turn), -3, -2)
        return jnp.moveaxis(weights[..., None] * seen, -1, -3)

    u, v = by_queries(a, one[2]), by_queries(b, other[2])
    queries = _ends(_rows(u, k), v)
    d, e = by_keys(a, one[1]), by_keys(b, other[1])
    dh, he = _rows(d, both), jnp.einsum("...cs,...dqs->...dcq", both, e)
    keys = _ends(_rows(d, both * k) - dh * ak[..., None, :, :], e)
    keys = keys - jnp.einsum("...dpc,...dcq->...pq", d, he * kb[..., None, :, :])
    keys = keys + m * _ends(dh, e)
    return m, a @ theta @ b.mT + 2 * m + scale**2 * (both * queries + keys)


def _rows(x: Array, k: Array) -> Array:
    """x_i k for each channel i of x (*batch, d, p, c)."""
    return jnp.einsum("...dpc,...cs->...dps", x, k)


def _ends(x: Array, y: Array) -> Array:
    """sum_i x_i y_i^T of (*batch, d, p, s) and (*batch, d, q, s)."""
    return jnp.einsum("...dps,...dqs->...pq", x, y)


def turned(x: Array, space: tuple[int, ...], turn: Turn | None) -> Array:
    """R_p x_p of (*batch, places, d)."""
    if turn is None:
        return x
    return turn(x.reshape(-1, *space, 1, x.shape[-1])).reshape(x.shape)


def turned_back(x: Array, space: tuple[int, ...], turn: Turn | None) -> Array:
    """R_p^T x_r of (*batch, r, d), as (*batch, p, r, d)."""
    places, size = x.shape[-2:]
    every = jnp.broadcast_to(x[..., None, :, :], (*x.shape[:-2], places, places, size))
    if turn is None:
        return every
    rows = every.reshape(-1, *space, places, size)
    (back,) = jax.linear_transpose(turn, rows)(rows)
    return back.reshape(every.shape)
