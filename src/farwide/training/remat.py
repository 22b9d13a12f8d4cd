"""Recompute a model's forward pass in the backward one, to hold fewer activations."""

from __future__ import annotations

from typing import Any

import jax

from farwide.models import Model

POLICIES = ("nothing", "dots")


def with_remat(model: Model, policy: str) -> Model:
    """The model under `jax.checkpoint`; values and gradients stay the same up to rounding.

    Args:
      policy: what the forward pass keeps: "nothing", or "dots", the results of matrix products
        without a batch axis.

    Raises:
      ValueError: another policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"remat is {policy!r}; accepted: {', '.join(POLICIES)} or None")
    saved = (
        jax.checkpoint_policies.nothing_saveable
        if policy == "nothing"
        else jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    )

    def apply(params: Any, inputs: jax.Array, key: jax.Array | None = None) -> jax.Array:
        def inner(params: Any, inputs: jax.Array) -> jax.Array:
            return model.apply(params, inputs, key=key)

        return jax.checkpoint(inner, policy=saved)(params, inputs)

    return Model(model.init, apply)
