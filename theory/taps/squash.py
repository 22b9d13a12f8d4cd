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
    lags = np.arange(taps)
    for distance in range(min(smooth, taps)):
        r, t = _thresholded(variances, smooth, distance, threshold)
        low, high = lags[: taps - distance], lags[distance:]
        covariance[low, high] = covariance[high, low] = r.mean(0)
        ntk[low, high] = ntk[high, low] = t.mean(0)
    return correlated(covariance, None if threshold == 0 else ntk)


def deviations(taps: int, channels: int, scale: float, init: str) -> np.ndarray:
    """Deviations of the parameters, (channels, taps); (1, taps) where channels are alike."""
    if init == "normal":
        return np.full((1, taps), float(scale))
    rates = max(channels // 2, 1) ** (np.arange(channels) / channels)
    return scale * np.exp(-np.outer(rates, np.arange(taps) / taps))


def _independent(variances: np.ndarray, threshold: float) -> Moments:
    if threshold == 0:
        return Moments(variances.mean(0))
    values, slopes = one(np.sqrt(variances), threshold)
    return Moments(values.mean(0), None, (slopes * variances).mean(0))


def _thresholded(
    variances: np.ndarray, smooth: int, distance: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """R and T of the averages at s and s + distance, (channels, taps - distance).

    The average at s is over s - smooth // 2, .., s - smooth // 2 + smooth - 1, nothing being beyond
    the ends. The two share a variance; what each has alone gives the determinant of their
    covariance without cancellation.
    """
    first = -(smooth // 2)
    count = variances.shape[1] - distance
    shared = _sums(variances, first + distance, smooth - distance, count)
    covariance = shared / smooth**2
    if threshold == 0:
        return covariance, covariance
    if distance == 0:
        values, slopes = one(np.sqrt(covariance), threshold)
        return values, slopes * covariance
    left = _sums(variances, first, distance, count)
    right = _sums(variances, first + smooth, distance, count)
    product = (shared + left) * (shared + right)
    safe = np.where(product > 0, product, 1.0)
    determinant = shared * (left + right) + left * right
    values, slopes = pair(
        np.sqrt((shared + left).ravel()) / smooth,
        np.sqrt((shared + right).ravel()) / smooth,
        np.minimum(shared / np.sqrt(safe), 1.0).ravel(),
        np.sqrt(determinant / safe).ravel(),
        threshold,
    )
    shape = covariance.shape
    return values.reshape(shape), slopes.reshape(shape) * covariance


def _sums(variances: np.ndarray, first: int, width: int, count: int) -> np.ndarray:
    """Sums over the lags s + first, .., s + first + width - 1, for s = 0, .., count - 1."""
    taps = variances.shape[1]
    sums = np.zeros((len(variances), count))
    for offset in range(first, first + width):
        low, high = max(0, -offset), min(count, taps - offset)
        if low < high:
            sums[:, low:high] += variances[:, low + offset : high + offset]
    return sums
