"""Lower triangular matrices with a positive diagonal, as parameters that are free."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def lower(params: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """T: the strictly lower part of the parameters, and the exponential of their diagonal."""
    return jnp.tril(params, -1) + jnp.diag(jnp.exp(jnp.diagonal(params)))


def coordinates(T: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """The parameters whose `lower` is T."""
    return jnp.tril(T, -1) + jnp.diag(jnp.log(jnp.diagonal(T)))
