"""What is added to a covariance before it is factorised."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


class Jitter(NamedTuple):
    """K becomes K + relative diag(K) + absolute I.

    Attributes:
      relative: times each variance.
      absolute: in the units of the covariance.
    """

    relative: float = 1e-4
    absolute: float = 1e-4

    def add(self, K: Float[Array, "p p"]) -> Float[Array, "p p"]:
        """K with the jitter on its diagonal."""
        if self.relative == 0 and self.absolute == 0:
            return K
        variance = jnp.diagonal(K)
        return K + jnp.diag((self.relative * variance + self.absolute).astype(K.dtype))


DEFAULT = Jitter()


def as_jitter(jitter: float | tuple[float, float] | Jitter) -> Jitter:
    """A number is absolute; a pair is (relative, absolute).

    Raises:
      ValueError: a negative number, inf or NaN, or not two of them.
    """
    pair = tuple(jitter) if isinstance(jitter, tuple | list) else (0.0, jitter)
    if len(pair) != 2 or not all(0 <= part < math.inf for part in pair):
        raise ValueError(
            "jitter must be a finite number >= 0, or a pair (relative, absolute) of them, "
            f"got {jitter!r}"
        )
    return Jitter(*pair)
