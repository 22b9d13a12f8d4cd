"""The equations behind every learning curve here, as functions of one number, gamma.

K random features of a kernel with eigenvalues l_i, n examples out of a population of M (both K and
M may be infinite), targets sum_i v_i phi_i plus noise of variance s^2. With

    z = sum l/(l+gamma),  q = sum (l/(l+gamma))^2,  kappa = gamma (1 - z/K)

    ridge = kappa (n - z) / (1 - z/M)
    E_te = n [sum (gamma/(l+gamma) - kappa l/(l+gamma)^2 / (1 - q/K)) v^2 + s^2] / d
    d = M (1 - z/M)^2 + (M - n) [(1 - z/K)(z - q) / (M (1 - q/K)) - (1 - z/M)]
    E_tr = (1 - z/n)^2 E_te

gamma falls from infinity (a ridge without end) to its least value, where z = min(n, K) and the
ridge is zero. K = inf is kernel ridge regression, gamma = kappa; M = inf is a population without
end, where d = n - [q (1 - 2z/K) + z^2/K] / (1 - q/K).

E_te is the error at inputs outside the n examples. For finite M it is what is measured at the M - n
points that were not drawn. Derivation for finite M: the examples are chosen by a diagonal matrix D
that is `ridge` at the n drawn points and c -> inf at the others; the Gram matrix K_M (M x M) is
taken to be free of D, so that (K_M + D)^-1 is equivalent to (K_M + M kappa)^-1 with kappa given by
additive subordination, and the residuals follow as derivatives of y^T (K_M + D)^-1 y by `ridge` and
1/c.

References:
  Simon et al. 2023, The Eigenlearning Framework, section 3 (K = M = inf). Simon, Karkada, Ghosh and
  Belkin 2024, More is Better, section 4 (M = inf). Voiculescu 1993, The analogues of entropy and of
  Fisher's information measure in free probability theory I (subordination). The finite population
  is derived here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from theory.spectra.spectrum import Spectrum

HALVINGS = 64  # of a bracket in log gamma: to rounding from any bracket that float64 holds
ROUNDING = 1e-13
BLOCK = 4_000_000  # numbers of a (points, modes) table that are held at once


class Curve(NamedTuple):
    """A learning curve; arrays of one shape, that of n broadcast against the other arguments.

    Attributes:
      n: training examples.
      ridge: the ridge delta, in (K + delta I)^-1 y with K the kernel (not divided by n).
      kappa: the effective ridge of the kernel, in units of its eigenvalues.
      gamma: that of the random features' limit; kappa for kernel ridge regression.
      learned: z = sum of l/(l+gamma), modes that are learned.
      test: mean squared error at inputs outside the examples, noise included; summed over columns.
      train: the same at the training examples.
    """

    n: Float[np.ndarray, "*points"]
    ridge: Float[np.ndarray, "*points"]
    kappa: Float[np.ndarray, "*points"]
    gamma: Float[np.ndarray, "*points"]
    learned: Float[np.ndarray, "*points"]
    test: Float[np.ndarray, "*points"]
    train: Float[np.ndarray, "*points"]


class Points(NamedTuple):
    """Where a curve is asked for, each (points,): examples, features, population, noise."""

    n: np.ndarray
    features: np.ndarray
    population: np.ndarray
    noise: np.ndarray


def modes_in_blocks(function: Callable[..., tuple], s: Spectrum, gamma: np.ndarray) -> tuple:
    """`function(lam, v2, m, gamma)`'s sums over modes, without a table of all points and modes."""
    step = max(1, BLOCK // max(1, gamma.size))
    total = None
    for i in range(0, len(s.eigenvalues), step):
        lam, v2, m = (each[i : i + step] for each in s)
        part = function(lam, v2, m, gamma[..., None])
        total = part if total is None else tuple(a + b for a, b in zip(total, part, strict=True))
    assert total is not None
    return total


def learned(s: Spectrum, gamma: np.ndarray) -> np.ndarray:
    """z(gamma) = sum l/(l+gamma), (points,); modes with l = 0 count for nothing."""

    def sums(lam, v2, m, g):
        del v2
        return ((m * share(lam, g)).sum(-1),)

    return modes_in_blocks(sums, s, gamma)[0]


def share(lam: np.ndarray, g: np.ndarray) -> np.ndarray:
    """l/(lam+g), 0 where lam = 0 and 1 where g = 0 alone."""
    return np.where(lam > 0, lam / np.where(lam > 0, lam + g, 1.0), 0.0)


def bisect(below: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray):
    """Where `below` turns from true to false between positive bounds, to rounding, in logs."""
    low, high = np.log(low), np.log(high)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        left = below(np.exp(middle))
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return np.exp(0.5 * (low + high))


def least_gamma(s: Spectrum, p: Points) -> np.ndarray:
    """(points,) the gamma at which z = min(n, K): no ridge. 0 where that is the rank or more.

    The bracket: z <= trace/gamma, and z >= rank l/(l+gamma) with l the least eigenvalue
    above 0.
    """
    count = np.minimum(p.n, p.features)
    full = count >= s.rank
    count = np.where(full, 0.5 * s.rank, count)
    least = s.eigenvalues[s.eigenvalues > 0].min()
    low = least * (s.rank - count) / count
    found = bisect(lambda g: learned(s, g) > count, 0.999 * low, 1.001 * s.trace / count)
    return np.where(full, 0.0, found)


def kappa_of(gamma: np.ndarray, z: np.ndarray, p: Points) -> np.ndarray:
    """kappa = gamma (1 - z/K), not below 0 by rounding."""
    return gamma * np.maximum(1 - z / p.features, 0.0)


def ridge_of(gamma: np.ndarray, z: np.ndarray, p: Points) -> np.ndarray:
    """ridge = kappa (n - z)/(1 - z/M), not below 0 by rounding; rises with gamma."""
    with np.errstate(invalid="ignore"):
        left = np.where(np.isinf(p.n), np.inf, np.maximum(p.n - z, 0.0))
        kappa = kappa_of(gamma, z, p)
        return np.where(kappa > 0, kappa * left, 0.0) / (1 - z / p.population)


def gamma_of_ridge(s: Spectrum, ridge: np.ndarray, p: Points) -> np.ndarray:
    """(points,) the gamma of a ridge >= 0.

    Its bracket: at gamma <= ridge/n the ridge is too small, since kappa <= gamma and, for z <= n <=
    M, (n - z)/(1 - z/M) <= n; where z <= min(n, K)/2, ridge >= gamma n/4.
    """
    least = least_gamma(s, p)
    free = (ridge == 0) | np.isinf(p.n)
    few = np.minimum(p.n, p.features)
    with np.errstate(invalid="ignore"):
        low = np.where(free, 1.0, np.maximum(least, ridge / p.n))
        high = np.where(free, 2.0, np.maximum(2 * s.trace / few, 4 * ridge / p.n))
    high = np.maximum(high, 2 * low)
    found = bisect(lambda g: ridge_of(g, learned(s, g), p) < ridge, low, high)
    return np.where(free, least, found)


def at(s: Spectrum, gamma: np.ndarray, p: Points) -> Curve:
    """The curve at given gamma, (points,)."""

    def sums(lam, v2, m, g):
        part = share(lam, g)
        slope = np.where(lam > 0, lam / np.where(lam > 0, lam + g, 1.0) ** 2, 0.0)
        return (
            (m * part).sum(-1),
            (m * part**2).sum(-1),
            (v2 * (1 - part)).sum(-1),
            (v2 * slope).sum(-1),
        )

    z, q, missed, slope = modes_in_blocks(sums, s, gamma)
    z = np.minimum(z, np.minimum(p.n, p.features))  # rounding of the least gamma
    kappa = kappa_of(gamma, z, p)
    finite, room = 1 - z / p.features, 1 - q / p.features
    error = missed - kappa * slope / room + p.noise
    with np.errstate(invalid="ignore", divide="ignore"):
        bound = (q * (1 - 2 * z / p.features) + z**2 / p.features) / room
        inside = finite * (z - q) / room
        # n and M large: the differences of numbers near M taken by hand, so that none is lost
        rest = p.n - bound + (z**2 - p.n * (z + inside)) / p.population
        test = np.where(np.isinf(p.n), error, error / np.where(np.isinf(p.n), 1.0, rest / p.n))
        # n = K, or noise at the rank of the kernel; without anything to learn 0/0 is 0
        pole = (rest <= ROUNDING * p.n) & ~np.isinf(p.n)
        test = np.where(pole, np.where(error > 0, np.inf, 0.0), test)
        train = np.where(z < p.n, (1 - z / p.n) ** 2 * np.where(pole, 0.0, test), 0.0)
    return Curve(p.n, ridge_of(gamma, z, p), kappa, gamma, z, test, train)
