"""Coordinates in which Gram matrices are free to move, and the KL costs nothing.

    G_l = L T T^T L^T,  K_l = L L^T,  T lower triangular with a positive diagonal exp(v)
    KL_l = 1/2 (|T|_F² - P - 2 sum_i v_i)

T = I is G_l = K_l: the NNGP is the origin of these coordinates, and a layer with nu = inf stays at
it. They know the scale of the objective: numbers are divided by sqrt(1 + nu_l), after which the
KL's curvature at the origin is at most 2 for any nu_l.

Reference: Yang et al. 2023, A theory of representation learning gives a deep generalisation of
kernel methods.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from theory.dkm.objective import Machine, Objective, log_likelihood
from theory.dkm.triangular import coordinates, lower

Learned = tuple[bool, ...]


def count(machine: Machine, learned: Learned) -> int:
    """How many numbers the Gram matrices of the learned layers have."""
    sizes = machine.sizes[:-1]
    return sum(n * (n + 1) // 2 for n, free in zip(sizes, learned, strict=True) if free)


def unpack(
    machine: Machine, flat: Float[Array, "n"], learned: Learned
) -> tuple[tuple[Array, ...], Objective]:
    """The Gram matrices that numbers stand for, and their objective.

    Args:
      machine: the checked machine.
      flat: of every learned layer in turn, the rows of T's lower triangle, log diagonal, times
        sqrt(1 + nu).
      learned: of each layer, False where T = I is kept.
    """
    grams, kls, penalty, G, at = [], [], jnp.zeros((), flat.dtype), machine.G0, 0
    for layer, (size, free) in enumerate(zip(machine.sizes[:-1], learned, strict=True), start=1):
        G = machine.prior(layer, G)
        kl = jnp.zeros((), flat.dtype)
        if free:
            nu, entries = machine.nu[layer - 1], size * (size + 1) // 2
            V = _triangle(flat[at : at + entries] / jnp.sqrt(1 + nu), size)
            v = jnp.diagonal(V)
            root = jnp.matmul(jnp.linalg.cholesky(G), lower(V), precision="highest")
            G = jnp.matmul(root, root.T, precision="highest")
            # expm1: without it the KL of a T near I is lost to cancellation, as at large nu
            kl = ((jnp.tril(V, -1) ** 2).sum() + (jnp.expm1(2 * v) - 2 * v).sum()) / 2
            penalty = penalty + nu * kl
            at += entries
        grams.append(G)
        kls.append(kl)
    fit = log_likelihood(machine, G)
    stacked = jnp.stack(kls) if kls else jnp.zeros(0, fit.dtype)
    return tuple(grams), Objective(fit - penalty, fit, stacked)


def pack(machine: Machine, grams: Sequence[Array], learned: Learned) -> Float[Array, "n"]:
    """The numbers that stand for Gram matrices; NaN where a K or G is not positive definite.

    A layer that is not learned keeps G = K, whatever `grams` says of it.
    """
    parts, G = [jnp.zeros(0, machine.G0.dtype)], machine.G0
    for layer, (after, free) in enumerate(zip(grams, learned, strict=True), start=1):
        K = machine.prior(layer, G)
        G = after if free else K
        if free:
            T = solve_triangular(jnp.linalg.cholesky(K), jnp.linalg.cholesky(after), lower=True)
            V = coordinates(T)
            parts.append(V[np.tril_indices(len(V))] * jnp.sqrt(1 + machine.nu[layer - 1]))
    return jnp.concatenate(parts)


def _triangle(entries: Float[Array, "n"], size: int) -> Float[Array, "p p"]:
    return jnp.zeros((size, size), entries.dtype).at[np.tril_indices(size)].set(entries)
