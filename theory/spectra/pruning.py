"""Which examples to keep: data pruning in the teacher-student perceptron.

    from theory.spectra import best_fraction, pruned_perceptron
    pruned_perceptron(alpha=2.0, fraction=0.5, keep="hard").error
    best_fraction(alpha=8.0, keep="hard").fraction

A teacher T labels inputs x ~ N(0, I_N) with sign(T.x), |T| = 1. Of the examples, the share f with the
least ("hard") or largest ("easy") |T.x| is kept, alpha N in all, and the student is the
maximum-margin classifier of these. N -> inf at fixed alpha.

With R the overlap of student and teacher, s = sqrt(1 - R^2), and z = |T.x| of a kept example, an
example's margin is u = R z + s g, g ~ N(0, 1). The largest margin k is where (Gordon's comparison; the
replica-symmetric saddle point is the same)

    1 - R^2 = alpha E[(k - u)_+^2],    R = alpha E[(k - u)_+ (z - R g/s)]

the second being the derivative of the first by R, that is, k is the largest over R. The mean over g is
in closed form; with h = (k - R z)/s, phi and Phi the normal density and distribution,

    E_g (k - u)_+^2 = s^2 [(1 + h^2) Phi(h) + h phi(h)]
    E_g (k - u)_+ (z - R g/s) = z s [h Phi(h) + phi(h)] + R Phi(h)

and that over z is a sum by quadrature. Integrating z first instead gives the published form, for
hard examples, z < gamma, f = 1 - 2H(gamma), Dt = phi(t) dt and H = 1 - Phi:

    s^2 = (2 alpha/f) int_{-inf}^k Dt [H(-R t/s) - H((gamma - R t)/s)] (k - t)^2
    R = (2 alpha/(f sqrt(2 pi) s)) int_{-inf}^k Dt e^{-R^2 t^2/2s^2} [1 - e^{-gamma(gamma - 2 R t)/2s^2}] (k - t)

Reference: Sorscher, Geirhos, Shekhar, Ganguli and Morcos 2022, Beyond neural scaling laws, appendix A
(a probe equal to the teacher). Gardner and Derrida 1989 for f = 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

KEEP = ("hard", "easy", "random")
NODES = 48  # of Gauss-Legendre in each piece
WIDTHS = 9.0  # of the student's noise s/R on both sides of z = k/R: pieces are cut there
FAR = 9.0  # of |T.x|, beyond which nothing is left in float64
ANGLES = (1e-12, 0.5 * np.pi * (1 - 1e-9))  # between student and teacher, radians


class Pruned(NamedTuple):
    """A student of pruned data.

    Attributes:
      error: probability of a wrong label at a new, unpruned input: arccos(R)/pi.
      overlap: R.
      margin: k, of unit-length students and inputs of variance one.
    """

    error: float
    overlap: float
    margin: float


class BestFraction(NamedTuple):
    """What share of the examples to keep.

    Attributes:
      fraction: f, the best share.
      error: with it.
      unpruned: with all of them, f = 1.
    """

    fraction: float
    error: float
    unpruned: float


def cut_off(fraction: float, keep: str) -> float:
    """gamma: hard examples have |T.x| < gamma, easy ones |T.x| > gamma; share `fraction` of all."""
    from scipy.special import ndtri  # slow to import

    return float(-ndtri((1 - fraction) / 2 if keep == "hard" else fraction / 2))


def margin_pieces(fraction: float, keep: str) -> tuple[float, float]:
    """(low, high) of z = |T.x| of kept examples."""
    if keep == "random" or fraction == 1:
        return 0.0, FAR
    gamma = cut_off(fraction, keep)
    return (0.0, gamma) if keep == "hard" else (gamma, gamma + FAR)


def quadrature(
    low: float, high: float, cuts: list[float], fraction: float
) -> tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]:
    """Nodes and weights of the mean over z in (low, high), density 2 phi(z)/fraction, cut in pieces."""
    edges = np.unique(np.clip([low, *cuts, high], low, high))
    x, w = np.polynomial.legendre.leggauss(NODES)
    half = 0.5 * np.diff(edges)[:, None]
    z = (edges[:-1, None] + half * (1 + x)).ravel()
    density = np.sqrt(2 / np.pi) * np.exp(-0.5 * z**2) / fraction
    return z, (half * w).ravel() * density


def moments(
    angle: float, k: float, alpha: float, low: float, high: float, share: float
) -> tuple[float, float]:
    """(alpha E(k-u)_+^2 / s^2, alpha E(k-u)_+ (z - R g/s)) at the angle arccos R."""
    from scipy.special import ndtr  # slow to import

    R, s = np.cos(angle), np.sin(angle)
    centre, width = k / R, WIDTHS * s / R
    cuts = [centre + width * step for step in (-1.0, -0.4, 0.0, 0.4, 1.0)]
    cuts += [low + (high - low) * step for step in (0.25, 0.5, 0.75)]
    z, w = quadrature(low, high, cuts, share)
    h = (k - R * z) / s
    Phi, phi = ndtr(h), np.exp(-0.5 * h**2) / np.sqrt(2 * np.pi)
    first = np.where(h > -30, h * Phi + phi, 0.0)
    second = np.where(h > -30, Phi + h * first, 0.0)  # (1 + h^2) Phi + h phi
    return alpha * float(w @ second), alpha * float(w @ (z * s * first + R * Phi))


def pruned_perceptron(alpha: float, fraction: float = 1.0, keep: str = "hard") -> Pruned:
    """The maximum-margin student of alpha N examples kept out of alpha N/fraction.

    Args:
      alpha: kept examples for each input dimension, > 0. Drawn examples are alpha/fraction.
      fraction: f, the share that is kept, in (0, 1].
      keep: "hard" (least |T.x|), "easy" (largest) or "random", for which the fraction is nothing.

    Raises:
      ValueError: an argument is out of its range.

    References:
      Sorscher et al. 2022, Beyond neural scaling laws, appendix A.
    """
    from scipy.optimize import brentq  # slow to import

    _check(alpha, fraction, keep)
    low, high = margin_pieces(fraction, keep)
    share = 1.0 if keep == "random" else fraction

    def margin(angle: float) -> float:
        """The k that fulfils the first equation."""

        def excess(log_k: float) -> float:
            return moments(angle, np.exp(log_k), alpha, low, high, share)[0] - 1

        bound = np.log(1 / np.sqrt(alpha) + high + 1)  # there (k - u)_+ is 1/sqrt(alpha) on average
        least = np.log(1e-14)
        if excess(least) > 0:  # no margin at this angle: the data are not separated by it
            return 0.0
        while excess(bound) < 0:
            bound += 1
        return float(np.exp(brentq(excess, least, bound, xtol=1e-14)))

    def slope(log_angle: float) -> float:
        """Derivative of 1 - R^2 - alpha E(k-u)_+^2 by R, up to a factor, at the angle's own k."""
        angle = np.exp(log_angle)
        k = margin(angle)
        return moments(angle, k, alpha, low, high, share)[1] - np.cos(angle)

    angle = float(np.exp(brentq(slope, *np.log(ANGLES), xtol=1e-13)))
    return Pruned(angle / np.pi, float(np.cos(angle)), margin(angle))


