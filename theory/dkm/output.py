"""The last layer: a Gaussian posterior over the outputs, through their values at inducing points.

q(u_c) = N(mu_c, A), one A for all outputs. Both are held whitened, mu = L m and A = L S S^T L^T
with K_ii = L L^T, which leaves the objective as it is and conditions the search:

    mean = K_ti K_ii^-1 mu = X m,  X = K_ti L^-T
    variance = K_t - diag(K_ti K_ii^-1 K_it) + diag(B A B^T) = K_t - sum X² + sum (X S)²
    KL = C KL(A || K_ii) + 1/2 sum_c mu_c^T K_ii^-1 mu_c = C KL(S S^T || I) + |m|² / 2

References:
  Yang et al. 2023, A theory of representation learning gives a deep generalisation of kernel
  methods. Hensman et al. 2015, Scalable variational Gaussian process classification.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Float

from theory.dkm.gram import Gram, half_solved
from theory.dkm.jitter import DEFAULT, Jitter, as_jitter
from theory.dkm.layer import Layer, leaf, whole
from theory.dkm.triangular import coordinates, lower
from theory.predict.once import is_traced


class Output(NamedTuple):
    """Gaussian marginals of the outputs.

    Attributes:
      mean: (N, C).
      variance: (N,), of every output.
    """

    mean: Float[Array, "n c"]
    variance: Float[Array, "n"]


def output(outputs: int, *, jitter: float | tuple[float, float] | Jitter = DEFAULT) -> Layer:
    """A `Gram` without spatial axes to an `Output`; starts at the prior.

    Args:
      outputs: C, the number of outputs (classes, or columns of the targets).
      jitter: of K_ii, a number (absolute) or (relative, absolute).

    Raises:
      ValueError: outputs below 1, and when it is initialised: places that were not pooled.
    """
    made = as_jitter(jitter)
    outputs = whole("outputs", outputs)

    def init(key, value: Gram):
        if value.t.ndim != 1:
            raise ValueError(
                f"output needs one point an example, got places {value.t.shape[1:]}: pool them "
                "first (dkm.global_pool)"
            )
        count, dtype = len(value.ii), value.ii.dtype
        return {
            "mean": jnp.zeros((count, outputs), dtype),
            "root": jnp.zeros((count, count), dtype),
        }

    def apply(params, value: Gram, key, train):
        X = half_solved(value.ti, jnp.linalg.cholesky(made.add(value.ii)))
        diagonal = jnp.diagonal(params["root"])
        S = lower(params["root"])
        mean = jnp.matmul(X, params["mean"], precision="highest")
        spread = jnp.matmul(X, S, precision="highest")
        variance = value.t - (X**2).sum(-1) + (spread**2).sum(-1)
        per_output = ((S**2).sum() - len(S)) / 2 - diagonal.sum()
        return Output(mean, variance), outputs * per_output + (params["mean"] ** 2).sum() / 2

    return leaf(f"output({outputs})", init, apply)


def gaussian_optimum(
    value: Gram,
    y: Float[Array, "n c"],
    noise_variance: float | Array,
    *,
    jitter: float | tuple[float, float] | Jitter = DEFAULT,
) -> dict[str, Array]:
    """The parameters of `output` that maximise the objective of a Gaussian likelihood.

        S S^T = (I + X^T X / s²)^-1,  m = S S^T X^T y / s²

    Args:
      value: the `Gram` that reaches the output layer, of all the training inputs.
      y: (N, C) targets.
      noise_variance: s².
      jitter: that of the output layer.

    Raises:
      ValueError: y of another shape, a noise_variance that is known and not positive.
    """
    if y.ndim != 2 or len(y) != len(value.ti):
        raise ValueError(f"y must have shape ({len(value.ti)}, C), got {y.shape}")
    if not is_traced(noise_variance) and not 0 < noise_variance < math.inf:
        raise ValueError(f"noise_variance must be positive and finite, got {noise_variance!r}")
    X = half_solved(value.ti, jnp.linalg.cholesky(as_jitter(jitter).add(value.ii)))
    eye = jnp.eye(X.shape[-1], dtype=X.dtype)
    precision = eye + jnp.matmul(X.T, X, precision="highest") / noise_variance
    factor = cho_factor(precision, lower=True)
    S = jnp.linalg.cholesky(cho_solve(factor, eye))
    mean = cho_solve(factor, jnp.matmul(X.T, y, precision="highest")) / noise_variance
    return {"mean": mean, "root": coordinates(S)}
