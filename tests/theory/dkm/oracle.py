"""The full deep kernel machine in NumPy float64, written from its formulas; nothing of theory."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.theory.dkm import oracle_kernels
from tests.theory.dkm.oracle_kernels import of_gram

KERNELS = {name: partial(of_gram, f) for name, f in oracle_kernels.KERNELS.items()}
relu, squared_exponential, linear = (
    KERNELS[name] for name in ("relu", "squared_exponential", "linear")
)


def kl(G, K):
    M = np.linalg.inv(K) @ G
    return (np.trace(M) - np.linalg.slogdet(G)[1] + np.linalg.slogdet(K)[1] - len(G)) / 2


def objective(G0, grams, Y, kernels, nu, noise_variance, jitter):
    """(value, log likelihood, kls); `kernels` are L + 1 functions, nu a number or (L,)."""
    kls, G = [], G0
    for kernel, after in zip(kernels, grams, strict=False):
        kls.append(kl(after, kernel(G) + jitter * np.eye(len(after))))
        G = after
    Y = Y.reshape(len(Y), -1)
    A = kernels[-1](G) + (jitter + noise_variance) * np.eye(len(Y))
    fit = -0.5 * np.trace(Y.T @ np.linalg.inv(A) @ Y)
    fit -= Y.shape[1] / 2 * (np.linalg.slogdet(A)[1] + len(Y) * np.log(2 * np.pi))
    return fit - np.sum(np.asarray(nu) * np.asarray(kls)), fit, np.asarray(kls)


def posterior(G0, grams, Y, kernels, noise_variance, jitter, n):
    """(mean, covariance); G0 is of all inputs, the n training ones first."""
    joint = G0
    for kernel, G in zip(kernels, grams, strict=False):
        K = kernel(joint) + jitter * np.eye(len(joint))
        B = K[n:, :n] @ np.linalg.inv(K[:n, :n])
        tt = K[n:, n:] - B @ K[:n, n:] + B @ G @ B.T
        joint = np.block([[G, G @ B.T], [B @ G, tt]])
    K = kernels[-1](joint) + jitter * np.eye(len(joint))
    T = K[n:, :n] @ np.linalg.inv(K[:n, :n] + noise_variance * np.eye(n))
    return T @ Y, K[n:, n:] - T @ K[:n, n:]


def interpolated(G0, last, part):
    """G0 (G0^-1 last)^part, by eigenvalues."""
    values, vectors = np.linalg.eig(np.linalg.solve(G0, last))
    return (G0 @ (vectors * values**part) @ np.linalg.inv(vectors)).real


def toy():
    """(G0, y) of six inputs."""
    X = np.random.default_rng(0).standard_normal((6, 2))
    return X @ X.T / 2, np.sin(2 * X[:, 0]) + 0.3 * X[:, 1]


def wishart(seed, n=6, scale=1.0):
    """A well conditioned Gram matrix."""
    A = np.random.default_rng(seed).standard_normal((n, 3 * n))
    return scale * A @ A.T / (3 * n)


# Of `toy` with squared exponential kernels, nu = 1, noise 0.1, jitter 1e-6: where `objective` is
# largest, to the digits shown. test_full checks it.
TOY_GRAM = (
    (0.886571, 0.984762, 0.609307, 0.814293, 0.392937, 0.591403),
    (0.984762, 1.321380, 0.480017, 1.217908, 0.096963, 0.397637),
    (0.609307, 0.480017, 0.730085, 0.345390, 0.590554, 0.741570),
    (0.814293, 1.217908, 0.345390, 1.350392, -0.040886, 0.242664),
    (0.392937, 0.096963, 0.590554, -0.040886, 0.953344, 0.707340),
    (0.591403, 0.397637, 0.741570, 0.242664, 0.707340, 0.796572),
)