def best_fraction(alpha: float, keep: str = "hard") -> BestFraction:
    """The share of alpha N drawn examples whose keeping gives the least error.

    Keeping f of them leaves alpha f N. The search runs over log f, from 1 down to where fewer than
    N/20 examples are kept. With easy examples, and with hard ones where data are scarce, the best
    share is 1: pruning loses.

    Args:
      alpha: drawn examples for each input dimension, > 0.
      keep: "hard" or "easy".

    Raises:
      ValueError: alpha is not above zero, or keep is neither.
    """
    if keep not in KEEP[:2]:
        raise ValueError(f"keep must be 'hard' or 'easy', got {keep!r}")
    _check(alpha, 1.0, keep)
    unpruned = pruned_perceptron(alpha).error

    def error(log_f: float) -> float:
        f = float(np.exp(log_f))
        return pruned_perceptron(alpha * f, f, keep).error

    least = min(np.log(0.05 / alpha), -0.1)
    grid = np.linspace(least, 0.0, 25)
    errors = [error(each) for each in grid]
    for _ in range(3):
        i = int(np.argmin(errors))
        grid = np.linspace(grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)], 9)
        errors = [error(each) for each in grid]
    i = int(np.argmin(errors))
    if errors[i] >= unpruned:
        return BestFraction(1.0, unpruned, unpruned)
    return BestFraction(float(np.exp(grid[i])), errors[i], unpruned)


def _check(alpha: float, fraction: float, keep: str) -> None:
    if keep not in KEEP:
        raise ValueError(f"keep must be one of {list(KEEP)}, got {keep!r}")
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be finite and > 0, got {alpha}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
