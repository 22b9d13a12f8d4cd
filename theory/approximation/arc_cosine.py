"""Random features of arc-cosine kernels: one hidden layer of ReLUs or steps with random weights."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def arc_cosine_features(
    key: Array, dim: int, n_features: int, *, order: int = 1, orthogonal: bool = False
) -> Callable[[Float[Array, "n dim"]], Float[Array, "n n_features"]]:
    """phi with E[phi(x) . phi(y)] = E_g[s(g . x) s(g . y)], g ~ N(0, I).

    s is the step (order 0), ReLU (1), or its powers. For order 1 and angle t the kernel is
    |x| |y| (sin t + (pi - t) cos t) / 2 pi, half of Cho and Saul's.

    Args:
      key: a PRNG key.
      dim: of the inputs.
      n_features: m.
      order: 0, 1, 2, ..
      orthogonal: draw the g in orthogonal groups of `dim`, which lowers the variance; features are
        then not independent, and `kernel_estimate` errs on the safe side.

    Returns:
      x (n, dim) -> (n, m), scaled by 1 / sqrt(m).

    Raises:
      ValueError: a size that is not positive, a negative order; of the features: inputs of another
        dim.

    Reference: Cho and Saul 2009, Kernel methods for deep learning, equation 1; Yu et al. 2016,
    Orthogonal random features.
    """
    if dim < 1 or n_features < 1 or order < 0:
        raise ValueError(
            "dim and n_features must be at least 1 and order at least 0, got "
            f"{dim}, {n_features}, {order}"
        )

    def directions(dtype) -> Array:
        if not orthogonal:
            return jax.random.normal(key, (dim, n_features), dtype)
        groups = -(-n_features // dim)
        key_q, key_norm = jax.random.split(key)
        q, r = jnp.linalg.qr(jax.random.normal(key_q, (groups, dim, dim), dtype))
        # Uniform over rotations and reflections only with a positive diagonal of R (Mezzadri 2007).
        q = q * jnp.sign(jnp.diagonal(r, axis1=-2, axis2=-1))[:, None, :]
        norms = jnp.linalg.norm(jax.random.normal(key_norm, (dim, groups * dim), dtype), axis=0)
        return jnp.moveaxis(q, 0, 1).reshape(dim, -1)[:, :n_features] * norms[:n_features]

    def features(x: Float[Array, "n dim"]) -> Float[Array, "n n_features"]:
        x = jnp.asarray(x)
        if x.ndim != 2 or x.shape[1] != dim:
            raise ValueError(f"x must have shape (n, {dim}), got {x.shape}")
        z = jnp.matmul(x, directions(jnp.promote_types(x.dtype, jnp.float32)), precision="highest")
        positive = z > 0
        values = jnp.where(positive, z, 0.0) ** order if order else positive.astype(z.dtype)
        return values / jnp.sqrt(jnp.asarray(n_features, z.dtype))

    return features
