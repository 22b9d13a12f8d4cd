"""The layer that learns a representation: a Gram matrix free to leave its prior, at a price.

Algorithm. The inducing points' covariance K_ii = L L^T is replaced by a learned G = V V^T, the
other points follow by the conditional of a Gaussian process (`gram.through`), and
nu KL(N(0, G) || N(0, K_ii)) is taken from the objective. nu = inf leaves G = K_ii: the network's
NNGP, by the same code.

Parameters. "absolute": V = (tril(P, -1) + diag exp P_ii) / sqrt(count), which starts at L of the
first batch's kernel. "relative": V = L T, T lower triangular with exp diagonal, which starts at I:
G follows K_ii as that is learned, and the KL needs no solve, 1/2 (|T|² - count) - sum log T_ii.

Numerics: float32 with an exact KL and no regularisation loses positive definiteness as layers
become ill-conditioned. Stochastic kernel regularisation (SKR) and the Taylor KL are for that.

References:
  Yang et al. 2023, A theory of representation learning gives a deep generalisation of kernel
  methods. Milsom et al. 2024, Stochastic kernel regularisation improves generalisation
  in deep kernel machines.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from theory.dkm.divergence import Form, kl_of_factors, taylor_kl
from theory.dkm.gram import Gram, through
from theory.dkm.jitter import DEFAULT, Jitter, as_jitter
from theory.dkm.layer import Layer, leaf, zero
from theory.dkm.triangular import coordinates, lower


class Skr(NamedTuple):
    """Stochastic kernel regularisation, of what the other points see of G; the KL sees G itself.

        training     V (Xi Xi^T / n) V^T + ridge I,  Xi (count, n) standard normal,
                     n = ceil(count / gamma)
        evaluation   G + ridge I

    Attributes:
      gamma: how much noise: the draw is Wishart with count / gamma degrees of freedom.
      ridge: added to the diagonal.
    """

    gamma: float = 4.0
    ridge: float = 0.1


def gram(
    nu: float = 1.0,
    *,
    kl: Form = "exact",
    skr: Skr | None = None,
    jitter: float | tuple[float, float] | Jitter = DEFAULT,
    parametrisation: Literal["absolute", "relative"] = "absolute",
) -> Layer:
    """A Gram layer: `Gram` of K to `Gram` of G.

    Args:
      nu: the price of representation learning, >= 0; inf keeps the NNGP, 0 learns freely.
      kl: "exact" or "taylor" (1/4 |G^-1 K - I|_F^2, about G = K).
      skr: regularisation in float32, or None.
      jitter: of K_ii, a number (absolute) or (relative, absolute).
      parametrisation: "absolute" or "relative", of the module's docstring.

    Raises:
      ValueError: an argument that is none of these.
    """
    made = as_jitter(jitter)
    if not nu >= 0:
        raise ValueError(f"nu must be a number >= 0 or inf, got {nu!r}")
    if kl not in ("exact", "taylor"):
        raise ValueError(f"kl must be 'exact' or 'taylor', got {kl!r}")
    if parametrisation not in ("absolute", "relative"):
        raise ValueError(
            f"parametrisation must be 'absolute' or 'relative', got {parametrisation!r}"
        )
    if skr is not None and not (
        isinstance(skr, Skr) and 0 < skr.gamma < math.inf and 0 <= skr.ridge < math.inf
    ):
        raise ValueError(f"skr must be None or Skr(gamma > 0, ridge >= 0), finite, got {skr!r}")
    learned, relative = math.isfinite(nu), parametrisation == "relative"

    def init(key, value: Gram) -> Any:
        if not learned:
            return ()
        if relative:
            return jnp.zeros_like(value.ii)
        return packed(jnp.linalg.cholesky(made.add(value.ii)))

    def apply(params, value: Gram, key, train):
        K = made.add(value.ii)
        if not learned and skr is None:
            return Gram(K, value.ti, value.t), zero(value)
        L = V = jnp.linalg.cholesky(K)
        price = zero(value)
        if learned and relative:
            T = lower(params)
            V = jnp.matmul(L, T, precision="highest")
            if nu > 0 and kl == "exact":
                price = ((T**2).sum() - len(T)) / 2 - jnp.diagonal(params).sum()
        elif learned:
            V = root(params)
            if nu > 0 and kl == "exact":
                price = kl_of_factors(L, V)
        if learned and nu > 0 and kl == "taylor":
            price = taylor_kl(K, V)
        return through(value, L, _regularised(V, skr, key, train)), nu * price if learned else price

    return leaf(f"gram(nu={nu:g})", init, apply)


def root(params: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """V, the lower Cholesky factor of the G that absolute parameters stand for."""
    return lower(params) / math.sqrt(len(params))


def packed(V: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """The absolute parameters whose `root` is V, lower triangular with a positive diagonal."""
    return coordinates(V * math.sqrt(len(V)))


def _regularised(V: Array, skr: Skr | None, key: Array | None, train: bool) -> Array:
    """A square root of what the other points see of V V^T."""
    if skr is None:
        return V
    if train:
        if key is None:
            raise ValueError("a gram layer with skr draws noise in training: give apply a key")
        n = math.ceil(len(V) / skr.gamma)
        noise = jax.random.normal(key, (len(V), n), V.dtype) / math.sqrt(n)
        V = jnp.matmul(V, noise, precision="highest")
    G = jnp.matmul(V, V.T, precision="highest")
    return jnp.linalg.cholesky(G + skr.ridge * jnp.eye(len(G), dtype=G.dtype))
