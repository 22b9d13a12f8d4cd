"""From the places of an image to the image."""

from __future__ import annotations

import jax.numpy as jnp

from theory.dkm.gram import Gram, half_solved
from theory.dkm.jitter import DEFAULT, Jitter, as_jitter
from theory.dkm.layer import Layer, stateless


def global_pool(*, jitter: float | tuple[float, float] | Jitter = DEFAULT) -> Layer:
    """The mean of all places, whose variance needs covariances of places that nobody holds.

    Nyström's approximation gives them from the inducing points; on the diagonal, where variances
    are known, it is corrected:

        k_ti = mean_s K_ti(s)
        k_t = k_ti K_ii^-1 k_it + S^-2 sum_s [K_t(s) - K_ti(s) K_ii^-1 K_it(s)]

    Args:
      jitter: of K_ii, a number (absolute) or (relative, absolute).

    Raises:
      ValueError: when it meets a `Gram` without places.

    Reference: Milsom, Anson, Aitchison 2024, Convolutional deep kernel machines.
    """
    made = as_jitter(jitter)

    def pool(value: Gram) -> Gram:
        if value.t.ndim < 2:
            raise ValueError(f"global_pool needs places, got variances of shape {value.t.shape}")
        places = tuple(range(1, value.t.ndim))
        X = half_solved(value.ti, jnp.linalg.cholesky(made.add(value.ii)))
        left_over = value.t - (X**2).sum(-1)
        count = value.t[0].size
        mean = X.mean(places)
        variance = (mean**2).sum(-1) + left_over.sum(places) / count**2
        return Gram(value.ii, value.ti.mean(places), variance)

    return stateless("global_pool()", pool)
