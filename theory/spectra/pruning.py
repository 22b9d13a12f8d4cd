"""Which examples to keep: data pruning in the teacher-student perceptron.

    from theory.spectra import best_fraction, pruned_perceptron
    pruned_perceptron(alpha=2.0, fraction=0.5, keep="hard").error
    best_fraction(alpha=8.0, keep="hard").fraction

A teacher T labels inputs x ~ N(0, I_N) with sign(T.x), |T| = 1. Of the examples, the share f with
the least ("hard") or largest ("easy") |T.x| is kept, alpha N in all, and the student is the
maximum-margin classifier of these. N -> inf at fixed alpha.

With R the overlap of student and teacher, s = sqrt(1 - R^2), and z = |T.x| of a kept example, an
example's margin is u = R z + s g, g ~ N(0, 1). The largest margin k is where (Gordon's comparison;
the replica-symmetric saddle point is the same)

    1 - R^2 = alpha E[(k - u)_+^2],    R = alpha E[(k - u)_+ (z - R g/s)]

the second being the derivative of the first by R, that is, k is the largest over R. The mean over g
is in closed form; with h = (k - R z)/s, phi and Phi the normal density and distribution,

    E_g (k - u)_+^2 = s^2 [(1 + h^2) Phi(h) + h phi(h)]
    E_g (k - u)_+ (z - R g/s) = z s [h Phi(h) + phi(h)] + R Phi(h)

and that over z is a sum by quadrature. Integrating z first instead gives the published form, for
hard examples, z < gamma, f = 1 - 2H(gamma), Dt = phi(t) dt and H = 1 - Phi:

    s^2 = (2 alpha/f) int_{-inf}^k Dt [H(-R t/s) - H((gamma - R t)/s)] (k - t)^2
    R = (2 alpha/(f sqrt(2 pi) s)) int_{-inf}^k Dt e^{-R^2 t^2/2s^2}
        [1 - e^{-gamma(gamma - 2 R t)/2s^2}] (k - t)

Reference: Sorscher, Geirhos, Shekhar, Ganguli and Morcos 2022, Beyond neural scaling laws, appendix
A (a probe equal to the teacher). Gardner and Derrida 1989 for f = 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

KEEP = ("hard", "easy", "random")
NODES = 48  # of Gauss-Legendre in each piece
WIDTHS = 9.0  # of the student's noise s/R on both sides of z = k/R: pieces are cut there
NEWTON = 100  # steps, of which about five are needed
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


class Kept(NamedTuple):
    """Margins z = |T.x| of kept examples, low to high, a share of all; and a rule of quadrature."""

    low: float
    high: float
    share: float
    nodes: np.ndarray
    weights: np.ndarray


class BestFraction(NamedTuple):
    """What share of the examples to keep.

    Attributes:
      fraction: f, the best share.
      error: of the student with it.
      without: of the student without selection: as many examples at random where what is kept
        is fixed, all of them where what is drawn is.
      at_bound: f is the least that was allowed; more pruning would do better.
    """

    fraction: float
    error: float
    without: float
    at_bound: bool


def cut_off(fraction: float, keep: str) -> float:
    """gamma: hard examples have |T.x| < gamma, easy ones |T.x| > gamma; share `fraction` of all."""
    from scipy.special import ndtri  # slow to import

    return float(-ndtri((1 - fraction) / 2 if keep == "hard" else fraction / 2))


def kept_examples(fraction: float, keep: str) -> Kept:
    """What is kept of the examples by their margin z."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    if keep == "random" or fraction == 1:
        return Kept(0.0, FAR, 1.0, nodes, weights)
    gamma = cut_off(fraction, keep)
    low, high = (0.0, gamma) if keep == "hard" else (gamma, gamma + FAR)
    return Kept(low, high, fraction, nodes, weights)


