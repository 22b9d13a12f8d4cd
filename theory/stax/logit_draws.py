"""Averages over draws of attention's logits, of both examples together."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory.stax.attention import HIDDEN, Side
from theory.stax.block import Block
from theory.stax.joint import batch_first, both_orders, joint_roots
from theory.stax.mixing import paired_places

Values = tuple[Array, ...]  # (K',) or (K', Theta'), (*batch, p, q)


class Given(NamedTuple):
    """What draws are made of.

    Attributes:
      itself: whether both examples are one.
      nngp, ntk: (*batch, p, q); ntk None where it is not asked for.
      roots: (*batch, p, size) of both examples, as of `joint_roots`.
      blind: (.., p, q) bool of both, True where a query does not see a key.
    """

    itself: bool
    nngp: Array
    ntk: Array | None
    roots: tuple[Array, Array]
    blind: tuple[Array, Array]


def weights_of(logits: Array, blind: Array) -> Array:
    """Their softmax over the keys that each query sees."""
    return jax.nn.softmax(jnp.where(blind, HIDDEN, logits), -1)


def averaged(
    k: Block,
    left: Side,
    right: Side,
    seen: np.ndarray,
    draw: Callable[[Given, Array], Values],
    shape: tuple[int | None, ...],
    samples: int,
    seed: int,
) -> tuple[Array, Array | None]:
    """K' and Theta' without the output's scale and bias, means over draws.

    Args:
      k: a full block.
      left, right: K(x, x) and K(x', x') and masks.
      seen: (places, places) bool, query by key.
      draw: K' and Theta' of one draw, from an array of N(0, 1).
      shape: of that array; None stands for the `size` of `joint_roots`.
      samples, seed: draws.
    """
    assert left.nngp is not None
    assert right.nngp is not None
    nngp = batch_first(k, k.nngp)
    ntk = None if k.ntk is None else batch_first(k, k.ntk)
    roots = joint_roots(k, left.nngp, right.nngp)
    blind = (_blind(left, seen, k.rank), _blind(right, seen, k.rank))
    given = Given(k.itself, nngp, ntk, roots, blind)
    sizes = tuple(roots[0].shape[-1] if n is None else n for n in shape)
    places = tuple(axis for axis, n in enumerate(shape) if n is None)

    def step(total, key):
        draws = both_orders(k, jax.random.normal(key, sizes, nngp.dtype), places)
        for noise in draws:
            with jax.default_matmul_precision("highest"):
                out = draw(given, noise)
            total = tuple(t + o / len(draws) for t, o in zip(total, out, strict=True))
        return total, None

    start = (jnp.zeros_like(nngp),) * (1 if ntk is None else 2)
    total, _ = lax.scan(step, start, jax.random.split(jax.random.key(seed), samples))

    def back(value: Array) -> Array:
        flat = jnp.moveaxis(value / samples, (-2, -1), (0, 1))
        return paired_places(flat, range(k.rank), k.space)

    return back(total[0]), None if ntk is None else back(total[1])


def _blind(side: Side, seen: np.ndarray, rank: int) -> Array:
    """Keys that queries do not see: (places, places), or (*batch, places, places)."""
    out = jnp.asarray(~seen)
    if side.mask is None:
        return out
    keys = jnp.moveaxis(side.mask.reshape(-1, *side.mask.shape[rank:]), 0, -1)
    return out | keys[..., None, :]
