"""S4D's taps: damped oscillations with random amplitudes, their step drawn for each channel."""

from __future__ import annotations

import math

import numpy as np

from theory.quadrature import gauss_legendre
from theory.taps.checks import one_of, positive, whole
from theory.taps.moments import Moments, correlated

INITS = ("lin", "inv", "legs", "real")
DISCRETISATIONS = ("zoh", "bilinear")
POINTS = 40  # nodes of a panel
ANGLE = 70.0  # radians by which the phase of a power changes over a panel, at most
DAMPING = 32.0  # a power below exp(-DAMPING) is as good as zero
ZERO = -800.0  # exp(ZERO) is 0
COLUMNS = 4096  # nodes whose taps are held at once


def s4d(
    taps: int,
    *,
    states: int = 64,
    init: str = "lin",
    discretisation: str = "zoh",
    dt_min: float = 1e-3,
    dt_max: float = 1e-1,
) -> Moments:
    """Moments of the taps of S4D over the amplitudes C and the step dt, log-uniform.

        k(l) = 2 Re sum_n C_n B_n A_n^l,    E[|C_n|²] = 1
        R(l, l') = mean over log dt of 2 sum_n |B_n|² Re A_n^l conj(A_n)^l',    T = R

    with A_n and B_n of the discretised system at step dt. C alone counts as trained: the step and
    the poles do not start as zero-mean Gaussians.

    The mean over log dt is by Gauss-Legendre panels, for each pole as many as its phase asks for.
    That is taps² times the nodes in work: in the hundred thousands for 64 states and 1024 taps.

    Args:
      taps: number of lags.
      states: real dimensions of the state, half as many complex poles; all poles real for "real".
      init: "lin", "inv", "legs" or "real".
      discretisation: "zoh" or "bilinear".
      dt_min: least step.
      dt_max: largest step; the same as dt_min for one step.

    Returns:
      Moments with R of shape (taps, taps).

    Raises:
      ValueError: an argument is none of the above; states is odd with complex poles.

    References:
      Gu et al. 2022, On the Parameterization and Initialization of Diagonal State Space Models,
      sections 3 and 4.
    """
    whole(1, taps=taps, states=states)
    one_of(DISCRETISATIONS, discretisation=discretisation)
    positive(dt_min=dt_min, dt_max=dt_max)
    if dt_min > dt_max:
        raise ValueError(f"dt_min is {dt_min}; accepted is at most dt_max = {dt_max}")
    total, parts, held = np.zeros((taps, taps)), [], 0
    for pole in poles(init, states):
        dt, weights = step_rule(pole, taps, discretisation, dt_min, dt_max)
        for first in range(0, len(dt), COLUMNS):
            chunk = slice(first, first + COLUMNS)
            parts.append(_columns(pole, taps, discretisation, dt[chunk], weights[chunk]))
            held += len(dt[chunk])
            if held >= COLUMNS:
                total, parts, held = total + _gram(parts), [], 0
    return correlated(total + _gram(parts) if parts else total)


def poles(init: str, states: int) -> np.ndarray:
    """Continuous poles, complex128: (states / 2,), one of each conjugate pair.

    For "real" they are (states,).

    lin: -1/2 + i pi n. inv: -1/2 + i (N / pi) (N / (2 n + 1) - 1). real: -(n + 1). legs: the
    eigenvalues with positive imaginary part of -1/2 I + S, S skew-symmetric and, below the
    diagonal, -sqrt((n + 1/2) (m + 1/2)).

    Raises:
      ValueError: init is none of these, or states is odd and init not "real".
    """
    one_of(INITS, init=init)
    if init == "real":
        return -np.arange(1.0, states + 1).astype(complex)
    if states % 2:
        raise ValueError(f"states is {states}; accepted is an even number with conjugate poles")
    n = np.arange(states // 2)
    if init == "lin":
        imaginary = np.pi * n
    elif init == "inv":
        imaginary = states / np.pi * (states / (2 * n + 1) - 1)
    else:
        half = np.sqrt(np.arange(states) + 0.5)
        skew = np.tril(-np.outer(half, half), -1)
        imaginary = np.linalg.eigvalsh(-1j * (skew - skew.T))[states // 2 :]
    return -0.5 + 1j * imaginary


def step_rule(
    pole: complex, taps: int, discretisation: str, dt_min: float, dt_max: float
) -> tuple[np.ndarray, np.ndarray]:
    """Steps dt and weights of a mean over log dt, exact for the powers of one pole up to `taps`."""
    if dt_min == dt_max:
        return np.array([dt_min]), np.ones(1)
    octaves = math.ceil(math.log2(dt_max / dt_min))
    coarse = dt_min * (dt_max / dt_min) ** (np.arange(octaves + 1) / octaves)
    log_power = discretised(pole, coarse, discretisation)[0]
    decay = -np.maximum(np.real(log_power)[1:], np.real(log_power)[:-1])
    reach = np.minimum(taps, DAMPING / np.maximum(decay, 1e-300))  # the lags that are not yet zero
    counts = np.ceil(np.abs(np.diff(np.imag(log_power))) * reach / ANGLE).astype(int)
    edges = [
        np.linspace(low, high, max(count, 1), endpoint=False)
        for low, high, count in zip(coarse[:-1], coarse[1:], counts, strict=True)
    ]
    edges = np.concatenate([*edges, [dt_max]])
    unit, widths = gauss_legendre(POINTS), np.diff(edges)[:, None]
    dt = (edges[:-1, None] + widths * unit.nodes).ravel()
    weights = (widths * unit.weights).ravel() / (dt * math.log(dt_max / dt_min))
    return dt, weights


def discretised(
    pole: complex, dt: np.ndarray, discretisation: str
) -> tuple[np.ndarray, np.ndarray]:
    """(log A, B) of one pole in discrete time, both (steps,) complex."""
    scaled = pole * dt
    if discretisation == "zoh":
        return scaled, np.expm1(scaled) / pole
    with np.errstate(divide="ignore"):  # A is 0 at dt = -2 / pole
        log_power = np.log1p(scaled / 2) - np.log1p(-scaled / 2)
    return np.maximum(np.real(log_power), ZERO) + 1j * np.imag(log_power), dt / (1 - scaled / 2)


def _columns(
    pole: complex, taps: int, discretisation: str, dt: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """(taps, steps) complex, z with R = Re z z^H."""
    log_power, gain = discretised(pole, dt, discretisation)
    return np.sqrt(2 * weights) * gain * np.exp(np.arange(taps)[:, None] * log_power)


def _gram(parts: list[np.ndarray]) -> np.ndarray:
    z = np.concatenate(parts, axis=1).view(np.float64)
    return z @ z.T
