"""Learning curves of regression on random features, in n and in their number K.

    from theory.spectra import best_ridge_features, power_law
    curve = best_ridge_features(power_law(10_000, a=0.5), n=1000, features=[100, 1000, np.inf])

At the best ridge the error falls in n and in K (Simon et al. 2024, theorem 4.1).
"""

from __future__ import annotations

import numpy as np

from theory.spectra import framework
from theory.spectra.framework import Curve, Points
from theory.spectra.points import broadcast
from theory.spectra.spectrum import Spectrum

GRID = 160  # ridges of the first look, in equal steps of log gamma
ZOOMS, ZOOM = 6, 17  # times that the best interval of two steps is cut, and into how many points


def random_feature_curve(
    spectrum: Spectrum, n, features, *, ridge=0.0, noise=0.0, population=np.inf
) -> Curve:
    """Error of ridge regression on K random features of a kernel, from its spectrum.

        n = sum l/(l+gamma) + ridge/kappa,   K = sum l/(l+gamma) + K kappa/gamma
        z = sum l/(l+gamma),   q = sum (l/(l+gamma))^2
        E_te = [sum (gamma/(l+gamma) - kappa l/(l+gamma)^2 K/(K-q)) v^2 + s^2]
               / [1 - (q (K - 2z) + z^2)/(n (K - q))]
        E_tr = (ridge/(n kappa))^2 E_te

    Features are g_k(x), k = 1 .. K, drawn independently with E[g_k(x) g_k(x')] = k(x, x'); the
    estimate is that of the kernel sum_k g_k(x) g_k(x')/K. Arguments broadcast against one another.

    Args:
      spectrum: of the kernel and the target.
      n: training examples, > 0; inf is allowed where the ridge and the population are not at stake.
      features: K > 0; inf is kernel ridge regression.
      ridge: >= 0, added to the diagonal of the n x n Gram matrix. 0 is the limit to zero.
      noise: s^2 >= 0, variance of the targets' noise, summed over the target's columns.
      population: the points M that the n examples are drawn from without replacement and that the
        spectrum is that of (`empirical_spectrum`); errors are those at the other M - n. inf is a
        spectrum of the population itself.

    Returns:
      A Curve. Without a ridge and at n = K the error is inf.

    Raises:
      ValueError: an argument is out of range; n >= population; noise with a finite population.

    References:
      Simon, Karkada, Ghosh and Belkin 2024, More is Better in Modern Machine Learning, section 4.
    """
    points, ridges, shape = broadcast(spectrum, n, features, population, noise, ridge)
    gamma = framework.gamma_of_ridge(spectrum, ridges, points)
    return shaped(framework.at(spectrum, gamma, points), shape)


def best_ridge_features(spectrum: Spectrum, n, features, *, noise=0.0, population=np.inf) -> Curve:
    """The same at the ridge >= 0 of the least test error, which is in the curve.

    The error is a closed form of gamma, so the ridge is searched for as gamma: on a grid between
    no ridge and one that learns nothing, then in the best interval. Arguments and errors are those
    of `random_feature_curve`.
    """
    points, _, shape = broadcast(spectrum, n, features, population, noise)
    least = framework.least_gamma(spectrum, points)
    found = [
        _best(spectrum, low, Points(*(each[i : i + 1] for each in points)))
        for i, low in enumerate(least)
    ]
    stacked = Curve(*(np.concatenate(each) for each in zip(*found, strict=True)))
    return shaped(stacked, shape)


def _best(s: Spectrum, least: float, p: Points) -> Curve:
    """The best gamma at one point, as a curve of one point."""
    high = 1e4 * max(s.trace, least)
    if least > 0:
        gamma = np.geomspace(least, high, GRID)
    else:
        gamma = np.concatenate(
            [[0.0], np.geomspace(1e-3 * s.eigenvalues[s.eigenvalues > 0].min(), high, GRID)]
        )
    if np.isinf(p.n[0]):  # any ridge is nothing against examples without end
        gamma = gamma[:1]
    for _ in range(ZOOMS + 1):
        wide = Points(*(np.broadcast_to(each, gamma.shape) for each in p))
        curve = framework.at(s, gamma, wide)
        i = int(np.argmin(curve.test))
        best = Curve(*(each[i : i + 1] for each in curve))
        low, up = gamma[max(i - 1, 0)], gamma[min(i + 1, len(gamma) - 1)]
        gamma = np.linspace(low, up, ZOOM)
        gamma[0] = max(gamma[0], least)
    return best


def shaped(curve: Curve, shape: tuple[int, ...]) -> Curve:
    """A curve of (points,) in the shape of its arguments."""
    return Curve(*(np.reshape(each, shape) for each in curve))
