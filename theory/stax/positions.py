"""Positional embeddings: random vectors r_i of places, that are added to activations or put beside.

    E[r_i r_j] = W_pos_emb_std² R_ij,     R_ij = decay(sum over axes |i - j|^p),  or 1 where i = j

Covariances, with C channels of x and E of r:

    added    K~ = K + W_pos_emb_std² R
    beside   K~ = (C K + E W_pos_emb_std² R) / (C + E)

and so the NTK, since embeddings are trained. Masked places have none.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theory.stax.affine import check_size

E = TypeVar("E", bound=enum.Enum)

INDEFINITE = 1e-5  # an eigenvalue below minus this, of the largest, is no rounding error


class PositionalEmbedding(enum.Enum):
    """How embeddings meet activations: not at all, added, or beside them as more channels."""

    NONE = "NONE"
    SUM = "SUM"
    CONCAT = "CONCAT"


def member(kind: type[E], value: str | E, name: str) -> E:
    """A member of an enum, by itself or by its value.

    Raises:
      ValueError: there is none.
    """
    try:
        return kind(value)
    except ValueError:
        accepted = ", ".join(repr(item.value) for item in kind)
        raise ValueError(f"{name} must be one of {accepted}, got {value!r}") from None


@dataclass(frozen=True)
class Positions:
    """The settings of positional embeddings; `GlobalSelfAttention` describes them."""

    kind: PositionalEmbedding
    p_norm: float
    decay_fn: Callable[[Any], Any] | None
    channels: int | None
    std: float

    def __post_init__(self):
        if self.channels is not None:
            check_size(self.channels, "n_chan_pos_emb")

    def own_channels(self, channels: int) -> int:
        """Channels of the embeddings of activations that have so many.

        Raises:
          ValueError: they are to be added, and differ.
        """
        own = channels if self.channels is None else self.channels
        if self.kind is PositionalEmbedding.SUM and own != channels:
            raise ValueError(
                'n_chan_pos_emb must be None or that of the inputs with pos_emb_type "SUM", got '
                f"{own} for inputs with {channels} channels"
            )
        return own

    def channels_with(self, channels: int) -> int:
        """Channels of activations with their embeddings."""
        own = self.own_channels(channels)
        return channels + own if self.kind is PositionalEmbedding.CONCAT else channels

    def init(self, rng: Array, space: tuple[int, ...], channels: int) -> Array | None:
        """(1, *space, channels of embeddings) normal numbers, or None.

        Raises:
          ValueError: the size of a spatial axis is not known.
        """
        if self.kind is PositionalEmbedding.NONE:
            return None
        if any(size < 1 for size in space):
            raise ValueError(f"positional embeddings need known spatial sizes, got {space}")
        return jax.random.normal(rng, (1, *space, self.own_channels(channels)))

    def apply(self, drawn: Array | None, x: Array, mask: Array | None) -> Array:
        """x with embeddings.

        Args:
          drawn: what `init` gave.
          x: (batch, *space, channels).
          mask: (batch, *space) or None.

        Raises:
          ValueError: decay_fn gives no covariance, but a matrix with negative eigenvalues.
        """
        if drawn is None:
            return x
        space = x.shape[1:-1]
        if self.decay_fn is not None:
            flat = drawn.reshape(-1, drawn.shape[-1])
            drawn = (jnp.asarray(self._root(space), flat.dtype) @ flat).reshape(drawn.shape)
        r = self.std * drawn if mask is None else jnp.where(mask[..., None], 0.0, self.std * drawn)
        if self.kind is PositionalEmbedding.SUM:
            return x + r
        return jnp.concatenate([x, jnp.broadcast_to(r, (*x.shape[:-1], r.shape[-1]))], -1)

    def covariance(self, space: tuple[int, ...]) -> Array:
        """R in the layout of blocks, (p_1, q_1, p_2, q_2, ..)."""
        distance = np.zeros((1,) * (2 * len(space)))
        for axis, size in enumerate(space):
            place = np.arange(size, dtype=np.float64)
            shape = [1] * (2 * len(space))
            shape[2 * axis] = shape[2 * axis + 1] = size
            distance = distance + np.abs(place[:, None] - place).reshape(shape) ** self.p_norm
        if self.decay_fn is None:
            return jnp.asarray(distance == 0, float)
        r = jnp.asarray(self.decay_fn(distance))
        if r.shape != distance.shape:
            raise ValueError(
                f"pos_emb_decay_fn must keep the shape, got {distance.shape} -> {r.shape}"
            )
        return r

    def seen(self, value: Array, channels: int, hidden: Array | None, batch_axes: int) -> Array:
        """K~, or the NTK with embeddings.

        Args:
          value: (p_1, q_1, p_2, q_2, .., *batch).
          channels: of the activations.
          hidden: broadcasts against `value`, True where x at p or x' at q is masked; or None.
          batch_axes: of `value`.
        """
        if self.kind is PositionalEmbedding.NONE:
            return value
        space = value.shape[: value.ndim - batch_axes : 2]
        r = self.std**2 * self.covariance(space).astype(value.dtype)
        r = r.reshape(*r.shape, *(1,) * batch_axes)
        if hidden is not None:
            r = jnp.where(hidden, jnp.zeros((), r.dtype), r)
        if self.kind is PositionalEmbedding.SUM:
            return value + r
        own = self.own_channels(channels)
        share = channels / (channels + own)
        return share * value + (1 - share) * r

    def _root(self, space: tuple[int, ...]) -> np.ndarray:
        """(places, places) F with F F^T = R, by eigenvalues: R may be singular."""
        rank = len(space)
        with jax.ensure_compile_time_eval():
            r = np.asarray(self.covariance(space), np.float64)
        size = int(np.prod(space))
        order = (*range(0, 2 * rank, 2), *range(1, 2 * rank, 2))
        values, vectors = np.linalg.eigh(r.transpose(order).reshape(size, size))
        if values.min() < -INDEFINITE * np.abs(values).max():
            raise ValueError(
                f"pos_emb_decay_fn gives no covariance over places {space}: its eigenvalues are "
                f"from {values.min():.3g} to {values.max():.3g}"
            )
        return vectors * np.sqrt(np.maximum(values, 0.0))
