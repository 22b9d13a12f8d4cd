"""Change the shape of a trained model: another patch size, more width.

Pure functions from parameters to parameters. A patch embedding is resized so that it sees a resized
patch as the old one saw the patch; a model grows wider without a change of its outputs: what is
read by old units gets zeros, what new units read is drawn, so that they have a gradient.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from farwide.models.images import ImageConfig, image_model
from farwide.models.mlp import MLPConfig, mlp
from farwide.models.model import Params

HIGHEST = jax.lax.Precision.HIGHEST
ZERO_WRITERS = ("patches", "out", "down")
"""Beginnings of the names of the layers of ImageModel that write to the residual
stream, where new channels stay zero."""


def resize_matrix(old: int, new: int) -> np.ndarray:
    """The matrix (new, old) of linear interpolation of `old` samples to `new`, of full rank.

    Samples lie at the middles of cells of equal size, and values beyond the outermost are constant;
    a smaller number of samples takes triangular means (anti-aliasing).

    Raises:
      ValueError: a size is smaller than 1.
    """
    for name, size in (("old", old), ("new", new)):
        if size < 1:
            raise ValueError(f"{name} is {size}; accepted is at least 1")
    with jax.enable_x64(True):
        identity = jnp.eye(old, dtype=jnp.float64)
        return np.asarray(jax.image.resize(identity, (new, old), "linear", precision=HIGHEST))


def resize_patches(
    kernel: Float[Array, "*old channels width"], new: int
) -> Float[Array, "*new channels width"]:
    """Resize the kernel of a patch embedding by the pseudo-inverse of the patches' resize.

        w' = argmin E_x (<x, w> - <B x, w'>)^2 = (B^T)^+ w,    x normal, B the resize of a patch

    With new at least the old side, B has full column rank and <B x, w'> = <x, w> for every patch x:
    an image whose patches were enlarged has the same embedding.

    Args:
      kernel: (side, ..., side, channels, width), one side for each axis of the images.
      new: side of the new patches, pixels.

    Returns:
      The kernel (new, ..., new, channels, width) in the type of the old one.

    Raises:
      ValueError: kernel has no axis of space, or new is smaller than 1.

    Reference: Beyer et al. 2022, "FlexiViT: One Model for All Patch Sizes", section 3.4.
    """
    if kernel.ndim < 3:
        raise ValueError(
            f"kernel has shape {kernel.shape}; accepted: (side, ..., channels, width) with at "
            "least one side"
        )
    resized = kernel
    for axis in range(kernel.ndim - 2):
        inverse = np.linalg.pinv(resize_matrix(kernel.shape[axis], new).T)  # (new, old)
        matrix = jnp.asarray(inverse, kernel.dtype)
        moved = jnp.tensordot(matrix, resized, axes=(1, axis), precision=HIGHEST)
        resized = jnp.moveaxis(moved, 0, axis)
    return resized


def reshape_image_model(
    params: Params, old: ImageConfig, new: ImageConfig, key: jax.Array
) -> Params:
    """Parameters of `new` that do what those of `old` did.

    A change of `patch` alone resizes the patch embedding (`resize_patches`) and, linearly, that of
    the positions; everything else is kept. The grid of patches, its rotary coordinates and windows
    are then finer, so the outputs change. A growth of `width`, with as many more heads of the same
    size, keeps the outputs:

    - new channels of the residual stream are zero: nothing writes to them yet;
    - the gains of RMSNorm are scaled by sqrt(old width / new width), for the mean square is now
      over more channels, of which the new ones are zero (exact but for epsilon);
    - new heads and hidden units are drawn, and what reads them into old channels is zero.

    Args:
      params: of `image_model(old)`.
      old: the shape so far.
      new: the shape to come; equal but for patch, and width and heads, which may grow.
      key: of the weights that are drawn.

    Returns:
      Params of `image_model(new)`.

    Raises:
      ValueError: another field differs, the width falls, or the size of a head changes.

    References:
      Anagnostidis et al. 2023, "Navigating Scaling Laws: Compute Optimality in Adaptive Model
      Training", sections 4 and 5; Chen, Goodfellow and Shlens 2016, "Net2Net".
    """
    if replace(old, patch=new.patch, width=new.width, heads=new.heads) != new:
        raise ValueError(
            f"new is {new}; accepted: {old} with another patch, width and number of heads alone"
        )
    head = old.width // old.heads
    if new.width < old.width or new.width // new.heads != head:
        raise ValueError(
            f"new has width {new.width} and {new.heads} heads; accepted: a width of at least "
            f"{old.width} with heads of {head} channels"
        )
    if new.patch != old.patch:
        patches = params["patches"]
        kernel = resize_patches(patches["kernel"], new.patch)
        params = {**params, "patches": {**patches, "kernel": kernel}}
        if old.positions:
            grid = [side // new.patch for side in new.shape]
            places = jax.image.resize(params["positions"], (*grid, old.width), "linear")
            params = {**params, "positions": places}
    if new.width == old.width:
        return params
    fresh = image_model(new).init(key)

    def grown(path, start: jax.Array, before: jax.Array) -> jax.Array:
        if path[-1].key == "positions":
            return _corner(jnp.zeros_like(start), before)
        if path[-2].key.startswith(ZERO_WRITERS):
            return _corner(jnp.zeros_like(start), before)
        merged = _placed(path, start, before, old, new)
        return merged * sqrt(old.width / new.width) if path[-1].key == "scale" else merged

    return jax.tree_util.tree_map_with_path(grown, fresh, params)


def reshape_moments(moments: Any, empty: Any, old: ImageConfig, new: ImageConfig) -> Any:
    """The state of an optimiser such as Adam around the parameters that `reshape_image_model` made.

    Entries of parameters that were there before keep their moments; new ones begin at zero, as do
    resized patch embeddings and positions.

    Args:
      moments: optax's state for `image_model(old)`, moments in trees like the parameters.
      empty: the same, at zero, for `image_model(new)`.
      old, new: as for `reshape_image_model`.
    """

    def moved(path, before: jax.Array, zero: jax.Array) -> jax.Array:
        if before.shape == zero.shape:
            return before
        names = [getattr(step, "key", None) for step in path]
        if old.patch != new.patch and ("positions" in names or "patches" in names):
            return zero
        return _placed(path, zero, before, old, new)

    return jax.tree_util.tree_map_with_path(moved, moments, empty)


def _placed(path, large: jax.Array, small: jax.Array, old: ImageConfig, new: ImageConfig):
    """`large` with `small`, the array at the same path of the narrower model, where it belongs."""
    if "qkv" not in [getattr(step, "key", None) for step in path]:
        return _corner(large, small)
    head = old.width // old.heads  # queries, keys, values, each head by head
    split = (*large.shape[:-1], 3, new.heads, head)
    parts = small.reshape(*small.shape[:-1], 3, old.heads, head)
    return _corner(large.reshape(split), parts).reshape(large.shape)


def widen_mlp(params: Params, old: MLPConfig, new: MLPConfig, key: jax.Array) -> Params:
    """Parameters of a wider MLP with the same outputs.

    New units read the layer below by drawn weights and are read by old units and by the readout
    with weights of zero.

    Args:
      params: of `mlp(old)`.
      old: the shape so far.
      new: equal but for a width that is not smaller.
      key: of the weights that are drawn.

    Raises:
      ValueError: another field differs, or the width falls.

    Reference: Chen, Goodfellow and Shlens 2016, "Net2Net: Accelerating Learning via Knowledge
    Transfer", which copies units and divides what reads them where this has zeros.
    """
    if replace(old, width=new.width) != new or new.width < old.width:
        raise ValueError(f"new is {new}; accepted: {old} with a width of at least {old.width}")
    fresh = mlp(new).init(key)

    def grown(path, start: jax.Array, before: jax.Array) -> jax.Array:
        if path[-1].key == "kernel":
            start = start.at[before.shape[0] :, : before.shape[1]].set(0)
        return _corner(start, before)

    return jax.tree_util.tree_map_with_path(grown, fresh, params)


def _corner(large: jax.Array, small: jax.Array) -> jax.Array:
    """`large` with `small` at its first indices."""
    return large.at[tuple(slice(side) for side in small.shape)].set(small)
