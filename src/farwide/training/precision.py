"""Mixed precision at the seam of a model: cast what goes in, cast what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from farwide.models import Model

_ACCEPTED = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Precision:
    """The types of a model's arithmetic.

    Attributes:
      params: of the parameters as they are stored and updated.
      compute: of the parameters and real inputs inside the model; a layer that asks for another
        type of its own (a norm's statistics, a filter's spectrum) keeps it.
      output: of the logits, in which the loss is computed.
    """

    params: str = "float32"
    compute: str = "float32"
    output: str = "float32"

    def __post_init__(self) -> None:
        for name in ("params", "compute", "output"):
            if getattr(self, name) not in _ACCEPTED:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; accepted: {', '.join(_ACCEPTED)}"
                )


FLOAT32 = Precision()
MIXED_BFLOAT16 = Precision(compute="bfloat16")


def cast(tree: Any, dtype: str) -> Any:
    """The tree with its real arrays in `dtype`; integers, bools and keys stay as they are."""
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree
    )


def with_precision(model: Model, precision: Precision) -> Model:
    """The model with parameters stored, used and answered in the types of `precision`.

    Gradients with respect to the stored parameters come back in the stored type, since the cast is
    inside.
    """

    def init(key: jax.Array) -> Any:
        return cast(model.init(key), precision.params)

    def apply(params: Any, inputs: jax.Array, key: jax.Array | None = None) -> jax.Array:
        inside = cast((params, inputs), precision.compute)
        return model.apply(*inside, key=key).astype(precision.output)

    return Model(init, apply)
