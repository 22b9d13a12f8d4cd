"""A kernel estimated by an average over independent features, and how far off it may be."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float


class KernelEstimate(NamedTuple):
    """An average over features.

    Attributes:
      kernel: (N1, N2).
      stderr: (N1, N2) the standard error of each entry.
    """

    kernel: Float[Array, "n1 n2"]
    stderr: Float[Array, "n1 n2"]


def kernel_estimate(
    features1: Float[Array, "n1 features"],
    features2: Float[Array, "n2 features"] | None = None,
    *,
    group: int = 1,
) -> KernelEstimate:
    """K = Phi1 Phi2^T with the standard error of each entry.

    With m independent groups, K is the mean of m estimates K_g, and its error sd_g(K_g) / sqrt(m).

    Args:
      features1: (N1, features), as the functions of this package give them.
      features2: (N2, features) of the same random draw; None: features1.
      group: features, side by side, that depend on each other: 1 for `arc_cosine_features`, the
        number of output channels for `nngp_features` and `ntk_features`.

    Raises:
      ValueError: numbers of features that differ, or that make fewer than two whole groups.
    """
    other = features1 if features2 is None else features2
    count = features1.shape[1]
    if other.shape[1] != count:
        raise ValueError(
            "features1 and features2 must have as many features, got "
            f"{features1.shape} and {other.shape}"
        )
    if group < 1 or count % group or count < 2 * group:
        raise ValueError(f"group must divide the {count} features two times or more, got {group}")
    return KernelEstimate(*_moments(features1, other, group))


@partial(jax.jit, static_argnums=2)
def _moments(features1: Array, features2: Array, group: int) -> tuple[Array, Array]:
    m = features1.shape[1] // group
    kernel = jnp.matmul(features1, features2.T, precision="highest")
    if group == 1:
        squares = jnp.matmul(features1**2, (features2**2).T, precision="highest")
    else:

        def add(squares: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
            return squares + jnp.matmul(part[0].T, part[1], precision="highest") ** 2, None

        parts1, parts2 = (f.T.reshape(m, group, -1) for f in (features1, features2))
        squares = lax.scan(add, jnp.zeros_like(kernel), (parts1, parts2))[0]
    variance = jnp.maximum(m * squares - kernel**2, 0.0)
    return kernel, jnp.sqrt(variance / (m - 1))
