"""The losses on log residuals, r = log y - log f, as one family.

    huber:    rho(r) = r^2 / 2            for |r| <= delta
                     = delta (|r| - delta / 2)  beyond
    squared:  rho(r) = r^2 / 2            huber with delta = infinity
    l1:       rho(r) = |r|                huber / delta as delta goes to 0
    asymmetric: huber times 2 tau for r > 0 and 2 (1 - tau) for r < 0: with tau < 1/2 runs above
              the law, which may just be badly tuned, pull less than runs below it

An objective is the weighted SUM of rho over points. The solver knows huber only; `l1` is solved at
delta = 1e-11. There every residual beyond delta contributes |r| - delta/2, so the point it finds
exceeds the least sum of |r| by at most (total weight of the interpolated points) * delta / 2, and a
law with P parameters interpolates about P points.

Reference: Huber (1964); Hoffmann et al. (2022) use delta = 1e-3; Newey and Powell (1987) for the
asymmetric weights (expectiles).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

L1_DELTA = 1e-11
LOSSES = ("huber", "squared", "l1", "asymmetric")
Host = Array | np.ndarray | float


class Shape(NamedTuple):
    """What the solver needs to know of a loss."""

    delta: Host  # of log y; infinity for "squared"
    tau: Host = 0.5


class Loss(NamedTuple):
    """A loss by name, with the delta at which the solver works."""

    name: str
    delta: float  # of log y; infinity for "squared"
    tau: float = 0.5

    @property
    def shape(self) -> Shape:
        """The loss without its name."""
        return Shape(self.delta, self.tau)


class Pieces(NamedTuple):
    """A loss at its residuals: value, first and second derivative, and majorizer.

    `curvature` is psi(r)/r: rho(s) <= rho(r) + curvature * (s^2 - r^2)/2 for every s, with
    equality at s = r. That is what iteratively reweighted least squares minimizes. (With tau other
    than 1/2 the bound holds on r's side of 0 only: a damping and a start need no more.)
    """

    rho: Float[Array, "..."]
    psi: Float[Array, "..."]
    psi_prime: Float[Array, "..."]
    curvature: Float[Array, "..."]


def resolve(name: str, delta: float, tau: float = 0.5) -> Loss:
    """The loss that the user named.

    Raises:
      ValueError: the name is unknown, delta is not a positive finite number, or tau is not between
        0 and 1.
    """
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is unknown; accepted are {list(LOSSES)}")
    if name in ("huber", "asymmetric") and not (np.isfinite(delta) and delta > 0):
        raise ValueError(f"delta = {delta}; a Huber loss needs a positive finite delta")
    if name == "asymmetric":
        if not 0.0 < tau < 1.0:
            raise ValueError(f"tau = {tau}; accepted are numbers between 0 and 1")
        return Loss(name, float(delta), float(tau))
    if name == "huber":
        return Loss(name, float(delta))
    return Loss(name, np.inf if name == "squared" else L1_DELTA)


def pieces(r: Float[Array, "..."], shape: Shape) -> Pieces:
    """The loss and what the solver needs of it; delta may be infinite, and broadcasts."""
    size = jnp.abs(r)
    inside = size <= shape.delta
    clipped = jnp.minimum(size, shape.delta)
    side = 2.0 * jnp.where(r > 0, shape.tau, 1.0 - shape.tau)
    return Pieces(
        rho=side * clipped * (size - 0.5 * clipped),
        psi=side * jnp.clip(r, -shape.delta, shape.delta),
        psi_prime=side * jnp.where(inside, 1.0, 0.0),
        curvature=side * jnp.where(inside, 1.0, shape.delta / size),
    )


def pull(r: np.ndarray, shape: Shape) -> np.ndarray:
    """psi(r) in NumPy."""
    side = 2.0 * np.where(r > 0, shape.tau, 1.0 - np.asarray(shape.tau))
    return side * np.clip(r, -np.asarray(shape.delta), np.asarray(shape.delta))


def objective(residuals: np.ndarray, weights: np.ndarray, loss: Loss) -> float:
    """Weighted sum of the loss as the user asked for it: for "l1" the sum of |r| itself."""
    size = np.abs(residuals)
    if loss.name == "l1":
        return float(np.sum(weights * size))
    clipped = np.minimum(size, loss.delta)
    side = 2.0 * np.where(residuals > 0, loss.tau, 1.0 - loss.tau)
    return float(np.sum(weights * side * clipped * (size - 0.5 * clipped)))