def quadrature(kept: Kept, cuts: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the mean over kept z, density 2 phi(z)/share, in pieces between cuts."""
    edges = np.unique(np.clip([kept.low, *cuts, kept.high], kept.low, kept.high))
    half = 0.5 * np.diff(edges)[:, None]
    z = (edges[:-1, None] + half * (1 + kept.nodes)).ravel()
    density = np.sqrt(2 / np.pi) * np.exp(-0.5 * z**2) / kept.share
    return z, (half * kept.weights).ravel() * density


class Moments(NamedTuple):
    """Of (k - u)_+ over kept examples, at one overlap and margin.

    Attributes:
      square: alpha E(k - u)_+^2 / s^2, 1 where the first equation holds.
      mean: alpha E(k - u)_+ / s.
      slope: alpha E(k - u)_+ (z - R g/s), R where the second equation holds.
    """

    square: float
    mean: float
    slope: float


def moments(angle: float, k: float, alpha: float, kept: Kept) -> Moments:
    """The moments at angle = arccos R and margin k."""
    from scipy.special import ndtr  # slow to import

    R, s = np.cos(angle), np.sin(angle)
    centre, width = k / R, WIDTHS * s / R
    cuts = [centre + width * step for step in (-1.0, -0.4, 0.0, 0.4, 1.0)]
    cuts += [kept.low + (kept.high - kept.low) * step for step in (0.25, 0.5, 0.75)]
    z, w = quadrature(kept, cuts)
    h = (k - R * z) / s
    Phi, phi = ndtr(h), np.exp(-0.5 * h**2) / np.sqrt(2 * np.pi)
    first = np.where(h > -30, h * Phi + phi, 0.0)
    second = np.where(h > -30, Phi + h * first, 0.0)  # (1 + h^2) Phi + h phi
    square, mean, slope = w @ second, w @ first, w @ (z * s * first + R * Phi)
    return Moments(alpha * float(square), alpha * float(mean), alpha * float(slope))


def margin_at(angle: float, alpha: float, kept: Kept) -> float:
    """The k that fulfils the first equation at arccos R, 0 where no k > 0 does.

    Newton's method on sqrt(alpha E(k - u)_+^2)/s - 1, convex in k as the norm of a convex function,
    from where it is above zero (k - E u >= 1/sqrt(alpha)): it falls to the root from the right.
    """
    k = 1 / np.sqrt(alpha) + kept.high + 1
    for _ in range(NEWTON):
        m = moments(angle, k, alpha, kept)
        root = np.sqrt(m.square)
        step = (root - 1) * root / m.mean * np.sin(angle)
        if step >= k:
            return 0.0
        k -= step
        if step <= 1e-14 * k:
            break
    return float(k)


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
    kept = kept_examples(fraction, keep)

    def slope(log_angle: float) -> float:
        """Derivative of 1 - R^2 - alpha E(k-u)_+^2 by R, up to a factor, at the angle's own k."""
        angle = float(np.exp(log_angle))
        return moments(angle, margin_at(angle, alpha, kept), alpha, kept).slope - np.cos(angle)

    log_angle: Any = brentq(slope, *np.log(ANGLES), xtol=1e-13)
    angle = float(np.exp(log_angle))
    return Pruned(angle / np.pi, float(np.cos(angle)), margin_at(angle, alpha, kept))


def best_fraction(
    alpha: float, keep: str = "hard", *, fixed: str = "kept", least: float = 0.01
) -> BestFraction:
    """The share of the examples whose keeping gives the least error.

    What is fixed decides the question. "kept": alpha N examples can be used, out of alpha N/f that
    are drawn and sorted; the harder the better once alpha is above 2, where no student that is
    blind to the teacher separates them (Cover's capacity), so that only `least` bounds f. Below
    that hard examples mislead, and easy ones are the better. "drawn": there are alpha N examples,
    and alpha f N are used; leaving out the hard ones helps a maximum-margin student a little where
    alpha is small.

    Args:
      alpha: examples for each input dimension, > 0, kept or drawn.
      keep: "hard" or "easy".
      fixed: "kept" or "drawn".
      least: the least share that is allowed, in (0, 1).

    Raises:
      ValueError: an argument is out of its range.
    """
    if keep not in KEEP[:2]:
        raise ValueError(f"keep must be 'hard' or 'easy', got {keep!r}")
    if fixed not in ("kept", "drawn"):
        raise ValueError(f"fixed must be 'kept' or 'drawn', got {fixed!r}")
    if not 0 < least < 1:
        raise ValueError(f"least must be in (0, 1), got {least}")
    _check(alpha, 1.0, keep)

    def error(log_f: float) -> float:
        f = min(float(np.exp(log_f)), 1.0)
        return pruned_perceptron(alpha * (f if fixed == "drawn" else 1.0), f, keep).error

    grid = np.linspace(np.log(least), 0.0, 17)
    errors = [error(each) for each in grid]
    without = errors[-1]
    for _ in range(3):
        i = int(np.argmin(errors))
        grid = np.linspace(grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)], 9)
        errors = [error(each) for each in grid]
    i = int(np.argmin(errors))
    f = float(np.exp(grid[i]))
    return BestFraction(min(f, 1.0), errors[i], without, bool(np.isclose(f, least)))


def _check(alpha: float, fraction: float, keep: str) -> None:
    if keep not in KEEP:
        raise ValueError(f"keep must be one of {list(KEEP)}, got {keep!r}")
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be finite and > 0, got {alpha}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
