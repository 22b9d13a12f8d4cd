"""Filters of models in the NTK parametrisation, and the moments of their taps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from farwide.models.filters import FilterConfig, Hyena, SGConv, Squash
from farwide.models.filters.make import make_filter
from kernels_pallas import long_conv
from theory import stax
from theory.taps.squash import deviations

Tree = Any
GAUSSIAN = ("taps", "weights", "c", "kernel", "out")  # leaves with a random start of mean zero
OF_UNIT_NORM = {SGConv: "weights", Hyena: "out"}  # divided by each channel's norm, on axis 1


def tap_layer(config: FilterConfig, channels: int, length: int, finite: bool) -> stax.Layer:
    """The causal long convolution with the filter's taps, scaled to power 1.

    Args:
      config: the filter's settings.
      channels, length: of the signal.
      finite: whether the layer is to be run: then it has the filter's own module.
    """
    moments = config.moments(channels, length)
    gain = moments.power**-0.5
    moments = moments.normalised()
    covariance = moments.covariance
    return stax.LongConv(
        moments.variance if covariance is None else None,
        tap_covariance=covariance,
        tap_ntk=moments.ntk,
        taps=ntk_filter(config, gain) if finite else None,
        operator=long_conv if finite else None,
    )


def ntk_filter(config: FilterConfig, gain: float):
    """(init, apply) of `stax.LongConv` for a Linen filter whose trained numbers start as N(0, 1).

    A leaf with a random start of mean zero is w times its deviation; deviations, norms and leaves
    that start at a constant (steps, poles, frequencies, offsets) are not trained.
    """

    def init(key: jax.Array, channels: int, length: int) -> dict[str, Tree]:
        module = make_filter(config, channels, length)
        key_module, key_w = jax.random.split(key)
        start = module.init(key_module)["params"]
        leaves, tree = jax.tree_util.tree_flatten_with_path(start)
        keys = jax.random.split(key_w, len(leaves))
        w, fixed = [], []
        for (path, leaf), own in zip(leaves, keys, strict=True):
            name = path[-1].key
            if name not in GAUSSIAN:
                w.append(None)
                fixed.append(leaf)
                continue
            fixed.append(_deviation(config, name, leaf))
            # a kernel keeps its own start, which is cut off at two deviations
            w.append(leaf / fixed[-1] if name == "kernel" else jax.random.normal(own, leaf.shape))
        params = {"w": tree.unflatten(w), "fixed": tree.unflatten(fixed)}
        unit = OF_UNIT_NORM.get(type(config))
        if unit is not None:
            norm = jnp.linalg.norm(module.apply({"params": _leaves(params)}), axis=-1)
            params["fixed"][unit] = _along(1 / norm, params["fixed"][unit])
        return params | {"shape": jnp.zeros((channels, length, 0))}

    def apply(params: dict[str, Tree]) -> jax.Array:
        channels, length, _ = params["shape"].shape
        module = make_filter(config, channels, length)
        return gain * module.apply({"params": _leaves(params)})  # pyright: ignore

    return init, apply


def _leaves(params: dict[str, Tree]) -> Tree:
    """The module's parameters."""

    def one(w: jax.Array | None, fixed: jax.Array) -> jax.Array:
        fixed = jax.lax.stop_gradient(fixed)
        return fixed if w is None else w * fixed

    return jax.tree.map(one, params["w"], params["fixed"], is_leaf=lambda leaf: leaf is None)


def _deviation(config: FilterConfig, name: str, leaf: jax.Array) -> jax.Array:
    """Of a leaf's initial values, before any division by a norm; of the leaf's shape."""
    if isinstance(config, Squash):
        channels, length = leaf.shape
        own = deviations(length, channels, config.scale, config.init)
        return jnp.broadcast_to(jnp.asarray(own, leaf.dtype), leaf.shape)
    value = {"c": 0.5**0.5, "kernel": leaf.shape[0] ** -0.5}.get(name, 1.0)
    return jnp.full_like(leaf, value)


def _along(scale: jax.Array, leaf: jax.Array) -> jax.Array:
    """A number for each entry of axis 1, in the shape of the leaf."""
    shape = [1] * leaf.ndim
    shape[1] = -1
    return jnp.broadcast_to(scale.reshape(shape), leaf.shape)
