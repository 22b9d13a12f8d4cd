"""Kernels of fully connected networks in NumPy float64, straight from the formulas."""

from __future__ import annotations

import numpy as np


def relu_pair(k12, k11, k22):
    """E[relu relu] and E[step step], Cho and Saul 2009."""
    s = np.sqrt(k11 * k22)
    c = np.clip(k12 / s, -1, 1)
    t = np.arccos(c)
    return s * (np.sqrt(1 - c**2) + c * (np.pi - t)) / (2 * np.pi), (np.pi - t) / (2 * np.pi)


def fully_connected(x1, x2, depth, W_std, b_std, standard_width=None):
    """(nngp, ntk) of `depth` times (Dense, ReLU), and a Dense: every pair on its own.

    Args:
      x1, x2: (N, channels).
      depth: hidden layers.
      W_std, b_std: of every Dense.
      standard_width: None for the ntk parametrisation, else the hidden width of the standard one.
    """
    fan_in = x1.shape[1]
    k12, k11, k22 = (a @ b.T / fan_in for a, b in ((x1, x2), (x1, x1), (x2, x2)))
    k11, k22 = np.diag(k11)[:, None], np.diag(k22)[None, :]
    theta = np.zeros_like(k12)

    def dense(k):
        return W_std**2 * k + b_std**2

    for layer in range(depth + 1):
        if standard_width is None:
            theta = W_std**2 * theta + dense(k12)
        else:
            theta = W_std**2 * theta + (fan_in if layer == 0 else standard_width) * k12 + 1
        k12, k11, k22 = dense(k12), dense(k11), dense(k22)
        if layer < depth:
            value, slope = relu_pair(k12, k11, k22)
            k12, k11, k22, theta = value, k11 / 2, k22 / 2, theta * slope
    return k12, theta
