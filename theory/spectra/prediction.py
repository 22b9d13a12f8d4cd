"""A learning curve predicted from a kernel on real data, with a band: before anything is trained.

from theory.spectra import predicted_curve
found = predicted_curve(K, y, [32, 64, 128, 256], ridge=0.01)  # K on M points that are not used
found.test, found.low, found.high  # again
found.exponent  # of E ~ n^-exponent, with an interval
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from theory.spectra.eigenlearning import learning_curve
from theory.spectra.spectrum import Spectrum, empirical_spectrum, spectrum
from theory.spectra.tail import extend_tail

NOTHING = 1e-12  # of the target's power: an error that is rounding
STEP = 0.02  # in log n, of the differences that local exponents are


class Interval(NamedTuple):
    """A number and the interval about it."""

    value: float
    low: float
    high: float


class PredictedCurve(NamedTuple):
    """A predicted learning curve and its band.

    Attributes:
      n: (points,) training examples, ascending.
      test: (points,) predicted mean squared test error, summed over the target's columns: that of
        `learning_curve` on all M points, less the bias of a finite M.
      low, high: (points,) the band about it: that of the estimate from M points, nothing else.
      local: (points,) local exponents -d log E / d log n.
      local_low, local_high: (points,) their band.
      exponent: -slope of the least-squares line of log E against log n over `fitted`.
      fitted: (n_lo, n_hi), the range of that line.
      shift: (points,) mean log E from subsamples less log E from all points, at the same n. The
        bias that is taken off is m/(M - m) times this; where it is larger than the band, M is too
        small for that n.
      from_tail: (points,) whether the point comes from a power-law tail (else `population=M`).
      replicates: (subsamples, points) predictions of the subsamples.
      points: M.
      subsample: m, points of a subsample.
      confidence: of all intervals.
    """

    n: Float[np.ndarray, "points"]
    test: Float[np.ndarray, "points"]
    low: Float[np.ndarray, "points"]
    high: Float[np.ndarray, "points"]
    local: Float[np.ndarray, "points"]
    local_low: Float[np.ndarray, "points"]
    local_high: Float[np.ndarray, "points"]
    exponent: Interval
    fitted: tuple[float, float]
    shift: Float[np.ndarray, "points"]
    from_tail: Bool[np.ndarray, "points"]
    replicates: Float[np.ndarray, "subsamples points"]
    points: int
    subsample: int
    confidence: float


class _Curves(NamedTuple):
    """log E at n, and local exponents there."""

    log_test: np.ndarray
    local: np.ndarray


def log_log_exponent(n, error) -> Float[np.ndarray, "..."]:
    """-slope of the least-squares line of log error against log n, over the last axis.

    The line is not weighted, so that a predicted and a measured curve at the same n are asked the
    same question even where neither is a power law.

    Args:
      n: (points,) two or more different examples counts, > 0.
      error: (..., points) errors > 0.

    Raises:
      ValueError: shapes do not fit, fewer than two different n, or a value is not above zero.
    """
    n, error = np.asarray(n, np.float64), np.asarray(error, np.float64)
    if n.ndim != 1 or error.ndim < 1 or error.shape[-1] != len(n) or len(np.unique(n)) < 2:
        raise ValueError(
            f"n must be (points,) with two or more different values and error (..., points), got "
            f"{n.shape} and {error.shape}"
        )
    if not ((n > 0).all() and np.isfinite(n).all() and (error > 0).all()):
        raise ValueError(f"n and error must be > 0, the least are {n.min()} and {error.min()}")
    return -(np.log(error) @ slope_weights(n))


def slope_weights(n: np.ndarray) -> np.ndarray:
    """(points,) w with sum_i w_i log E_i the slope of the least-squares line against log n."""
    x = np.log(np.asarray(n, np.float64))
    x = x - x.mean()
    return x / (x @ x)


def predicted_curve(
    K: Float[np.ndarray, "M M"],
    y: np.ndarray,
    n,
    *,
    ridge: float = 0.0,
    noise: float = 0.0,
    subsamples: int = 20,
    fraction: float = 0.5,
    bias: Literal["removed", "kept"] = "removed",
    confidence: float = 0.95,
    fit: tuple[float, float] | None = None,
    tail: tuple[int, int] | None = None,
    seed: int = 0,
) -> PredictedCurve:
    """Test error of kernel regression at each n, from a kernel and targets on M other points.

    **Centre.** `learning_curve(empirical_spectrum(K, y), n, ridge=ridge, population=M)`, the error
    at points outside the n. The points of K must be held out from what the prediction is compared
    with. Noise beyond what y holds adds noise/M to the power of each of the M modes.

    **Bias.** A spectrum of M points says too much or too little by about b/M. Parts of m points
    (below) are off by b/m, so that their mean gives b away, and the jackknife takes it off:

        log E = log E_M - m/(M - m) * (mean over parts of log E_m - log E_M),

    and likewise of local exponents and the slope. Measured against the prediction of four times as
    many points, M = 704 and n = 128, six kernels on Fashion-MNIST and MNIST-1D: 0.7% to 3.5% too
    high as it is, within 0.6% without the bias. Where the curve is steep and n above M/5 it takes
    off too much (digits, M = 300, n = 64: 0.0% and +3.7% ± 2.2%). Not where a tail is extended.

    **Band.** The same on `subsamples` random parts of m = fraction M points each, drawn without
    replacement (`population=m`). For an estimate whose variance falls as 1/M, parts of m scatter
    about one another with variance sigma^2 (1/m - 1/M), while the estimate from all M has
    sigma^2/M; so the scatter is scaled by the delete-d jackknife's factor,

        Var[log E_M] = m/(M - m) * Var_parts[log E_m],   1 for halves,

    and the band is log E +- t * root of it, with t Student's quantile of subsamples - 1. A bias
    from few parts has (m/(M - m))^2 Var_parts / subsamples of its own, which is added. The same
    holds for the local exponents and the slope. The band is the error of estimating from M points.
    It does not hold the scatter of a measured training set or test set, nor an error of the
    equations themselves (real eigenvectors are no random rotation).

    **Beyond.** A part of m points has no prediction for n >= m. With `tail`, such n are predicted
    from `extend_tail`ed spectra (modes first to last of all points; of a part the same range times
    m/M, at least 8 modes), which is an assumption and biased by more; `from_tail` marks them.

    Args:
      K: (M, M) Gram matrix, float64, of points drawn from the distribution.
      y: (M,) or (M, columns) targets.
      n: (points,) different numbers of training examples; sorted here.
      ridge: delta >= 0 in (K + delta I)^-1 y with the n x n Gram matrix, in the units of K (not
        divided by n). 0 is the limit to zero.
      noise: variance of label noise added to y, at training and test points, summed over columns.
      subsamples: parts, >= 2.
      fraction: m/M in (0, 1).
      bias: "removed", or "kept": the curve of the M points as they are.
      confidence: of the intervals, in (0, 1).
      fit: (n_lo, n_hi) of the overall exponent; all n that come from no tail where None.
      tail: (first, last) modes that a tail is fitted to; None raises where n >= m.
      seed: of the choice of parts.

    Raises:
      ValueError: as `empirical_spectrum`, `learning_curve` and `extend_tail`; an argument is out of
        range; n reaches m without a tail; the range `fit` holds fewer than two n, or n with and
        without a tail; a predicted error is zero.

    References:
      Shao and Wu 1989, A General Theory for Jackknife Variance Estimation (delete-d, section 2).
      Quenouille 1956, Notes on Bias in Estimation.
      Bordelon, Canatar and Pehlevan 2020; Simon et al. 2023 (the curve: `learning_curve`).
    """
    from scipy import stats

    K, y = np.asarray(K, np.float64), np.asarray(y, np.float64)
    s = empirical_spectrum(K, y)
    M = len(K)
    m = round(fraction * M) if 0 < fraction < 1 else 0
    n = np.unique(np.asarray(n, np.float64))
    _check(n, M, m, fraction, subsamples, confidence, ridge, noise, tail)
    if bias not in ("removed", "kept"):
        raise ValueError(f'bias must be "removed" or "kept", got {bias!r}')
    from_tail = n >= m
    fitted, inside = _range(n, from_tail, fit)

    rng = np.random.default_rng(seed)
    every = _curves(s, n, from_tail, m, ridge, noise, tail, 1.0)
    parts = []
    for _ in range(subsamples):
        chosen = np.sort(rng.permutation(M)[:m])
        part = empirical_spectrum(K[np.ix_(chosen, chosen)], y[chosen])
        parts.append(_curves(part, n, from_tail, m, ridge, noise, tail, m / M))
    logs = np.stack([part.log_test for part in parts])
    local = np.stack([part.local for part in parts])

    odds = m / (M - m)
    taken = odds * ~from_tail if bias == "removed" else np.zeros(len(n))
    shift, local_shift = logs.mean(0) - every.log_test, local.mean(0) - every.local
    log_test, exponents = every.log_test - taken * shift, every.local - taken * local_shift

    reach = float(stats.t.ppf(0.5 + 0.5 * confidence, subsamples - 1))
    reach = reach * np.sqrt(odds + taken**2 / subsamples)  # (points,)
    half, local_half = reach * logs.std(0, ddof=1), reach * local.std(0, ddof=1)
    weights = -slope_weights(n[inside])
    slope = float(log_test[inside] @ weights)
    slope_half = float(reach[inside][0] * (logs[:, inside] @ weights).std(ddof=1))
    return PredictedCurve(
        n=n,
        test=np.exp(log_test),
        low=np.exp(log_test - half),
        high=np.exp(log_test + half),
        local=exponents,
        local_low=exponents - local_half,
        local_high=exponents + local_half,
        exponent=Interval(slope, slope - slope_half, slope + slope_half),
        fitted=fitted,
        shift=shift,
        from_tail=from_tail,
        replicates=np.exp(logs),
        points=M,
        subsample=m,
        confidence=confidence,
    )


def _check(n, M, m, fraction, subsamples, confidence, ridge, noise, tail) -> None:
    if n.ndim != 1 or not len(n) or not (np.isfinite(n).all() and (n > 0).all()):
        raise ValueError(f"n must be finite and > 0, got {n}")
    if not 2 <= m <= M - 1:
        raise ValueError(
            f"fraction must leave between 2 and M - 1 = {M - 1} points, got {fraction} of {M}"
        )
    if subsamples < 2:
        raise ValueError(f"subsamples must be at least 2, got {subsamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    for name, value in (("ridge", ridge), ("noise", noise)):
        if np.ndim(value) or not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be one finite number >= 0, got {value}")
    if n[-1] >= m and tail is None:
        raise ValueError(
            f"n = {n[-1]:g} is not below the {m} points of a subsample (fraction {fraction} of "
            f"{M}): give more points, a larger fraction, or a tail=(first, last)"
        )


def _range(n, from_tail, fit) -> tuple[tuple[float, float], np.ndarray]:
    """The range of the overall exponent, and which n are inside."""
    if fit is None:
        inside = ~from_tail if (~from_tail).sum() >= 2 else np.ones_like(from_tail)
    else:
        inside = (n >= fit[0]) & (n <= fit[1])
    if inside.sum() < 2:
        raise ValueError(f"the exponent needs two or more n, got {n[inside]} within {fit}")
    if len(set(from_tail[inside])) > 1:
        raise ValueError(
            f"n from {n[inside][0]:g} to {n[inside][-1]:g} are predicted with and without a tail; "
            f"fit must be on one side of {n[from_tail][0]:g}"
        )
    return (float(n[inside][0]), float(n[inside][-1])), inside


def _curves(s: Spectrum, n, from_tail, m, ridge, noise, tail, scale) -> _Curves:
    """Predictions of one spectrum; `scale` is its share of all points."""
    M = len(s.eigenvalues)
    step = np.full(len(n), STEP)
    step[~from_tail] = np.minimum(STEP, 0.5 * np.log(m / n[~from_tail]))
    at = np.stack([n * np.exp(-step), n, n * np.exp(step)])
    test = np.empty_like(at)
    if (~from_tail).any():
        noisy = spectrum(s.eigenvalues, s.coefficients + noise / M)
        curve = learning_curve(noisy, at[:, ~from_tail], ridge=ridge, population=M)
        test[:, ~from_tail] = curve.test
    if from_tail.any():
        first, last = (max(1, round(scale * mode)) for mode in tail)
        extended = extend_tail(s, first, max(last, first + 7)).spectrum
        curve = learning_curve(extended, at[:, from_tail], ridge=ridge, noise=noise)
        test[:, from_tail] = curve.test
    good = (test > NOTHING * s.power) & np.isfinite(test)
    if not good.all():
        where = n[~good.all(0)]
        raise ValueError(
            f"the predicted error is zero or infinite at n = {where}: the kernel has rank "
            f"{s.rank:g}"
        )
    logs = np.log(test)
    return _Curves(logs[1], (logs[0] - logs[2]) / (2 * step))
