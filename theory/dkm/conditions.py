"""How near each layer's Gram matrix is to singular, and which layer fails first."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theory.dkm.failure import condition_number
from theory.dkm.gram import Gram
from theory.dkm.layer import Layer, run


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Seen:
    """A leaf that ran.

    Attributes:
      layer: its place and name.
      ii: of the `Gram` it was given; None where it was given something else.
      finite: whether what it gave is.
    """

    layer: str = field(metadata={"static": True})
    ii: Array | None
    finite: Array


class Condition(NamedTuple):
    """A layer's inducing Gram matrix.

    Attributes:
      layer: its place and name, "4:gram(nu=1)".
      condition_number: of what the layer was given, jitter not added; inf where not positive
        definite, NaN where not finite.
      finite: whether what it gave is.
    """

    layer: str
    condition_number: float
    finite: bool


def conditions(
    network: Layer, params: Any, x: Array, key: Array | None = None, *, train: bool = False
) -> list[Condition]:
    """The condition of every layer that is given a `Gram`, in the order in which they run.

    Args:
      network: the layers.
      params: theirs.
      x: inputs.
      key: for SKR, in training.
      train: whether noise is drawn.
    """
    found = []
    for each in _seen(network, params, jnp.asarray(x), key, train):
        if each.ii is not None:
            number = condition_number(each.ii)
            found.append(Condition(each.layer, number, bool(each.finite)))
        elif not each.finite:
            found.append(Condition(each.layer, float("nan"), False))
    return found


@partial(jax.jit, static_argnums=(0, 4))
def _seen(network: Layer, params: Any, x: Array, key: Array | None, train: bool) -> list[_Seen]:
    """Every leaf of the network; compiled whole, for one operation after another takes longer."""
    found: list[_Seen] = []

    def visit(path, layer, before, after):
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(after)]
        ii = before.ii if isinstance(before, Gram) else None
        found.append(_Seen(path, ii, jnp.stack(finite).all()))

    run(network, params, x, key, train, visit)
    return found


def worst_layer(network: Layer, params: Any, x: Array, key: Array | None) -> Condition:
    """The first layer whose result is not finite; else the one nearest to singular."""
    found = conditions(network, params, x, key, train=key is not None)
    for each in found:
        if not each.finite:
            return each
    return max(
        found, key=lambda each: np.nan_to_num(each.condition_number, nan=np.inf, posinf=1e300)
    )
