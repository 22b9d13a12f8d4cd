"""LongConv's taps: Gaussian, decaying, averaged over neighbours and soft-thresholded."""

from __future__ import annotations

import numpy as np

from theory.taps.checks import nonnegative, one_of, whole
from theory.taps.moments import Moments, correlated
from theory.taps.thresholded import one, pair

INITS = ("double_exp", "normal")


def squash(
    taps: int,
    channels: int,
    *,
    threshold: float = 0.003,
    scale: float = 0.02,
    init: str = "double_exp",
    smooth: int = 1,
) -> Moments:
    """Moments of the taps of LongConv, averaged over its channels.

        k = S(A n),    n_c(s) ~ N(0, sigma_c(s)²),    S(x) = sign(x) max(|x| - threshold, 0)
        R(s, s') = E[S(u) S(u')],    T(s, s') = E[S'(u) S'(u')] C(s, s'),    C = A sigma² A^T

    with u = (A n)(s), u' = (A n)(s') and A the moving average. The deviations are
    sigma_c(s) = scale exp(-(s / taps) max(channels // 2, 1)^(c / channels)) for "double_exp", scale
    for "normal". R(s, s) is closed: `theory.taps.thresholded`. Taps are taken as in evaluation:
    none is dropped.

    Args:
      taps: number of lags.
      channels: the decay of a channel depends on their number ("double_exp").
      threshold: of S, in the units of the taps; 0 leaves them as they are.
      scale: deviation of the first tap.
      init: "double_exp" or "normal".
      smooth: lags over which is averaged, centred; 1 for none.

    Returns:
      Moments, diagonal without smoothing; R and T of shape (taps, taps) and zero at distances of
      `smooth` lags and more with it. T is None, as it equals R, without a threshold.

    Raises:
      ValueError: taps, channels or smooth is no positive integer; threshold or scale is negative;
        init is another one.

    References:
      Fu et al. 2023, Simple Hardware-Efficient Long Convolutions for Sequence Modeling, section 3.
    """
    whole(1, taps=taps, channels=channels, smooth=smooth)
    nonnegative(threshold=threshold, scale=scale)
    one_of(INITS, init=init)
    variances = deviations(taps, channels, scale, init) ** 2
    if smooth == 1:
        return _independent(variances, threshold)
    covariance, ntk = np.zeros((taps, taps)), np.zeros((taps, taps))
    spread = np.sqrt(_products(variances, smooth, 0))
    lags = np.arange(taps)
    for distance in range(min(smooth, taps)):
        c = _products(variances, smooth, distance)
        r, t = _thresholded(spread, c, distance, threshold)
        low, high = lags[: taps - distance], lags[distance:]
        covariance[low, high] = covariance[high, low] = r.mean(0)
        ntk[low, high] = ntk[high, low] = t.mean(0)
    return correlated(covariance, None if threshold == 0 else ntk)


def deviations(taps: int, channels: int, scale: float, init: str) -> np.ndarray:
    """Initial deviations of the parameters; (channels, taps), (1, taps) where channels are alike."""
    if init == "normal":
        return np.full((1, taps), float(scale))
    rates = max(channels // 2, 1) ** (np.arange(channels) / channels)
    return scale * np.exp(-np.outer(rates, np.arange(taps) / taps))


def _independent(variances: np.ndarray, threshold: float) -> Moments:
    if threshold == 0:
        return Moments(variances.mean(0))
    values, slopes = one(np.sqrt(variances), threshold)
    return Moments(values.mean(0), None, (slopes * variances).mean(0))


def _products(variances: np.ndarray, smooth: int, distance: int) -> np.ndarray:
    """C(s, s + distance) of the averages, (channels, taps - distance).

    The average at s is over s - smooth // 2, .., s - smooth // 2 + smooth - 1; the one further on
    shares the last smooth - distance of them. Beyond the ends is nothing.
    """
    taps, shared = variances.shape[1], smooth - distance
    before = distance - smooth // 2  # from s to the first that is shared
    places = before + np.arange(taps - distance)
    sums = np.zeros((len(variances), taps - distance))
    for offset in range(shared):
        inside = (places + offset >= 0) & (places + offset < taps)
        sums[:, inside] += variances[:, (places + offset)[inside]]
    return sums / smooth**2


def _thresholded(
    spread: np.ndarray, c: np.ndarray, distance: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """R and T at one distance, (channels, taps - distance), from deviations and covariances."""
    if threshold == 0:
        return c, c
    if distance == 0:
        values, slopes = one(spread, threshold)
        return values, slopes * c
    left, right = spread[:, :-distance], spread[:, distance:]
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = np.where(c > 0, c / (left * right), 0.0)
    rho = np.minimum(rho, 1 - 1e-15)
    values, slopes = pair(left.ravel(), right.ravel(), rho.ravel(), threshold)
    return values.reshape(c.shape), slopes.reshape(c.shape) * c
