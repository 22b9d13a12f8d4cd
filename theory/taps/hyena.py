"""Hyena's taps: an infinitely wide sine network of the position, times a window, of unit norm."""

from __future__ import annotations

import math

import numpy as np

from theory.quadrature import gauss_legendre
from theory.taps.checks import finite, positive, whole
from theory.taps.moments import Moments, correlated
from theory.taps.ratio import ratios

NEGLIGIBLE = 1e-15  # of the largest eigenvalue: a direction that the taps do not have
POINTS = 32  # rates that stand for the continuum
CUT = 2.0  # deviations at which the first layer's weights are cut off
COLUMNS = 4096  # columns of factors held at once


def hyena(
    taps: int,
    channels: int | None,
    *,
    bands: int = 1,
    layers: int = 2,
    frequency: float = 10.0,
    slow: float = 1.5,
    fast: float = 0.3,
    shift: float = 0.05,
) -> Moments:
    """Moments of the taps of Hyena with an infinitely wide sine network, averaged over channels.

        k_c(s) = f_c(s) window_c(s) / |f_c window_c|,    window_c(s) = exp(-rate_c t) + shift
        R = mean over c of E[k_c k_c^T],    f_c ~ N(0, H)
        T = mean over c of E[1 / |f_c window_c|²] (H + Theta) window_c window_c^T

    with t = s / (taps - 1), H(s, s') and Theta(s, s') the NNGP and NTK of the last hidden layer
    over positions (`network`). The norm is that of the initial taps and stays as it is in training;
    weights count as trained, those of the last layer in units of their deviation given the norm.
    The frequency starts as a constant and the biases at zero: neither counts as trained.

    Args:
      taps: number of lags, at least 3.
      channels: their rates are spaced evenly; None for infinitely many.
      bands: frequencies of the positional features.
      layers: hidden layers.
      frequency: of the sine, w of sin(w x).
      slow: fraction of the length after which the slowest channel's window is 1%.
      fast: the same of the fastest channel.
      shift: what the window never falls below.

    Returns:
      Moments of power 1, R and T of shape (taps, taps).

    Raises:
      ValueError: taps, channels, bands or layers is no integer or too small; frequency is 0 or
        gives taps of fewer than three directions, where T is infinite; not 0 < fast <= slow; shift
        is not finite.

    References:
      Poli et al. 2023, Hyena Hierarchy, section 3.3; Jacot et al. 2018, Neural Tangent Kernel,
      theorem 1; Rahimi and Recht 2007, Random Features, for the first layer.
    """
    whole(3, taps=taps)
    whole(1, bands=bands, layers=layers)
    if channels is not None:
        whole(1, channels=channels)
    positive(slow=slow, fast=fast)
    finite(frequency=frequency, shift=shift)
    if fast > slow:
        raise ValueError(f"fast is {fast}; accepted is at most slow = {slow}")
    nngp, ntk = network(positional_features(taps, bands), layers, frequency)
    values, vectors = np.linalg.eigh(nngp)
    kept = values > NEGLIGIBLE * values[-1]
    if kept.sum() < 3:
        raise ValueError(
            f"frequency is {frequency}; accepted is one with which the taps have at least three "
            "directions: T is infinite otherwise"
        )
    factor = vectors[:, kept] * np.sqrt(values[kept])
    rates, weights = window_rates(channels, slow, fast)
    windows = np.exp(-np.outer(rates, np.linspace(0.0, 1.0, taps))) + shift
    covariance, inverses = _normalised(factor, windows, weights)
    spread = (windows.T * (weights * inverses)) @ windows
    return correlated(covariance, (nngp + ntk) * spread)


