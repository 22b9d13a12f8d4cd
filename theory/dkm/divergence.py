"""How far a layer's Gram matrix has moved from the one its inputs predict.

With K = L L^T the prior covariance of a layer's features and G = V V^T their Gram matrix,

    KL(N(0, G) || N(0, K)) = 1/2 [tr(K^-1 G) - logdet(K^-1 G) - P]
                           = 1/2 [|L^-1 V|_F^2 - P] - sum_i log(V_ii / L_ii)

and to second order about G = K it is 1/4 tr (G^-1 K - I)^2, for which the Taylor form takes
1/4 |G^-1 K - I|_F^2: the same where G and K commute, and larger elsewhere. It needs no solve with
the ill-conditioned K.

References:
  Yang et al. 2023, A theory of representation learning gives a deep generalisation of kernel
  methods. Milsom et al. 2024, Stochastic kernel regularisation improves generalisation
  in deep kernel machines.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Float

Form = Literal["exact", "taylor"]


def kl_of_factors(L: Float[Array, "p p"], V: Float[Array, "p p"]) -> Float[Array, ""]:
    """KL(N(0, V V^T) || N(0, L L^T)), both lower triangular with a positive diagonal; in nats."""
    inner = solve_triangular(L, V, lower=True)
    ratios = jnp.log(jnp.diagonal(V)) - jnp.log(jnp.diagonal(L))
    return ((inner**2).sum() - len(L)) / 2 - ratios.sum()


def kl(G: Float[Array, "p p"], K: Float[Array, "p p"]) -> Float[Array, ""]:
    """KL(N(0, G) || N(0, K)) in nats; NaN where either is not positive definite.

    Args:
      G: (P, P) symmetric positive definite.
      K: the same.
    """
    return kl_of_factors(jnp.linalg.cholesky(K), jnp.linalg.cholesky(G))


def taylor_kl(K: Float[Array, "p p"], V: Float[Array, "p p"]) -> Float[Array, ""]:
    """1/4 |G^-1 K - I|_F^2, in nats.

    Args:
      K: (P, P) the prior covariance.
      V: the lower Cholesky factor of G.
    """
    moved = cho_solve((V, True), K) - jnp.eye(len(K), dtype=K.dtype)
    return (moved**2).sum() / 4
