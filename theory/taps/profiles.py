"""Independent taps k(s) = sqrt(v(s)) w(s), w ~ N(0, 1): R = T = diag(v), of power 1.

A profile of any other power is one of these `scaled`; any other profile is `Moments(v)`.
"""

from __future__ import annotations

import numpy as np

from theory.taps.checks import nonnegative, positive, whole
from theory.taps.moments import Moments


def flat(window: int) -> Moments:
    """v(s) = 1 / window for `window` lags: an ordinary convolution, padded on the left.

    Raises:
      ValueError: window is no positive integer.
    """
    whole(1, window=window)
    return Moments(np.full(window, 1 / window))


def exponential(taps: int, decay: float) -> Moments:
    """v(s) proportional to exp(-decay s), s = 0, .., taps - 1.

    Args:
      taps: number of lags.
      decay: in 1 / lag; 0 is flat.

    Raises:
      ValueError: taps is no positive integer, or decay is negative.
    """
    whole(1, taps=taps)
    nonnegative(decay=decay)
    return _of(np.exp(-decay * np.arange(taps)))


def power_law(taps: int, exponent: float) -> Moments:
    """v(s) proportional to (1 + s)^-exponent, s = 0, .., taps - 1.

    Args:
      taps: number of lags.
      exponent: 0 is flat.

    Raises:
      ValueError: taps is no positive integer, or exponent is negative.
    """
    whole(1, taps=taps)
    nonnegative(exponent=exponent)
    return _of((1.0 + np.arange(taps)) ** -float(exponent))


def gaussian(taps: int, width: float) -> Moments:
    """v(s) proportional to exp(-s² / (2 width²)), s = 0, .., taps - 1.

    Args:
      taps: number of lags.
      width: in lags.

    Raises:
      ValueError: taps is no positive integer, or width is not positive.
    """
    whole(1, taps=taps)
    positive(width=width)
    return _of(np.exp(-((np.arange(taps) / width) ** 2) / 2))


def _of(profile: np.ndarray) -> Moments:
    return Moments(profile / profile.sum())
