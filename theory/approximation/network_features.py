"""Random features of any network's kernels: outputs and gradients of finite networks.

    nngp   phi_k(x) = f(x; theta_k)                          E[phi phi] = E[f f]
    ntk    phi_k(x) = (d/d theta) f(x; theta) . v_k          E over v_k ~ N(0, I): J J^T

Both are averages over channels of the output too. Beside the random error, which falls as 1/sqrt of
the number of features, networks of finite width have a bias of order 1 / width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Tree = Any


def nngp_features(
    init_fn: Callable[..., Any],
    apply_fn: Callable[..., Array],
    key: Array,
    n_samples: int,
    input_shape: Any,
    **apply_fn_kwargs: Any,
) -> Callable[[Tree], Float[Array, "n features"]]:
    """Features whose products estimate the NNGP: outputs of networks with independent weights.

    Args:
      init_fn: (key, input_shape) -> (output_shape, params).
      apply_fn: (params, x, **kwargs) -> (n, channels).
      key: a PRNG key; the same key gives the same features for other inputs.
      n_samples: networks.
      input_shape: of x; the batch may be any number.
      **apply_fn_kwargs: for `apply_fn`.

    Returns:
      x -> (n, n_samples channels), scaled by 1 / sqrt of their number.

    Raises:
      ValueError: n_samples < 1; of the features: outputs that are no matrix.
    """
    _check_count(n_samples, "n_samples")
    keys = jax.random.split(key, n_samples)

    @jax.jit
    def features(x: Tree) -> Array:
        def sample(key: Array) -> Array:
            return _outputs(apply_fn, init_fn(key, input_shape)[1], x, apply_fn_kwargs)

        return _packed(jax.lax.map(sample, keys))

    return features


def ntk_features(
    apply_fn: Callable[..., Array],
    params: Any,
    key: Array,
    n_features: int,
    **apply_fn_kwargs: Any,
) -> Callable[[Tree], Float[Array, "n features"]]:
    """Features whose products estimate the empirical NTK: derivatives along random directions.

    One Jacobian-vector product for each direction: neither the Jacobian nor the kernel is formed.

    Args:
      apply_fn: (params, x, **kwargs) -> (n, channels).
      params: where the network is linearised.
      key: a PRNG key; the same key gives the same features for other inputs.
      n_features: random directions.
      **apply_fn_kwargs: for `apply_fn`.

    Returns:
      x -> (n, n_features channels), scaled by 1 / sqrt of their number.

    Raises:
      ValueError: n_features < 1; of the features: outputs that are no matrix.
    """
    _check_count(n_features, "n_features")
    keys = jax.random.split(key, n_features)
    leaves, tree = jax.tree.flatten(params)

    @jax.jit
    def features(x: Tree) -> Array:
        def direction(key: Array) -> Array:
            each = jax.random.split(key, len(leaves))
            tangents = tree.unflatten(
                [jax.random.normal(k, v.shape, v.dtype) for k, v in zip(each, leaves, strict=True)]
            )

            def f(params: Any) -> Array:
                return _outputs(apply_fn, params, x, apply_fn_kwargs)

            return jax.jvp(f, (params,), (tangents,))[1]

        return _packed(jax.lax.map(direction, keys))

    return features


def _outputs(apply_fn: Callable[..., Array], params: Any, x: Tree, kwargs: dict) -> Array:
    out = apply_fn(params, x, **kwargs)
    if out.ndim != 2:
        raise ValueError(f"apply_fn must give outputs (n, channels), got {out.shape}")
    return out


def _packed(values: Float[Array, "samples n channels"]) -> Float[Array, "n features"]:
    samples, n, channels = values.shape
    return jnp.moveaxis(values, 0, 1).reshape(n, -1) / jnp.sqrt(samples * channels)


def _check_count(count: int, name: str) -> None:
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
