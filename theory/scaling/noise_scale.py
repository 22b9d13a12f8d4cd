"""The simple gradient noise scale, B_simple = tr(Sigma) / |G|^2, from two batch sizes.

A gradient over B examples has E |G_B|^2 = |G|^2 + tr(Sigma) / B, so two batch sizes give both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class NoiseScale(NamedTuple):
    """Gradient noise at a point of training."""

    scale: np.ndarray  # B_simple, examples; NaN where |G|^2 is estimated at or below 0
    squared_norm: np.ndarray  # |G|^2 of the true gradient
    trace: np.ndarray  # tr(Sigma), of one example's gradient


def gradient_noise_scale(
    small: float | np.ndarray, large: float | np.ndarray, *, small_batch: int, large_batch: int
) -> NoiseScale:
    """B_simple from squared gradient norms at two batch sizes.

        |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b),   tr = (|G_b|^2 - |G_B|^2) / (1/b - 1/B)

    Both are unbiased; their ratio is not, so average `small` and `large` over steps first.

    Args:
      small, large: |G_b|^2 and |G_B|^2, positive, any shape.
      small_batch, large_batch: b < B, in examples.

    Raises:
      ValueError: the batches are not 0 < b < B, or a squared norm is negative or not finite.

    Reference: McCandlish et al. (2018), appendix A.1.
    """
    if not 0 < small_batch < large_batch:
        raise ValueError(
            f"small_batch, large_batch = {small_batch}, {large_batch}; accepted are "
            "0 < small_batch < large_batch"
        )
    norms = {}
    for name, value in (("small", small), ("large", large)):
        norms[name] = np.asarray(value, np.float64)
        if not np.all(np.isfinite(norms[name]) & (norms[name] >= 0)):
            raise ValueError(f"{name} = {value}; accepted are finite squared norms, 0 or more")
    b, B = float(small_batch), float(large_batch)
    signal = (B * norms["large"] - b * norms["small"]) / (B - b)
    trace = (norms["small"] - norms["large"]) / (1 / b - 1 / B)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(signal > 0, trace / signal, np.nan)
    return NoiseScale(scale, signal, trace)