def network(features: np.ndarray, layers: int, frequency: float) -> tuple[np.ndarray, np.ndarray]:
    """(NNGP, NTK) of sin(w W_L sin(.. sin(w W_1 z))), (places, places), biases at zero and still.

    With K, Theta those of the arguments W_l h, fan_in of the layer its number of inputs:

        H' = E[sin(w u) sin(w v)] = (exp(-w² (K_uu + K_vv - 2 K_uv) / 2) - the same with +) / 2
        D  = w² E[cos(w u) cos(w v)], the sum of both times w² / 2,    Theta_H = D Theta
        K' = H',    Theta' = H' + Theta_H

    The first layer has few inputs, so its argument is not Gaussian where its weights are not: they
    are normal, cut off at CUT deviations and brought back to variance 1 / fan_in, as layers are by
    default in Flax. E[cos(w W (z -+ z'))] is then the product over inputs of their characteristic
    functions. In later layers the sum over units makes arguments Gaussian.

    Args:
      features: (places, inputs) z.
      layers: hidden layers L.
      frequency: w.
    """
    fan_in = features.shape[1]
    kernel = features @ features.T / fan_in
    minus, plus = np.ones_like(kernel), np.ones_like(kernel)
    for z in (frequency / math.sqrt(fan_in) * features).T:
        minus *= cut_normal_cosine(z[:, None] - z)
        plus *= cut_normal_cosine(z[:, None] + z)
    theta, sines = kernel, (minus - plus) / 2
    for layer in range(layers):
        if layer:
            own = np.diag(kernel)[:, None] + np.diag(kernel)
            minus = np.exp(-(frequency**2) * np.maximum(own - 2 * kernel, 0.0) / 2)
            plus = np.exp(-(frequency**2) * (own + 2 * kernel) / 2)
            # exp(-x) - exp(-y) without cancellation
            larger = np.where(kernel < 0, -plus, minus)
            sines = -larger * np.expm1(-2 * frequency**2 * np.abs(kernel)) / 2
            theta = kernel + theta
        kernel, theta = sines, frequency**2 * (minus + plus) / 2 * theta
    return kernel, theta


def cut_normal_cosine(x: np.ndarray) -> np.ndarray:
    """E cos(x z), z normal within CUT deviations, scaled to variance 1.

    For a normal z without the scaling, between -c and c: exp(-x²/2) Re erf((c + i x) / sqrt 2) /
    erf(c / sqrt 2), with the Faddeeva function in place of erf, which overflows.
    """
    from scipy.special import wofz  # slow to import

    mass = math.erf(CUT / math.sqrt(2))
    variance = 1 - 2 * CUT * math.exp(-(CUT**2) / 2) / (math.sqrt(2 * math.pi) * mass)
    x = x / math.sqrt(variance)
    edge = wofz((-x + 1j * CUT) / math.sqrt(2)) * np.exp(-CUT * (CUT / 2 + 1j * x))
    return (np.exp(-(x**2) / 2) - edge.real) / mass


def positional_features(taps: int, bands: int) -> np.ndarray:
    """(taps, 2 bands + 1): t, cos(w_j s), -sin(w_j s), w_j even from 1e-4 to bands - 1 turns."""
    s = np.arange(taps)[:, None]
    angles = 2 * np.pi * s / taps * np.linspace(1e-4, max(bands - 1, 1e-4), bands)
    return np.concatenate([s / (taps - 1), np.cos(angles), -np.sin(angles)], axis=1)


def window_rates(channels: int | None, slow: float, fast: float) -> tuple[np.ndarray, np.ndarray]:
    """(rates, weights of their mean): ln(100) / fraction, evenly spaced from slow to fast."""
    first, last = math.log(100) / slow, math.log(100) / fast
    if channels is None:
        unit = gauss_legendre(POINTS)
        return first + (last - first) * unit.nodes, unit.weights
    return np.linspace(first, last, channels), np.full(channels, 1 / channels)


def _normalised(
    factor: np.ndarray, windows: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(mean R, (channels,) E[1 / |k|²]) of k = window factor g, g ~ N(0, I).

    In the eigenbasis of factor^T window² factor the squared norm is a sum of squares.
    """
    total, parts, inverses = np.zeros((len(factor),) * 2), [], []
    for window, weight in zip(windows, weights, strict=True):
        scaled = window[:, None] * factor
        values, vectors = np.linalg.eigh(scaled.T @ scaled)
        inverse, shares = ratios(np.maximum(values, NEGLIGIBLE * values[-1]))
        inverses.append(inverse)
        parts.append(scaled @ (vectors * np.sqrt(weight * shares)))
        if len(parts) * factor.shape[1] >= COLUMNS:
            total, parts = total + _gram(parts), []
    return (total + _gram(parts) if parts else total), np.array(inverses)


def _gram(parts: list[np.ndarray]) -> np.ndarray:
    columns = np.concatenate(parts, axis=1)
    return columns @ columns.T
