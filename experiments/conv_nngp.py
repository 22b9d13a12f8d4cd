"""The exact NNGP of a convolutional deep kernel machine's network, for `experiments.conv_dkm`.

The machine approximates its kernels from inducing patches; `theory.stax` computes them. Regression
on one-hot targets; ridge and prior scale are those under which a held-back fifth of the training
images is likeliest.
"""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from scipy import linalg, optimize

from farwide.calibration import log_probabilities, scores
from theory import stax

Readout = Literal["pooled", "flattened"]
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # times the mean variance of the training images
SCALES = (-7.0, 5.0)  # natural log of the factor of the prior's variance


class Posterior(NamedTuple):
    """Outputs at test images.

    Attributes:
      mean: (test, classes).
      variance: (test,).
    """

    mean: np.ndarray
    variance: np.ndarray


def network(readout: Readout, size: int) -> stax.Layer:
    """Patches, a 1 x 1 layer, a strided 3 x 3 one, all places pooled or kept, a dense layer.

    Args:
      readout: what becomes of the last places.
      size: side and stride of the patches.
    """

    def conv(side: int, stride: int) -> tuple[stax.Layer, stax.Layer]:
        return stax.Conv(1, (side, side), (stride, stride), "SAME", 2**0.5), stax.Relu()

    last = stax.GlobalAvgPool() if readout == "pooled" else stax.Flatten()
    dense = stax.Dense(1, 2**0.5)
    layers = (*conv(size, size), *conv(1, 1), *conv(3, 2), last, dense, stax.Relu(), dense)
    return stax.serial(*layers)


def classify(
    readout: Readout,
    size: int,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    classes: int,
) -> dict[str, Any]:
    """Test scores of the exact NNGP, and the seconds it took."""
    begun = time.perf_counter()
    kernel_fn = network(readout, size).kernel_fn

    @jax.jit
    def variances(x):
        return jax.lax.map(lambda one: kernel_fn(one[None], None, "cov1")[0], x, batch_size=64)

    entries = jax.jit(lambda a, b: kernel_fn(a, b, "nngp"))
    train = np.asarray(entries(x_train, None), np.float64)
    cross = np.asarray(entries(x_test, x_train), np.float64)
    own = np.asarray(variances(x_test), np.float64)
    kernels = time.perf_counter() - begun
    targets = np.eye(classes)[y_train] - 1 / classes
    ridge, scale = choose(train, targets, y_train)
    found = posterior(train, cross, own, targets, ridge)
    log_p = log_probabilities(found.mean, scale * found.variance)
    return {
        "readout": readout,
        "train": len(x_train),
        "test": len(x_test),
        "ridge": ridge,
        "scale": scale,
        "scores": scores(log_p, y_test)._asdict(),
        "kernel_seconds": kernels,
        "seconds": time.perf_counter() - begun,
    }


def posterior(
    train: np.ndarray, cross: np.ndarray, own: np.ndarray, targets: np.ndarray, ridge: float
) -> Posterior:
    """Of a Gaussian process with noise ridge tr(K) / n, at inputs of variance `own`."""
    noise = ridge * np.trace(train) / len(train)
    factor = linalg.cholesky(train + noise * np.eye(len(train)), lower=True, overwrite_a=True)
    half = linalg.solve_triangular(factor, cross.T, lower=True)
    white = linalg.solve_triangular(factor, targets, lower=True)
    return Posterior(half.T @ white, np.maximum(own - (half**2).sum(0), 1e-12 * own))


def choose(train: np.ndarray, targets: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """(ridge, scale) under which the last fifth is likeliest given the rest."""
    kept = len(train) - len(train) // 5
    best = (np.inf, RIDGES[0], 1.0)
    for ridge in RIDGES:
        inner = train[:kept, :kept], train[kept:, :kept], np.diagonal(train)[kept:]
        found = posterior(*inner, targets[:kept], ridge)

        def nll(log_scale: float, found=found) -> float:
            log_p = log_probabilities(found.mean, np.exp(log_scale) * found.variance)
            return scores(log_p, labels[kept:]).nll

        fitted: Any = optimize.minimize_scalar(
            nll, bounds=SCALES, method="bounded", options={"xatol": 0.05}
        )
        best = min(best, (float(fitted.fun), ridge, float(np.exp(fitted.x))))
    return best[1:]
