"""The three losses on log residuals, r = log y - log f, as one family.

    huber:    rho(r) = r^2 / 2            for |r| <= delta
                     = delta (|r| - delta / 2)  beyond
    squared:  rho(r) = r^2 / 2            huber with delta = infinity
    l1:       rho(r) = |r|                huber / delta as delta goes to 0

An objective is the weighted SUM of rho over points. The solver knows huber only; `l1` is solved at
delta = 1e-11. There every residual beyond delta contributes |r| - delta/2, so the point it finds
exceeds the least sum of |r| by at most (total weight of the interpolated points) * delta / 2, and a
law with P parameters interpolates about P points.

Reference: Huber (1964); Hoffmann et al. (2022) use delta = 1e-3.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

L1_DELTA = 1e-11
LOSSES = ("huber", "squared", "l1")


class Loss(NamedTuple):
    """A loss by name, with the delta at which the solver works."""

    name: str
    delta: float  # of log y; infinity for "squared"


class Pieces(NamedTuple):
    """A loss at its residuals: value, first and second derivative, and majorizer.

    `curvature` is psi(r)/r: rho(s) <= rho(r) + curvature * (s^2 - r^2)/2 for every s, with
    equality at s = r. That is what iteratively reweighted least squares minimizes.
    """

    rho: Float[Array, "..."]
    psi: Float[Array, "..."]
    psi_prime: Float[Array, "..."]
    curvature: Float[Array, "..."]


def resolve(name: str, delta: float) -> Loss:
    """The loss that the user named.

    Raises:
      ValueError: the name is unknown, or delta is not a positive finite number.
    """
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is unknown; accepted are {list(LOSSES)}")
    if name == "huber":
        if not (np.isfinite(delta) and delta > 0):
            raise ValueError(f"delta = {delta}; a Huber loss needs a positive finite delta")
        return Loss(name, float(delta))
    return Loss(name, np.inf if name == "squared" else L1_DELTA)


def huber(r: Float[Array, "..."], delta: Float[Array, "..."] | float) -> Pieces:
    """Huber's loss and what the solver needs of it; delta may be infinite, and broadcasts."""
    size = jnp.abs(r)
    inside = size <= delta
    clipped = jnp.minimum(size, delta)
    return Pieces(
        rho=clipped * (size - 0.5 * clipped),
        psi=jnp.clip(r, -delta, delta),
        psi_prime=jnp.where(inside, 1.0, 0.0),
        curvature=jnp.where(inside, 1.0, delta / size),
    )


def objective(residuals: np.ndarray, weights: np.ndarray, loss: Loss) -> float:
    """Weighted sum of the loss as the user asked for it: for "l1" the sum of |r| itself."""
    size = np.abs(residuals)
    if loss.name == "l1":
        return float(np.sum(weights * size))
    clipped = np.minimum(size, loss.delta)
    return float(np.sum(weights * clipped * (size - 0.5 * clipped)))
