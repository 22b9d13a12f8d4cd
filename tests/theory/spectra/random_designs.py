"""Regressions on drawn data, whose test error given the draw is a sum over modes."""

from __future__ import annotations

import numpy as np

from theory.spectra import Spectrum


def regress(s: Spectrum, n, features, ridge, noise, trials, seed):
    """Test and training errors, (trials,) each, with Gaussian modes and random features."""
    rng = np.random.default_rng(seed)
    lam, v = s.eigenvalues, np.sqrt(s.coefficients)
    test, train = np.empty(trials), np.empty(trials)
    for t in range(trials):
        X = rng.standard_normal((n, len(lam)))
        y = X @ v + np.sqrt(noise) * rng.standard_normal(n)
        if np.isinf(features):
            P, back = X * np.sqrt(lam), lambda w: w * np.sqrt(lam)
        else:
            F = np.sqrt(lam / features)[:, None] * rng.standard_normal((len(lam), features))
            P, back = X @ F, lambda w, F=F: F @ w
        if ridge == 0:
            w = np.linalg.lstsq(P, y, rcond=None)[0]
        else:
            w = P.T @ np.linalg.solve(P @ P.T + ridge * np.eye(n), y)
        test[t] = ((back(w) - v) ** 2).sum() + noise
        train[t] = ((P @ w - y) ** 2).mean()
    return test, train


def regress_on_a_population(s: Spectrum, n, features, ridge, trials, seed):
    """Errors at the M - n other points of M, whose Gram matrix has random eigenvectors."""
    rng = np.random.default_rng(seed)
    lam, M = s.eigenvalues, len(s.eigenvalues)
    test, train = np.empty(trials), np.empty(trials)
    for t in range(trials):
        U = np.linalg.qr(rng.standard_normal((M, M)))[0]
        A = U * np.sqrt(lam * M)
        if not np.isinf(features):
            A = A @ rng.standard_normal((M, features)) / np.sqrt(features)
        y = U @ np.sqrt(M * s.coefficients)
        P, rest = A[:n], A[n:]
        w = P.T @ np.linalg.solve(P @ P.T + ridge * np.eye(n), y[:n])
        test[t] = ((rest @ w - y[n:]) ** 2).mean()
        train[t] = ((P @ w - y[:n]) ** 2).mean()
    return test, train


def within(errors: np.ndarray, expected: float) -> float:
    """How many standard errors the mean of the draws is from what was expected."""
    return float((errors.mean() - expected) / (errors.std(ddof=1) / np.sqrt(len(errors))))
