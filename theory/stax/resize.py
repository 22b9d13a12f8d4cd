"""Interpolation between places."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from theory.stax.affine import check_axes
from theory.stax.layer import Layer, layer_of
from theory.stax.rule import Rule
from theory.stax.windows import axes_of, need_pairs


def ImageResize(
    shape: Sequence[int],
    method: str | jax.image.ResizeMethod,
    antialias: bool = True,
    precision: lax.Precision = lax.Precision.HIGHEST,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    """jax.image.resize of the spatial axes, a linear map R_a along each axis a.

        y_p = sum_i R[p, i] x_i,   K'[p, q] = sum_{i, j} R[p, i] R[q, j] K[i, j]

    and Theta' as K'. Every method is a linear map, so every method has its kernel.

    Args:
      shape: (-1, *space, -1), the sizes wanted; -1 leaves an axis as it is.
      method: as jax.image.resize, such as "nearest", "linear" or "cubic".
      antialias: whether to blur where an axis becomes smaller.
      precision: of the finite layer's sums.
      batch_axis, channel_axis: 0 and -1; others are refused.

    An output is masked where all places that it interpolates are.

    Raises:
      ValueError: an argument outside of what is described, or inputs of another rank.
    """
    check_axes(batch_axis, channel_axis)
    shape = tuple(int(size) for size in shape)
    if len(shape) < 2 or any(size < 1 and size != -1 for size in shape):
        raise ValueError(f"shape must be (-1, *space, -1) with sizes >= 1 or -1, got {shape}")
    if shape[0] != -1 or shape[-1] != -1:
        raise ValueError(
            f"shape must leave the batch and the channels as they are (-1), got {shape}"
        )
    chosen = method
    if isinstance(method, str):
        chosen = jax.image.ResizeMethod.from_string(method)
    nearest = chosen is jax.image.ResizeMethod.NEAREST
    wanted_sizes = shape[1:-1]

    def sizes(space):
        if len(space) != len(wanted_sizes):
            raise ValueError(
                f"ImageResize needs inputs with {len(wanted_sizes)} spatial axes, got "
                f"{len(space)}: {tuple(space)}"
            )
        return tuple(n if m == -1 else m for m, n in zip(wanted_sizes, space, strict=True))

    def resized(x: Array) -> Array:
        out = (x.shape[0], *sizes(x.shape[1:-1]), x.shape[-1])
        return jax.image.resize(x, out, chosen, antialias=antialias, precision=precision)

    def init(rng, in_shape):
        del rng
        return (in_shape[0], *sizes(in_shape[1:-1]), in_shape[-1]), ()

    def apply(params, x, context):
        return resized(x)

    def infer(facts):
        return facts.replace(space=sizes(facts.space))

    def full(wanted):
        """Neighbours are mixed, but for the nearest one alone."""
        return wanted or not (nearest or all(size == -1 for size in wanted_sizes))

    def block(k, left, right, facts):
        if full(False):
            need_pairs("ImageResize", k)
        for axis, (m, n) in enumerate(zip(sizes(facts.space), facts.space, strict=True)):
            if m != n:
                eye = jnp.eye(n, dtype=k.nngp.dtype)
                along = jax.image.resize(
                    eye, (m, n), chosen, antialias=antialias, precision=lax.Precision.HIGHEST
                )
                for at in axes_of(k, axis):
                    k = k.linear(lambda value, by=along, at=at: _apply_along(by, value, at))
        return k

    def mask(m, facts):
        return resized((~m)[..., None].astype(jnp.float32))[..., 0] == 0

    return layer_of(
        Rule(
            f"ImageResize({shape}, {method!r})",
            init,
            apply,
            infer,
            block,
            full=full,
            mask=mask,
            ops=10.0,
        )
    )


def _apply_along(matrix: Array, value: Array, axis: int) -> Array:
    """A matrix on one axis."""
    out = jnp.tensordot(matrix, value, (1, axis), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(out, 0, axis)
