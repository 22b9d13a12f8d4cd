"""Normalised variances: the kernel counterparts of batch, layer and location normalisation."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from theory.dkm.gram import Gram
from theory.dkm.layer import Layer, leaf, zero

INDUCING = ("global", "local")
OTHERS = ("global", "batch", "image", "pixel")


def norm(
    inducing: Literal["global", "local"] = "global",
    others: Literal["global", "batch", "image", "pixel"] = "global",
) -> Layer:
    """Every point's features divided by a standard deviation and scaled by a learned factor.

        G_ii' = s_i s_j G_ij / sqrt(a_i a_j),  G_ti' = r s_i G_ti / sqrt(b_t a_i),
        G_t' = r² G_t / b_t

    Args:
      inducing: a: "global", the mean variance of the inducing points; "local", each its own.
      others: b: "global", the mean variance of the inducing points; "batch", the mean over the
        batch (a prediction then depends on what it is computed with); "image", the mean over each
        example's places; "pixel", each place its own.

    Raises:
      ValueError: another word.

    Reference: Milsom, Anson, Aitchison 2024, Convolutional deep kernel machines.
    """
    for name, value, accepted in (("inducing", inducing, INDUCING), ("others", others, OTHERS)):
        if value not in accepted:
            raise ValueError(f"{name} must be one of {accepted}, got {value!r}")

    def init(key, value: Gram):
        start = jnp.zeros((), value.ii.dtype)
        return {"log_scale_inducing": start, "log_scale_others": start}

    def apply(params, value: Gram, key, train):
        variance = jnp.diagonal(value.ii)
        a = variance if inducing == "local" else jnp.broadcast_to(variance.mean(), variance.shape)
        b = value.t
        if others == "global":
            b = jnp.broadcast_to(variance.mean(), value.t.shape)
        elif others == "batch":
            b = jnp.broadcast_to(value.t.mean(), value.t.shape)
        elif others == "image":
            places = tuple(range(1, value.t.ndim))
            b = jnp.broadcast_to(value.t.mean(places, keepdims=True), value.t.shape)
        tiny = jnp.finfo(value.ii.dtype).tiny ** 0.5
        left = jnp.exp(params["log_scale_inducing"]) / jnp.sqrt(jnp.maximum(a, tiny))
        right = jnp.exp(params["log_scale_others"]) / jnp.sqrt(jnp.maximum(b, tiny))
        return Gram(
            value.ii * left[:, None] * left,
            value.ti * right[..., None] * left,
            value.t * right**2,
        ), zero(value)

    return leaf(f"norm({inducing!r}, {others!r})", init, apply)
