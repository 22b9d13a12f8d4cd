"""Expectations of Gaussian vectors divided by a squared norm, as integrals over a half line.

With g_i ~ N(0, 1) and Q = sum_j l_j g_j², from 1 / Q = int_0^inf exp(-u Q) du:

    E[1 / Q]     = int_0^inf prod_j (1 + 2 l_j u)^(-1/2) du                    at least three l > 0
    E[g_i² / Q]  = int_0^inf (1 + 2 l_i u)^-1 prod_j (1 + 2 l_j u)^(-1/2) du

In x = log u the integrands are analytic around the real line and decay exponentially at both ends,
so equal steps converge exponentially (Trefethen and Weideman 2014, section 5).

References:
  Provost and Mathai 1992, Quadratic Forms in Random Variables, section 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

STEP = 0.2  # the error is of order exp(-pi² / STEP)
FAR = 85.0  # exp(-FAR / 2) is below 1e-18; the slowest decay is exp(-x / 2)
NEAR = 42.0


class Ratios(NamedTuple):
    """Expectations with Q = sum_j l_j g_j².

    Attributes:
      inverse: E[1 / Q]; inf for fewer than three positive l.
      shares: (rank,) E[g_i² / Q]; sum_i l_i E[g_i² / Q] = 1.
    """

    inverse: float
    shares: np.ndarray


def ratios(eigenvalues: np.ndarray) -> Ratios:
    """E[1 / Q] and E[g_i² / Q].

    Args:
      eigenvalues: (rank,) l.

    Raises:
      ValueError: there are none, or one is not positive.
    """
    l = np.asarray(eigenvalues, np.float64)  # noqa: E741, the symbol of the formula
    if l.ndim != 1 or not len(l) or not np.all((l > 0) & np.isfinite(l)):
        raise ValueError(f"eigenvalues are {eigenvalues}; accepted are positive numbers")
    low, high = -np.log(2 * l.sum()) - NEAR, -np.log(2 * l.min()) + FAR
    x = low + STEP * np.arange(int(np.ceil((high - low) / STEP)) + 1)
    factors = np.logaddexp(0.0, x[:, None] + np.log(2 * l))
    weights = STEP * np.exp(x - factors.sum(-1) / 2)
    inverse = float(weights.sum()) if len(l) >= 3 else np.inf
    return Ratios(inverse, weights @ np.exp(-factors))
