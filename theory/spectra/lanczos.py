"""Stochastic Lanczos quadrature: the spectrum of a matrix known by its products with vectors.

import jax
from theory.spectra import hessian_product, lanczos_spectrum
found = lanczos_spectrum(hessian_product(loss, params), key=jax.random.key(0))
found.largest, found.moment(1) * found.size  # top eigenvalue, trace
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

SMALL = 1e-5  # of the largest |eigenvalue| so far: Lanczos has found an invariant space


class Product(NamedTuple):
    """A symmetric matrix as a traceable function, with its size and the dtype of its vectors."""

    matvec: Callable[[Array], Array]
    size: int
    dtype: Any


class LanczosSpectrum(NamedTuple):
    """A spectral density: sum over nodes of weight times a point mass.

    Attributes:
      nodes: (probes, steps) Ritz values, ascending in each probe.
      weights: (probes, steps), each row sums to 1.
      size: rows of the matrix.
    """

    nodes: Float[np.ndarray, "probes steps"]
    weights: Float[np.ndarray, "probes steps"]
    size: int

    @property
    def largest(self) -> float:
        """The largest Ritz value, a lower bound of the largest eigenvalue up to rounding."""
        return float(self.nodes[self.weights > 0].max())

    @property
    def smallest(self) -> float:
        """The least Ritz value, an upper bound of the least eigenvalue up to rounding."""
        return float(self.nodes[self.weights > 0].min())

    def moment(self, power: float) -> float:
        """tr(A^power)/size; exact for each probe's vector up to power 2 steps - 1."""
        return float((self.weights * self.nodes**power).sum(1).mean())

    def moment_error(self, power: float) -> float:
        """Standard error of `moment` over probes; needs two of them."""
        each = (self.weights * self.nodes**power).sum(1)
        return float(each.std(ddof=1) / np.sqrt(len(each)))

    def density(self, at: np.ndarray, width: float) -> np.ndarray:
        """The density at (points,), each node a Gaussian of standard deviation `width`."""
        if not width > 0:
            raise ValueError(f"width must be > 0, got {width}")
        x = (np.asarray(at, np.float64)[:, None] - self.nodes.ravel()) / width
        bump = np.exp(-0.5 * x**2) / (width * np.sqrt(2 * np.pi))
        return bump @ self.weights.ravel() / len(self.nodes)


def hessian_product(loss: Callable[[Any], Array], params: Any) -> Product:
    """The Hessian of a loss at given parameters, as products with flat vectors.

        H v = d/de grad loss(params + e v)

    Args:
      loss: parameters -> a number; close over the batch.
      params: a pytree of arrays of one floating dtype.
    """
    flat, unravel = ravel_pytree(params)

    def matvec(v: Array) -> Array:
        return jax.jvp(lambda p: ravel_pytree(jax.grad(loss)(unravel(p)))[0], (flat,), (v,))[1]

    return Product(matvec, flat.size, flat.dtype)


def lanczos_spectrum(
    product: Product, *, key: Key[Array, ""], probes: int = 8, steps: int = 40
) -> LanczosSpectrum:
    """Spectral density of a symmetric matrix from probes x steps products.

    Each probe is a random vector of signs over sqrt(size); Lanczos gives the Gauss quadrature of
    its spectral measure, nodes the eigenvalues of a tridiagonal matrix and weights the squared
    first entries of its eigenvectors. The mean over probes estimates the density, with an error of
    1/sqrt(probes size) in smooth statistics. Every new vector is made orthogonal to all before it,
    twice, so that no eigenvalue appears as a ghost; memory is probes x steps x size.

    Args:
      product: of `hessian_product`, or your own.
      key: of the probes.
      probes: > 0.
      steps: > 0; at most the size of the matrix is taken. A space that closes earlier ends a
        probe, and its further nodes have weight 0.

    Raises:
      ValueError: probes, steps or the size is not above zero.
      FloatingPointError: a product is not finite.

    References:
      Golub and Meurant 1994, Matrices, moments and quadrature; Ubaru, Chen and Saad 2017, Fast
      estimation of tr(f(A)) via stochastic Lanczos quadrature; Granziol et al. 2022 (batch
      Hessians).
    """
    for name, value in (("probes", probes), ("steps", steps), ("size", product.size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    steps = min(steps, product.size)
    starts = jax.random.rademacher(key, (probes, product.size), product.dtype)
    starts = starts / np.sqrt(product.size)
    run = jax.jit(jax.vmap(lambda v: _tridiagonal(product.matvec, v, steps)))
    alphas, betas = (np.asarray(each, np.float64) for each in run(starts))
    if not (np.isfinite(alphas).all() and np.isfinite(betas).all()):
        raise FloatingPointError("a product of the matrix with a vector is not finite")
    nodes, weights = np.zeros((probes, steps)), np.zeros((probes, steps))
    for i, (alpha, beta) in enumerate(zip(alphas, betas, strict=True)):
        closed = np.flatnonzero(beta == 0)
        count = int(closed[0]) + 1 if len(closed) else steps
        off = beta[: count - 1]
        matrix = np.diag(alpha[:count]) + np.diag(off, 1) + np.diag(off, -1)
        values, vectors = np.linalg.eigh(matrix)
        nodes[i, :count], weights[i, :count] = values, vectors[0] ** 2
        nodes[i, count:] = values[-1]
    return LanczosSpectrum(nodes, weights, product.size)


def _tridiagonal(matvec: Callable[[Array], Array], start: Array, steps: int):
    """(alpha (steps,), beta (steps,)), diagonal and off-diagonal; beta = 0 after a closed space."""

    def step(carry, i):
        basis, v, scale = carry
        basis = basis.at[i].set(v)
        w = matvec(v)
        alpha = v @ w
        for _ in range(2):
            w = w - basis.T @ (basis @ w)
        size = jnp.linalg.norm(w)
        scale = jnp.maximum(scale, jnp.abs(alpha) + size)
        small = size <= SMALL * scale if w.dtype == jnp.float32 else size <= 1e-13 * scale
        # a vector of zeros has zero products: what follows a closed space is not read
        v = jnp.where(small, 0.0, w / jnp.where(small, 1.0, size))
        return (basis, v, scale), (alpha, jnp.where(small, 0.0, size))

    basis = jnp.zeros((steps, start.size), start.dtype)
    first = (basis, start, jnp.zeros((), start.dtype))
    _, (alphas, betas) = jax.lax.scan(step, first, jnp.arange(steps))
    return alphas, betas
