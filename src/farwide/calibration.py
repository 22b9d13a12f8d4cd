"""Class probabilities from Gaussian predictions, and how far they can be trusted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, logsumexp

NODES = (
    48  # of the quadrature; its sum over classes is 1 to 1e-4 for means up to 10 deviations apart
)
BINS = 15


class Scores(NamedTuple):
    """How good predicted class probabilities are.

    Attributes:
      accuracy: share of examples whose likeliest class is right.
      accuracy_error: its standard error.
      nll: mean of -log p(right class), nats.
      brier: mean squared distance of p from the one-hot label.
      ece: expected calibration error, sum over bins of (share of examples) |accuracy - confidence|.
    """

    accuracy: float
    accuracy_error: float
    nll: float
    brier: float
    ece: float


class Reliability(NamedTuple):
    """Confidence (the largest probability) against accuracy, in bins of equal width over [0, 1].

    Attributes:
      count: (bins,) examples.
      confidence: (bins,) their mean confidence; NaN where there are none.
      accuracy: (bins,) share that is right; NaN where there are none.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def log_probabilities(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Log of the probability that each class's output is the largest.

    With f_j ~ N(m_j, v) independent, as outputs of an infinitely wide network are,

        p_k = integral N(z; 0, 1) prod_{j != k} Phi(z + (m_k - m_j) / sqrt(v)) dz

    by Gauss-Hermite quadrature, normalised over classes.

    Args:
      mean: (N, classes).
      variance: (N,), positive, the same for all classes.

    Returns:
      (N, classes).

    Raises:
      ValueError: shapes that do not agree, a variance that is not positive.
    """
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    if mean.ndim != 2 or variance.shape != mean.shape[:1]:
        raise ValueError(
            f"need mean (N, classes), variance (N,); got {mean.shape}, {variance.shape}"
        )
    if not (variance > 0).all():
        raise ValueError(f"variance must be positive, got {variance.min()}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    scaled = mean / np.sqrt(variance)[:, None]
    out = np.empty_like(scaled)
    for k in range(mean.shape[1]):
        gaps = scaled[:, k, None] - np.delete(scaled, k, 1)  # (N, classes - 1)
        inner = log_ndtr(nodes + gaps[..., None]).sum(1)  # (N, nodes)
        out[:, k] = logsumexp(inner, b=weights, axis=1)
    return out - logsumexp(out, axis=1, keepdims=True)


def scores(log_p: np.ndarray, labels: np.ndarray) -> Scores:
    """The scores of predicted probabilities.

    Args:
      log_p: (N, classes).
      labels: (N,) int.
    """
    p, at = np.exp(log_p), np.arange(len(labels))
    accuracy = float((log_p.argmax(1) == labels).mean())
    bins = reliability(log_p, labels)
    filled = bins.count > 0
    gap = np.abs(bins.accuracy - bins.confidence)[filled]
    onehot = np.eye(log_p.shape[1])[labels]
    return Scores(
        accuracy=accuracy,
        accuracy_error=float(np.sqrt(accuracy * (1 - accuracy) / len(labels))),
        nll=float(-log_p[at, labels].mean()),
        brier=float(((p - onehot) ** 2).sum(1).mean()),
        ece=float((gap * bins.count[filled]).sum() / len(labels)),
    )


def reliability(log_p: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """The points of a reliability diagram (Guo et al. 2017, On calibration of modern networks)."""
    confidence = np.exp(log_p.max(1))
    right = (log_p.argmax(1) == labels).astype(float)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            count,
            np.bincount(which, confidence, bins) / count,
            np.bincount(which, right, bins) / count,
        )
