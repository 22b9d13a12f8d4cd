"""A nonlinearity, from its two Gaussian expectations.

For (u, v) ~ N(0, [[k11, k12], [k12, k22]]) the layer y = phi(x) has, Jacot et al. 2018:

    K' = E[phi(u) phi(v)],     Theta' = Theta E[phi'(u) phi'(v)]

Both are functions of (k12, k11, k22). Near correlation 1 their closed forms lose digits, and their
derivatives may be infinite, so each nonlinearity also gives both at u = v, as functions of the
variance alone; these hold on the diagonal of a self block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from theory.stax.layer import Layer, layer_of
from theory.stax.rule import Rule, no_params


class Dual(NamedTuple):
    """The expectations of a nonlinearity.

    Attributes:
      pair: (k12, k11, k22) -> (E[phi phi], E[phi' phi']); arrays that broadcast. Finite, with
        finite derivatives, at k12 = ±sqrt(k11 k22) and where variances are zero.
      same: k -> (E[phi²], E[phi'²]), of the variance; finite, with finite derivatives, at 0. The
        second may be infinite, as for a sign.
      ops: rough arithmetic operations of `pair` for one entry.
    """

    pair: Callable[[Array, Array, Array], tuple[Array, Array]]
    same: Callable[[Array], tuple[Array, Array]]
    ops: float = 40.0


def nonlinearity(name: str, fn: Callable[[Array], Array], dual: Dual) -> Layer:
    """The layer of an elementwise function.

    Args:
      name: as a user would write it.
      fn: the function.
      dual: its expectations.
    """

    def apply(params, x, context):
        return fn(x)

    def infer(facts):
        if not facts.gaussian:
            raise NotImplementedError(
                f"{name} needs Gaussian inputs: put a Dense or Conv layer before it, got {facts}"
            )
        return facts.replace(gaussian=False, is_input=False)

    def statistics(block, mask, pattern):
        return block.at_diagonal()

    def block(k, left, right, facts):
        k = k.materialised()
        if k.itself and (k.diagonal or k.rank == 0):  # every entry is a variance
            value, slope = dual.same(left)
            return k.with_values(value, None if k.ntk is None else k.ntk * slope)
        nngp, dot = dual.pair(k.nngp, k.left(left), k.right(right))
        if k.itself:
            value, slope = dual.same(left)
            on = k.on_diagonal()
            nngp = jnp.where(on, k.left(value), nngp)
            dot = jnp.where(on, k.left(slope), dot)
        ntk = k.ntk
        return k.with_values(nngp, None if ntk is None else ntk * dot)

    return layer_of(Rule(name, no_params, apply, infer, block, statistics, ops=dual.ops))
