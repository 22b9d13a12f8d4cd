"""Posteriors of a full deep kernel machine at test inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from theory.dkm.objective import KernelLike, checked_grams, machine_of
from theory.predict.definite import factorise
from theory.predict.gp_inference import symmetric
from theory.predict.once import is_traced
from theory.predict.train_kernel import Solver


class Posterior(NamedTuple):
    """A Gaussian over the outputs at test inputs.

    Attributes:
      mean: (T,) or (T, C), as Y.
      covariance: (T, T), of each column.
    """

    mean: Array
    covariance: Float[Array, "t t"]


def posterior(
    G0: ArrayLike,
    G0_cross: ArrayLike,
    G0_test: ArrayLike,
    grams: Sequence[ArrayLike],
    Y: ArrayLike,
    *,
    kernel: KernelLike | Sequence[KernelLike],
    noise_variance: float | ArrayLike,
    jitter: float | ArrayLike = 1e-6,
    noisy: bool = False,
) -> Posterior:
    """The posterior of the outputs at test inputs, given the Gram matrices of the training inputs.

    Layer by layer the Gram matrix of all inputs together, given that of the training inputs i:

        K = K(G) + jitter I over all inputs,  B = K_ti K_ii^-1
        G_ti = B G_ii,  G_tt = K_tt - B K_it + B G_ii B^T

    and at the outputs the posterior of a Gaussian process,

        mean K_ti A^-1 Y,  cov K_tt - K_ti A^-1 K_it,  A = K_ii + s² I

    With G_l = K_l (nu = inf) this is the NNGP's posterior. Where a K_ii is singular to working
    precision its smallest eigenvalues are dropped, with a warning (`theory.predict.definite`).

    Args:
      G0: (P, P), the training inputs' Gram matrix.
      G0_cross: (T, P), of test with training inputs.
      G0_test: (T, T), the test inputs'.
      grams: G_1 .. G_L, as `fit_grams` finds them.
      Y: (P,) or (P, C), the training targets.
      kernel: as in `objective`. A layer over places takes the training examples' places first, then
        those of the test examples.
      noise_variance: s².
      jitter: of every K.
      noisy: the covariance of noisy targets: s² I is added.

    Returns:
      A Posterior.

    Raises:
      ValueError: as `objective`, and shapes of G0_cross or G0_test that do not agree.

    Reference: Yang et al. 2023, A theory of representation learning gives a deep generalisation of
    kernel methods.
    """
    machine = machine_of(
        G0, Y, len(grams), kernel=kernel, nu=0.0, noise_variance=noise_variance, jitter=jitter
    )
    given = checked_grams(machine, tuple(grams), "grams")
    dtype, columns = machine.G0.dtype, jnp.ndim(Y) == 2
    cross, test = jnp.asarray(G0_cross, dtype), jnp.asarray(G0_test, dtype)
    n = len(machine.G0)
    if cross.ndim != 2 or cross.shape[1] != n:
        raise ValueError(f"G0_cross must have shape (T, {n}), got {cross.shape}")
    if test.shape != (len(cross), len(cross)):
        raise ValueError(f"G0_test must have shape {(len(cross), len(cross))}, got {test.shape}")
    ii, ti, tt = machine.G0, cross, test
    for layer, G in enumerate(given, start=1):
        K = machine.prior(layer, jnp.block([[ii, ti.T], [ti, tt]]))
        n = len(G)
        solver = _solver(K[:n, :n], f"K of layer {layer}")
        B = solver.solve(K[:n, n:]).T
        ti = jnp.matmul(B, G, precision="highest")
        moved = jnp.matmul(ti, B.T, precision="highest")
        tt = symmetric(K[n:, n:] - solver.quadratic(K[:n, n:]) + moved)
        ii = G
    K = machine.prior(len(machine.kernels), jnp.block([[ii, ti.T], [ti, tt]]))
    n = len(machine.Y)
    noise = machine.noise_variance
    solver = _solver(K[:n, :n] + noise * jnp.eye(n, dtype=dtype), "K of the outputs")
    mean = jnp.matmul(K[n:, :n], solver.solve(machine.Y), precision="highest")
    covariance = symmetric(K[n:, n:] - solver.quadratic(K[:n, n:]))
    if noisy:
        covariance = covariance + noise * jnp.eye(len(covariance), dtype=dtype)
    return Posterior(mean if columns else mean[:, 0], covariance)


def _solver(matrix: Array, name: str) -> Solver:
    return Solver(factorise(matrix, name), matrix if is_traced(matrix) else None)
