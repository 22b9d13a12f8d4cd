"""What a batch scores: sums, never means, so that parts of a batch add up exactly."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from farwide.data.task import Batch


class Sums(NamedTuple):
    """Sums over the targets of some examples; a mean is one division, made once at the end."""

    loss: Float[Array, ""]  # of weight times loss, nats
    correct: Float[Array, ""]  # of weight, where the target was the likeliest class
    weight: Float[Array, ""]


class Objective(Protocol):
    """From logits and a batch to sums; the loss must be differentiable in the logits."""

    def __call__(self, logits: jax.Array, batch: Batch) -> Sums: ...


def cross_entropy(logits: jax.Array, batch: Batch) -> Sums:
    """Cross-entropy of integer classes, in nats, summed over weighted targets.

        loss = sum_i w_i (logsumexp_c z_ic - z_i,t_i)

    Args:
      logits: (*targets, classes), real.
      batch: its targets are classes 0 <= t < classes.

    Raises:
      ValueError: the shapes do not fit.
    """
    if logits.shape[:-1] != batch.targets.shape:
        raise ValueError(
            f"logits have shape {logits.shape}; targets {batch.targets.shape} want "
            f"{(*batch.targets.shape, 'classes')}"
        )
    losses = optax.softmax_cross_entropy_with_integer_labels(
        logits.astype(jnp.float32), batch.targets
    )
    right = (logits.argmax(-1) == batch.targets).astype(jnp.float32)
    weights = batch.weights.astype(jnp.float32)
    # A target that does not count may hold anything, so its loss is dropped and not multiplied.
    counted = jnp.where(weights > 0, losses, 0.0)
    return Sums((weights * counted).sum(), (weights * right).sum(), weights.sum())
