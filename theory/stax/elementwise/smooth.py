"""Smooth nonlinearities whose expectations have no closed form: by integration, see `numerical`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from theory.stax.affine import written
from theory.stax.elementwise.numerical import integrated
from theory.stax.layer import Layer


def Tanh(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Layer:
    """a tanh(b x) + c, by integration.

    Args:
      a: output scale.
      b: input scale.
      c: output shift.
    """
    return integrated(written("Tanh", a, b, c), lambda x: a * jnp.tanh(b * x) + c)


def Softplus(beta: float = 1.0) -> Layer:
    """log(1 + exp(beta x)) / beta, by integration.

    Args:
      beta: sharpness, > 0; ReLU in the limit.

    Raises:
      ValueError: beta is not positive.
    """
    _check_positive(beta)
    return integrated(written("Softplus", beta), lambda x: jax.nn.softplus(beta * x) / beta)


def Silu(beta: float = 1.0) -> Layer:
    """x / (1 + exp(-beta x)), by integration; also known as swish.

    Args:
      beta: sharpness, > 0; ReLU in the limit.

    Raises:
      ValueError: beta is not positive.

    References:
      Hendrycks and Gimpel 2016, Gaussian error linear units. Ramachandran et al. 2017, Searching
      for activation functions.
    """
    _check_positive(beta)
    return integrated(written("Silu", beta), lambda x: x * jax.nn.sigmoid(beta * x))


Swish = Silu


def _check_positive(beta: float) -> None:
    if not beta > 0:
        raise ValueError(f"beta must be > 0, got {beta!r}")
