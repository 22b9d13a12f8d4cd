"""Second moments of soft-thresholded Gaussians, S(x) = sign(x) max(|x| - threshold, 0).

One Gaussian of deviation sigma, a = threshold / sigma, phi and Phi the normal density and
distribution:

    E[S(x)²] = 2 sigma² ((1 + a²) Phi(-a) - a phi(a)),    E[S'(x)²] = 2 Phi(-a)

A pair (x, y) with correlation rho: given x, y is Gaussian, E[S(y) | x] and E[S'(y) | x] are closed,
and what is left is an integral over x > threshold,

    E[S(x) S(y)]   = 2 sigma_x sigma_y int_a^inf (u - a) phi(u) (g(rho u - b) - g(-rho u - b)) du
    E[S'(x) S'(y)] = 2 int_a^inf phi(u) (Phi((rho u - b) / s) + Phi((-rho u - b) / s)) du

with u = x / sigma_x, b = threshold / sigma_y, s² = 1 - rho², g(m) = m Phi(m / s) + s phi(m / s).
The integrand bends at u = b / rho over a width of s / rho; panels end there.
"""

from __future__ import annotations

import numpy as np

from theory.quadrature import gauss_legendre

POINTS = 24  # nodes of a panel
LARGEST = 38.0  # beyond so many deviations the normal distribution is below 1e-300
EXPONENT = 45.0  # integrands are cut at exp(-EXPONENT) of their largest value
BEND = 8.0  # widths beyond which a bend is over
PAIRS = 1 << 12  # pairs integrated at once
LEAST = 1e-30  # of s: beyond, the bend is a kink


def one(sigma: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(E[S(x)²], E[S'(x)²]), of the shape of the deviations `sigma`."""

    a = _in_deviations(sigma, threshold)
    tail = _normal(-a)
    return 2 * sigma**2 * np.maximum((1 + a**2) * tail - a * _density(a), 0), 2 * tail


def pair(
    sigma_x: np.ndarray, sigma_y: np.ndarray, rho: np.ndarray, s: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """(E[S(x) S(y)], E[S'(x) S'(y)]).

    Args:
      sigma_x: (pairs,) deviations.
      sigma_y: (pairs,) deviations.
      rho: (pairs,) correlations, 0 <= rho <= 1.
      s: (pairs,) sqrt(1 - rho²), to its own last digits.
      threshold: not negative.
    """
    wide, narrow = np.maximum(sigma_x, sigma_y), np.minimum(sigma_x, sigma_y)
    a, b = _in_deviations(narrow, threshold), _in_deviations(wide, threshold)
    values, slopes = np.zeros(len(a)), np.zeros(len(a))
    kept = np.flatnonzero(a < LARGEST)
    for first in range(0, len(kept), PAIRS):
        some = kept[first : first + PAIRS]
        values[some], slopes[some] = _integrals(a[some], b[some], rho[some], s[some])
    return wide * narrow * values, slopes


def _integrals(
    a: np.ndarray, b: np.ndarray, rho: np.ndarray, s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both integrals for a >= b, where the integrands are largest at u = a or soon after it."""

    s = np.maximum(s, LEAST)
    # The exponent grows at least by a t / 2 + t² / 2 over a distance t from a.
    end = np.sqrt(a**2 / 4 + 2 * EXPONENT) - a / 2
    with np.errstate(divide="ignore", over="ignore"):
        bend, width = b / rho - a, BEND * s / rho
    bend, width = np.where(rho > 0, bend, np.inf), np.where(rho > 0, width, 0.0)
    marks = np.stack([0 * end, end / 6, end / 2, bend - width, bend, bend + width, end])
    edges = np.sort(np.clip(marks, 0.0, end), axis=0)
    unit, lengths = gauss_legendre(POINTS), np.diff(edges, axis=0)
    t = (edges[:-1] + unit.nodes[:, None, None] * lengths).reshape(-1, len(a))
    w = (unit.weights[:, None, None] * lengths).reshape(-1, len(a))
    w *= _density(a + t)
    up, down = rho * (a + t) - b, -rho * (a + t) - b
    tail_up, tail_down = _normal(up / s), _normal(down / s)
    rise = up * tail_up - down * tail_down + s * (_density(up / s) - _density(down / s))
    return 2 * (w * t * rise).sum(0), 2 * (w * (tail_up + tail_down)).sum(0)


def _in_deviations(sigma: np.ndarray, threshold: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.minimum(threshold / sigma, 2 * LARGEST)


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def _normal(x: np.ndarray) -> np.ndarray:
    """Phi(x)."""
    from scipy.special import ndtr  # slow to import

    return ndtr(x)
