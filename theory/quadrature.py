"""Rules of integration, nodes and weights in NumPy float64.

Gaussian expectations of functions whose only feature (a kink, a pole nearby) is at or around 0, at
any scale: panels that halve towards 0. Products of two Gaussians in polar coordinates: an angle on
(0, 1), with all features at its ends, and a radius of density r exp(-r²/2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Nodes = np.ndarray  # float64 (n,)
Weights = np.ndarray

CUTOFF = 13.0  # beyond, sqrt(density) of N(0, 1) is below 1e-18


class Rule(NamedTuple):
    """sum(weights f(nodes)) approximates an integral."""

    nodes: Nodes
    weights: Weights


class UnitRule(NamedTuple):
    """A rule on (0, 1), with `complements` = 1 - nodes to their own last digits."""

    nodes: Nodes
    complements: Nodes
    weights: Weights


def gauss_legendre(points: int) -> UnitRule:
    """Exact on (0, 1) for polynomials of degree 2 points - 1."""
    x, w = np.polynomial.legendre.leggauss(points)
    return UnitRule((1 + x) / 2, (1 - x) / 2, w / 2)


def double_exponential(step: float) -> UnitRule:
    """On (0, 1), x = 1 / (1 + exp(-pi sinh(tau))) at equal steps of tau: any scale at the ends.

    References:
      Takahasi and Mori 1974, Double exponential formulas for numerical integration.
    """
    tau = _steps(3.2, step)
    x = 1 / (1 + np.exp(-np.pi * np.sinh(tau)))
    return UnitRule(x, x[::-1], step * np.pi * np.cosh(tau) * x * x[::-1])


def radial(step: float) -> Rule:
    """E f(r), density r exp(-r²/2); r = exp(tau - exp(-tau)) at equal steps of tau: any scale."""
    tau = np.arange(np.floor(-2.9 / step), np.ceil(2.6 / step) + 1) * step
    r = np.exp(tau - np.exp(-tau))
    weights = step * np.exp(-(r**2) / 2) * r**2 * (1 + np.exp(-tau))
    return Rule(r, weights)


def normal(points: int, width: float, grades: int) -> Rule:
    """E f(z), z ~ N(0, 1), by Gauss-Legendre panels on [-CUTOFF, CUTOFF], symmetric around 0.

    Args:
      points: nodes a panel.
      width: of the panels beyond 1.
      grades: panels [0, 2^-grades], [2^-grades, 2^(1-grades)], .., [1/2, 1] below 1.
    """
    inner = np.concatenate([[0.0], 2.0 ** np.arange(-grades, 1)])
    outer = np.linspace(1.0, CUTOFF, 1 + int(np.ceil((CUTOFF - 1) / width)))[1:]
    edges = np.concatenate([inner, outer])
    unit = gauss_legendre(points)
    lengths = np.diff(edges)[:, None]
    z = (edges[:-1, None] + lengths * unit.nodes).ravel()
    w = (lengths * unit.weights).ravel() * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return Rule(np.concatenate([-z[::-1], z]), np.concatenate([w[::-1], w]))


def gauss_hermite(points: int) -> Rule:
    """E f(z), z ~ N(0, 1), exact for polynomials of degree 2 points - 1."""
    x, w = np.polynomial.hermite_e.hermegauss(points)
    return Rule(x, w / np.sqrt(2 * np.pi))


def _steps(limit: float, step: float) -> np.ndarray:
    count = int(np.ceil(limit / step))
    return np.arange(-count, count + 1) * step
