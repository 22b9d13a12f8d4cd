"""The four regimes of a learning curve in data n and width K (Bahri et al. 2024).

Where a resource is not the bottleneck, more of it removes the last of its own variance: the error
above its limit falls as 1/n or 1/K whatever the spectrum ("variance limited"). Where it is the
bottleneck, the error itself falls with an exponent of the spectrum ("resolution limited").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from theory.spectra.framework import Curve
from theory.spectra.random_features import best_ridge_features, random_feature_curve
from theory.spectra.spectrum import Spectrum

STEP = 0.05  # of log n and log K, for slopes
VARIANCE_LIMITED = 1.0  # the exponent of 1/n and 1/K


class ScalingExponents(NamedTuple):
    """Exponents of the error in each of the four regimes: it falls as resource^-exponent.

    Attributes:
      data: of n where width is without end, alpha_D.
      width: of K where data are without end, alpha_P.
      data_variance: of the error above its limit, in n, at fixed width.
      width_variance: the same in K, at fixed data.
    """

    data: float
    width: float
    data_variance: float
    width_variance: float


class Regime(NamedTuple):
    """Where a pair (n, K) is.

    Attributes:
      data: "resolution" where data is the bottleneck, E(n, K) - E(inf, K) > E(inf, K), else
        "variance".
      width: the same of the width.
      data_share: (E(n, K) - E(inf, K)) / E(n, K), what more data alone would take away.
      width_share: (E(n, K) - E(n, inf)) / E(n, K), what more width alone would take away.
      data_slope: -d log E / d log n at K.
      width_slope: -d log E / d log K at n.
      error: E(n, K).
    """

    data: str
    width: str
    data_share: float
    width_share: float
    data_slope: float
    width_slope: float
    error: float


def scaling_exponents(a: float, b: float | None = None) -> ScalingExponents:
    """The four exponents of a kernel with l_i ~ i^-(1+a) and a target with v_i^2 ~ i^-(1+b).

        data:  min(b, 2 (1 + a)),   width: min(b, 1 + a),   variance limited: 1 and 1

    A target of the kernel's own prior has b = a, and then both are a_K = a. A target smoother
    than that gains until the kernel's own smoothness saturates (the second terms). Without noise
    and without a ridge, or at the best one.

    Derivation: kappa ~ n^-(1+a), and E is sum over i > n of v^2 ~ n^-b, plus kappa^2 sum over i <=
    n of v^2/l^2 ~ kappa^2 where that sum converges; with data without end gamma ~ K^-(1+a) and E =
    sum gamma/(l+gamma) v^2, whose head is of order gamma.

    Args:
      a: > 0.
      b: > 0; a where None.

    Raises:
      ValueError: a or b is not above zero.

    References:
      Bahri, Dyer, Kaplan, Lee and Sharma 2024, Explaining Neural Scaling Laws.
      Spigler, Geiger and Wyart 2020, Asymptotic learning curves of kernel methods (the minimum).
    """
    b = a if b is None else b
    for name, value in (("a", a), ("b", b)):
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
    one = VARIANCE_LIMITED
    return ScalingExponents(min(b, 2 * (1 + a)), min(b, 1 + a), one, one)


def manifold_exponent(dimension: float, smoothness: float = 2.0) -> float:
    """2 smoothness/d: of the squared error of an interpolant on a d-dimensional manifold.

    Points at distance n^(-1/d) and an error of order distance^smoothness: piecewise-linear models
    of a smooth target have smoothness 2, hence 4/d, a lower bound of the exponent; models that are
    only Lipschitz have 1, hence 2/d.

    Raises:
      ValueError: dimension or smoothness is not above zero.

    References:
      Bahri et al. 2024, Explaining Neural Scaling Laws; Sharma and Kaplan 2022,
      Scaling Laws from the Data Manifold Dimension.
    """
    if not (dimension > 0 and smoothness > 0):
        raise ValueError(f"dimension and smoothness must be > 0, got {dimension} and {smoothness}")
    return 2 * smoothness / dimension


def regime(
    s: Spectrum, n: float, features: float, *, ridge: float | None = 0.0, noise: float = 0.0
) -> Regime:
    """In which regime n examples and K features are, by the random-feature framework.

    Args:
      s: the population's spectrum.
      n, features: finite and > 0.
      ridge: of every error; None takes the best one at each.
      noise: s^2, part of every error; take 0 to ask about the noise-free part.

    Raises:
      ValueError: n or features is not finite; n = K without a ridge, where the error is infinite;
        and as `random_feature_curve`.
    """
    if not (np.isfinite(n) and np.isfinite(features)):
        raise ValueError(f"n and features must be finite, got {n} and {features}")
    up = np.exp(STEP)
    ns = np.array([n, n * up, n / up, n, n, np.inf, n])
    ks = np.array([features, features, features, features * up, features / up, features, np.inf])
    curve: Curve = (
        best_ridge_features(s, ns, ks, noise=noise)
        if ridge is None
        else random_feature_curve(s, ns, ks, ridge=ridge, noise=noise)
    )
    E = curve.test
    if not np.isfinite(E).all():
        raise ValueError(f"n = {n} and features = {features} have an infinite error at no ridge")
    here, more_n, less_n, more_k, less_k, endless_n, endless_k = E
    data, width = 1 - endless_n / here, 1 - endless_k / here
    return Regime(
        "resolution" if data > 0.5 else "variance",
        "resolution" if width > 0.5 else "variance",
        float(data),
        float(width),
        float(-np.log(more_n / less_n) / (2 * STEP)),
        float(-np.log(more_k / less_k) / (2 * STEP)),
        float(here),
    )
