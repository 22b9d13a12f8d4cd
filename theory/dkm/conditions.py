"""How near each layer's Gram matrix is to singular, and which layer fails first."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from theory.dkm.failure import condition_number
from theory.dkm.gram import Gram
from theory.dkm.layer import Layer, run


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
    found: list[Condition] = []

    def visit(path, layer, before, after):
        finite = all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(after))
        if isinstance(before, Gram):
            found.append(Condition(path, condition_number(before.ii), finite))
        elif not finite:
            found.append(Condition(path, float("nan"), finite))

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
