"""Learning curves of kernel ridge regression from a kernel's spectrum.

from theory.spectra import empirical_spectrum, learning_curve
s = empirical_spectrum(K, y)  # on M points
learning_curve(s, [100, 1000], ridge=0.1, population=len(y)).test
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from theory.spectra.framework import Curve
from theory.spectra.random_features import best_ridge_features, random_feature_curve
from theory.spectra.spectrum import Spectrum


def learning_curve(spectrum: Spectrum, n, *, ridge=0.0, noise=0.0, population=np.inf) -> Curve:
    """Error of kernel ridge regression on n examples.

        n = sum l/(l+kappa) + ridge/kappa,   L_i = l_i/(l_i + kappa)
        E_te = n/(n - sum L^2) [sum (1 - L)^2 v^2 + s^2],   E_tr = (ridge/(n kappa))^2 E_te

    and for n examples out of a population of M points, whose Gram matrix has the eigenvalues M l
    and whose targets have the coefficients v (derived in `theory.spectra.framework`),

        n = sum L + (ridge/kappa) (1 - sum L/M)
        E_te = n sum (1 - L)^2 v^2 / [(M - sum L)^2/M - (1 - n/M) sum (1 - L)^2]

    at the M - n others, which without a ridge is 1/(1 - n/M) times the first form. Arguments
    broadcast against one another.

    Args:
      spectrum: of the kernel and the target.
      n: training examples, > 0.
      ridge: delta >= 0, in (K + delta I)^-1 y. 0 is the limit to zero.
      noise: s^2 >= 0, variance of the targets' noise, summed over the target's columns.
      population: M where the spectrum was estimated on M points; inf where it is the population's.

    Returns:
      A Curve, with kappa, the learned modes sum L, and errors at other points and at the n.

    Raises:
      ValueError: an argument is out of range; n >= population; noise with a finite population.

    References:
      Bordelon, Canatar and Pehlevan 2020, Spectrum Dependent Learning Curves in Kernel Regression
      and Wide Neural Networks, equations 3 to 6. Simon, Dickens, Karkada and DeWeese 2023, The
      Eigenlearning Framework, section 3.
    """
    return random_feature_curve(
        spectrum, n, np.inf, ridge=ridge, noise=noise, population=population
    )


def best_ridge(spectrum: Spectrum, n, *, noise=0.0, population=np.inf) -> Curve:
    """The same at the ridge >= 0 of the least test error, which is in the curve."""
    return best_ridge_features(spectrum, n, np.inf, noise=noise, population=population)


def learnability(spectrum: Spectrum, curve: Curve) -> Float[np.ndarray, "*points modes"]:
    """L_i = l_i/(l_i + gamma), the share of v_i that the mean prediction has, in [0, 1].

    Args:
      spectrum: the one the curve was computed from.
      curve: of `learning_curve` or `random_feature_curve`.
    """
    from theory.spectra.framework import share

    return share(spectrum.eigenvalues, np.asarray(curve.gamma)[..., None])
