"""What Dense and every kind of Conv share: random weights and biases, in two parametrisations.

    ntk        y = W_std / sqrt(fan_in) sum w x + b_std b        w, b ~ N(0, 1)
    standard   y = s_in^(-1/2) sum w x + b     w ~ N(0, W_std² s_in / fan_in),  b ~ N(0, b_std²)

Both have the same NNGP. With A the mean over the inputs of one output (over a filter's window; the
input itself for Dense) the limits are, Sohl-Dickstein et al. 2020 for the second NTK:

    K' = W_std² A K + b_std²
    Theta' = W_std² A Theta + K'                                 ntk
    Theta' = W_std² A Theta + (fan_in / s_in) A K + [b]          standard
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
from jax import Array

from theory.stax.block import Block

PARAMETERIZATIONS = ("ntk", "standard")


@dataclass(frozen=True)
class Affine:
    """The settings of random weights and biases; checked when made.

    Attributes:
      W_std: standard deviation of the weights, times sqrt(fan_in).
      b_std: standard deviation of the biases; None means no bias.
      parameterization: "ntk" or "standard".
      s: (s_in, s_out) width scalings of "standard".
    """

    W_std: float
    b_std: float | None
    parameterization: str
    s: tuple[int, int]

    def __post_init__(self):
        object.__setattr__(self, "parameterization", str(self.parameterization).lower())
        if self.parameterization not in PARAMETERIZATIONS:
            raise ValueError(
                f"parameterization must be one of {PARAMETERIZATIONS}, "
                f"got {self.parameterization!r}"
            )
        if len(tuple(self.s)) != 2 or not all(width > 0 for width in self.s):
            raise ValueError(f"s must be two positive width scalings (in, out), got {self.s!r}")
        if self.parameterization == "ntk" and tuple(self.s) != (1, 1):
            raise ValueError(f's must be (1, 1) with parameterization "ntk", got {self.s!r}')

    @property
    def standard(self) -> bool:
        """Whether the parametrisation is the standard one."""
        return self.parameterization == "standard"

    def init(self, rng: Array, weights: tuple[int, ...], biases: tuple[int, ...], fan_in: int):
        """(weights, biases or None) of the given shapes."""
        rng_w, rng_b = jax.random.split(rng)
        w = jax.random.normal(rng_w, weights)
        b = None
        if self.b_std is not None:
            b = jax.random.normal(rng_b, biases) * (self.b_std if self.standard else 1.0)
        if self.standard:
            w = w * (self.W_std / math.sqrt(fan_in / self.s[0]))
        return w, b

    def finish(self, sums: Array, b: Array | None, fan_in: int) -> Array:
        """The outputs of the finite layer from its sums of weights times inputs."""
        out = sums / math.sqrt(self.s[0]) if self.standard else sums * self.W_std / fan_in**0.5
        if b is None or self.b_std is None:
            return out
        return out + (b if self.standard else self.b_std * b)

    def block(self, means: Block, fan_in: int) -> Block:
        """The outputs' block from the means A of the inputs' block."""
        variance = self.W_std**2
        bias = 0.0 if self.b_std is None else self.b_std**2
        k, theta = means.nngp, means.ntk
        nngp = variance * k + bias
        if theta is None:
            return means.with_values(nngp, None)
        if self.standard:
            ntk = variance * theta + fan_in / self.s[0] * k + (0.0 if self.b_std is None else 1.0)
        else:
            ntk = variance * theta + nngp
        return means.with_values(nngp, ntk)


def check_axes(batch_axis: int, channel_axis: int) -> None:
    """The one layout: batch first, channels last.

    Raises:
      ValueError: another was asked for.
    """
    if batch_axis != 0:
        raise ValueError(f"batch_axis must be 0 (transpose the inputs instead), got {batch_axis}")
    if channel_axis != -1:
        raise ValueError(
            f"channel_axis must be -1 (transpose the inputs instead), got {channel_axis}"
        )


def check_size(value: int, name: str) -> int:
    """A positive int.

    Raises:
      ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive int, got {value!r}")
    return value


def written(name: str, *args: object, **options: tuple[object, object]) -> str:
    """A layer as a user would write it; options as (value, default), left out where equal."""
    parts = [str(a) for a in args]
    parts += [f"{key}={value}" for key, (value, default) in options.items() if value != default]
    return f"{name}({', '.join(parts)})"
