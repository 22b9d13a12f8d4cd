"""A kernel as a layer, with a learned weight and bias."""

from __future__ import annotations

import math

import jax.numpy as jnp

from theory import stax
from theory.dkm.gram import Gram
from theory.dkm.kernels import gram_kernel
from theory.dkm.layer import Layer, leaf, zero


def kernel(
    kernel: str | stax.Layer = "relu", *, weight: float | None = 1.0, bias: float | None = None
) -> Layer:
    """K(G), or weight K(G) + bias with both learned in log space.

    Args:
      kernel: a name ("relu", "squared_exponential", "normalized_gaussian", "heaviside", "linear"),
        or any layer of theory.stax for inputs without spatial axes, such as a serial of several.
      weight: where it starts; None leaves it out.
      bias: the same.

    Raises:
      ValueError: a weight or bias that is not positive, an unknown name.
    """
    function = gram_kernel(kernel)
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive or None, got {value!r}")

    def init(key, value: Gram):
        start = {"log_weight": weight, "log_bias": bias}
        return {
            name: jnp.asarray(math.log(at), value.ii.dtype)
            for name, at in start.items()
            if at is not None
        }

    def apply(params, value: Gram, key, train):
        out = function(value)
        if "log_weight" in params:
            out = Gram(*(jnp.exp(params["log_weight"]) * part for part in out))
        if "log_bias" in params:
            out = Gram(*(jnp.exp(params["log_bias"]) + part for part in out))
        return out, zero(value)

    written = f'"{kernel}"' if isinstance(kernel, str) else "..."
    return leaf(f"kernel({written})", init, apply)
