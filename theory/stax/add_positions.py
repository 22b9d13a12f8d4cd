"""Learned embeddings of places, added to activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from theory.stax.affine import written
from theory.stax.layer import Layer, layer_of
from theory.stax.positions import PositionalEmbedding, Positions
from theory.stax.rule import Rule


def AddPositions(
    std: float = 1.0, *, p_norm: float = 2, decay_fn: Callable[[Any], Any] | None = None
) -> Layer:
    """A random vector of each place added to activations; it is trained.

        y_p = x_p + std r_p,   K' = K + std² R,   Theta' = Theta + std² R
        R_pq = decay_fn(sum over axes |p - q|^p_norm), or 1 where p = q alone

    Masked places stay masked.

    Args:
      std: standard deviation of the embeddings.
      p_norm, decay_fn: what embeddings of two places have in common; None means nothing.

    Raises:
      ValueError: std is not positive; when used, inputs without a spatial axis, or of unknown size;
        `apply_fn` with a decay_fn that is no covariance.

    References:
      Dosovitskiy et al. 2020, An image is worth 16x16 words (learned embeddings); their covariance
      is that of Hron et al. 2020, section 4.
    """
    if not std > 0:
        raise ValueError(f"std must be positive, got {std!r}")
    positions = Positions(PositionalEmbedding.SUM, p_norm, decay_fn, None, std)
    name = written("AddPositions", std, p_norm=(p_norm, 2), decay_fn=(decay_fn, None))

    def init(rng, shape):
        return shape, positions.init(rng, tuple(shape[1:-1]), shape[-1])

    def apply(params, x, context):
        return positions.apply(params, x, None)

    def infer(facts):
        if not facts.space:
            raise ValueError(f"{name} needs inputs with a spatial axis, got none")
        return facts.replace(is_input=False)

    def block(k, left, right, facts):
        r = std**2 * positions.covariance(k.space).astype(k.nngp.dtype)
        if k.diagonal:
            r = jnp.broadcast_to(r[(0,) * r.ndim], k.space)
        r = r.reshape(*r.shape, *(1,) * len(k.batch))
        return k.with_values(k.nngp + r, None if k.ntk is None else k.ntk + r)

    return layer_of(Rule(name, init, apply, infer, block))
