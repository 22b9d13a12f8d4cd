"""SGConv's taps: interpolated weights of several scales, divided by their norm at the start."""

from __future__ import annotations

import math

import numpy as np

from theory.taps.checks import positive, whole
from theory.taps.moments import Moments, correlated
from theory.taps.ratio import ratios

NEGLIGIBLE = 1e-14  # of the largest singular value: a direction that the taps do not have


def sgconv(taps: int, *, scale_dim: int = 16, decay: float = 2.0) -> Moments:
    """Moments of the taps of SGConv, which are the same in every channel.

        k = U w / |U w|,  w ~ N(0, I)
        R = E[U w w^T U^T / |U w|²],    T = E[1 / |U w|²] U U^T

    U interpolates scale i linearly to scale_dim 2^max(0, i - 1) taps and weighs it by decay^-i. The
    norm is that of the initial taps and stays as it is in training; w is what the weights are in
    units of their deviation given the norm.

    Args:
      taps: number of lags, at least 3.
      scale_dim: weights of a scale.
      decay: ratio of the weights of two scales.

    Returns:
      Moments of power 1, R and T of shape (taps, taps).

    Raises:
      ValueError: taps is below 3, where T is infinite; or scale_dim or decay is not positive; or
        U has fewer than three directions (scale_dim of 1 or 2 can do that with few taps).

    References:
      Li et al. 2022, What Makes Convolutional Models Great on Long Sequence Modeling?, section 3.2.
    """
    whole(3, taps=taps)
    whole(1, scale_dim=scale_dim)
    positive(decay=decay)
    u = interpolation(taps, scale_dim, decay)
    vectors, singular, _ = np.linalg.svd(u, full_matrices=False)
    kept = singular > NEGLIGIBLE * singular[0]
    vectors, eigenvalues = vectors[:, kept], singular[kept] ** 2
    if len(eigenvalues) < 3:
        raise ValueError(
            f"scale_dim is {scale_dim}; accepted is one with which {taps} taps have at least three "
            "directions: T is infinite otherwise"
        )
    inverse, shares = ratios(eigenvalues)
    return correlated((vectors * (eigenvalues * shares)) @ vectors.T, inverse * (u @ u.T))


def interpolation(taps: int, scale_dim: int, decay: float) -> np.ndarray:
    """U, (taps, scales * scale_dim): piecewise linear between centres of intervals, flat beyond.

    A scale of factor f has the weight j at (j + 1/2) f - 1/2 in units of its own lags.
    """
    scales = 1 + max(0, math.ceil(math.log2(taps / scale_dim)))
    blocks = np.zeros((scales, scale_dim, sum(_factor(i) for i in range(scales)) * scale_dim))
    start = 0
    for i in range(scales):
        factor = _factor(i)
        width = factor * scale_dim
        place = np.clip((np.arange(width) + 0.5) / factor - 0.5, 0, scale_dim - 1)
        hats = np.maximum(0, 1 - np.abs(place - np.arange(scale_dim)[:, None]))
        blocks[i, :, start : start + width] = hats * float(decay) ** -i
        start += width
    return blocks.reshape(scales * scale_dim, -1)[:, :taps].T


def _factor(scale: int) -> int:
    return 2 ** max(0, scale - 1)
