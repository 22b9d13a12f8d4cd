"""Where the output layer of a classifier starts: at a least-squares fit, not at the prior."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from theory.dkm.gram import Gram
from theory.dkm.jitter import DEFAULT, Jitter
from theory.dkm.layer import Layer, run, serial
from theory.dkm.output import gaussian_optimum


def fit_readout(
    network: Layer,
    params: list[Any],
    x: Array,
    targets: Float[Array, "n c"],
    noise_variance: float,
    *,
    batch: int = 256,
    jitter: float | tuple[float, float] | Jitter = DEFAULT,
) -> list[Any]:
    """The parameters with q(u) at its optimum for targets + N(0, s²), all other layers as they are.

    For regression it is the exact optimum given them; for classes, with targets such as a scale
    times one-hot, a start from which a kernel's many small directions need not be found by
    gradients.

    Args:
      network: a `serial` that ends in `output`.
      params: its parameters.
      x: inputs to fit.
      targets: (n, C).
      noise_variance: s².
      batch: inputs at a time.
      jitter: that of the output layer.

    Raises:
      ValueError: a network that is no serial of at least two layers, or targets of another length.
    """
    if network.kind != "serial" or len(network.children) < 2:
        raise ValueError(f"network must be a serial that ends in output, got {network.name}")
    if len(targets) != len(x):
        raise ValueError(f"targets must have {len(x)} rows, as x has, got {len(targets)}")
    body = serial(*network.children[:-1])

    @jax.jit
    def reach(params, x) -> Gram:
        return run(body, params, x, None, False)[0]

    parts = [reach(params[:-1], x[i : i + batch]) for i in range(0, len(x), batch)]
    value = Gram(
        parts[0].ii,
        jnp.concatenate([part.ti for part in parts]),
        jnp.concatenate([part.t for part in parts]),
    )
    fitted = jax.jit(lambda v, y: gaussian_optimum(v, y, noise_variance, jitter=jitter))
    return [*params[:-1], fitted(value, targets)]
