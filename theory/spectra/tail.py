"""Power laws of a spectrum: exponents with their uncertainty, and a tail beyond what was measured.

Source and capacity: l_i ~ i^-(1+a), v_i^2 ~ i^-(1+b).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from theory.spectra.spectrum import Spectrum, spectrum

BINS = 16  # of a range of indices, in equal steps of log i
BLOCKS = 60  # of an extended tail, a decade
SPAN = 1e12  # an extended tail ends at this times its first index


class Exponent(NamedTuple):
    """The exponent e of a power law i^-(1+e) over a range of indices.

    Attributes:
      value: e.
      error: standard error from the scatter of binned means about the line.
      bend: e of the upper half of the range less that of the lower half (halves of log i): far
        above `error` means that the range is no power law.
      amplitude: of the fitted line at i = 1.
    """

    value: float
    error: float
    bend: float
    amplitude: float


class Exponents(NamedTuple):
    """Exponents of a spectrum over the modes first .. last.

    Attributes:
      a: of the eigenvalues, l_i ~ i^-(1+a).
      b: of the coefficients, v_i^2 ~ i^-(1+b).
      first, last: modes of the range, the first of all being 1.
    """

    a: Exponent
    b: Exponent
    first: int
    last: int


class Extended(NamedTuple):
    """A spectrum with a power-law tail, and what was assumed of it.

    Attributes:
      spectrum: modes 1 .. last as they were, then the tail in blocks of alike modes.
      a, b: exponents of the tail, set by its mass.
      fitted: exponents of the range first .. last, to compare with: where they are far from a and b
        the tail is no continuation of the range.
    """

    spectrum: Spectrum
    a: float
    b: float
    fitted: Exponents


def exponents(s: Spectrum, first: int, last: int) -> Exponents:
    """Exponents of eigenvalues and coefficients over the modes first .. last.

    Both are averaged in 16 bins of equal width in log i (fewer where there are fewer modes), and a
    line is fitted through log mean against log i. Coefficients scatter from mode to mode, so that
    a line through their logs would be low.

    Args:
      s: modes of multiplicity one over the range.
      first, last: 1 <= first < last <= modes. Of a spectrum measured on M points, leave out the
        first few modes and the last: sampling flattens them, from M/10 on where the law is
        steep and from M/100 on where it is as shallow as a = 0.2.

    Raises:
      ValueError: the range is not inside the spectrum, is shorter than 8 modes, or holds a mode of
        higher multiplicity or an eigenvalue or a bin of coefficients that is zero.

    References:
      Caponnetto and De Vito 2007, Optimal Rates for the Regularized Least-Squares Algorithm
      (source and capacity); Bahri et al. 2024, Explaining Neural Scaling Laws (1 + a_K).
    """
    if not 1 <= first < last <= len(s.eigenvalues) or last - first < 7:
        raise ValueError(
            f"first and last must be 8 or more modes between 1 and {len(s.eigenvalues)}, "
            f"got {first} and {last}"
        )
    if (s.multiplicity[:last] != 1).any():
        raise ValueError(f"modes 1 to {last} must have multiplicity one, as measured ones have")
    i = np.arange(first, last + 1)
    lines = []
    for values, name in ((s.eigenvalues, "eigenvalue"), (s.coefficients, "coefficient")):
        lines.append(_line(i, values[first - 1 : last], name))
    return Exponents(lines[0], lines[1], first, last)


def _binned(i: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log of the mean of values, and of the geometric mean of i, in bins of log i."""
    edges = np.unique(np.round(np.geomspace(i[0], i[-1] + 1, BINS + 1)).astype(int))
    starts = edges[:-1] - i[0]
    counts = np.diff(np.append(starts, len(i)))
    mean = np.add.reduceat(values, starts) / counts
    x = np.add.reduceat(np.log(i), starts) / counts
    with np.errstate(divide="ignore"):
        return x, np.log(mean)


def _line(i: np.ndarray, values: np.ndarray, name: str) -> Exponent:
    x, y = _binned(i, values)
    if not np.isfinite(y).all():
        raise ValueError(f"{name}s must be above zero over modes {i[0]} to {i[-1]}")

    def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
        dx = x - x.mean()
        k = float(dx @ y / (dx @ dx))
        left = y - y.mean() - k * dx
        error = np.sqrt(left @ left / max(len(x) - 2, 1) / (dx @ dx))
        return k, float(error), float(np.exp(y.mean() - k * x.mean()))

    k, error, amplitude = slope(x, y)
    half = x > 0.5 * (x[0] + x[-1])
    bend = slope(x[~half], y[~half])[0] - slope(x[half], y[half])[0]
    return Exponent(-k - 1, error, bend, amplitude)


def extend_tail(s: Spectrum, first: int, last: int) -> Extended:
    """Replaces the modes above `last` by power laws that hold the same mass.

    What it does, exactly: modes 1 .. last stay. The lines fitted over first .. last
    (`exponents`) give the values at i = last, l* and v*^2. The tail is

        l_i = l* (i/last)^-(1+a),   v_i^2 = v*^2 (i/last)^-(1+b),   i > last

    with a and b chosen so that sum l and sum v^2 are those of the given spectrum, which are
    unbiased where modes are not (`empirical_spectrum`):

        a = last l* / (sum_{i>last} l_i),   b = last v*^2 / (sum_{i>last} v_i^2)

    (sums as integrals). Modes are put in blocks, 60 a decade, that hold the integral of their
    piece; the last block takes all that is beyond 1e12 `last`, so no mass is lost: mass in modes
    that small acts as a ridge, and such power as noise.

    The tail is an assumption. It does not undo the bias of the kept modes; for n below the M points
    of the spectrum `population=M` needs no tail and is the better prediction. Use this beyond M.

    Args:
      s: a measured spectrum.
      first, last: range of the fit; `last` at about M/30 to M/10 of a spectrum on M points.

    Returns:
      Extended: the spectrum, the exponents of its tail and the fitted ones.

    Raises:
      ValueError: as `exponents`; or nothing is left above `last`.
    """
    fitted = exponents(s, first, last)
    ends, masses = [], []
    for values, line, name in (
        (s.eigenvalues * s.multiplicity, fitted.a, "eigenvalues"),
        (s.coefficients, fitted.b, "coefficients"),
    ):
        mass = float(values[last:].sum())
        if mass <= 0:
            raise ValueError(f"{name} above mode {last} must hold something, they sum to {mass}")
        masses.append(mass)
        ends.append(line.amplitude * last ** -(1 + line.value))
    a, b = (last * end / mass for end, mass in zip(ends, masses, strict=True))
    edges = np.geomspace(1.0, SPAN, int(np.log10(SPAN)) * BLOCKS + 1)
    counts = np.diff(edges) * last
    pieces = []
    for exponent, mass in ((a, masses[0]), (b, masses[1])):
        beyond = mass * edges**-exponent  # above each edge
        part = beyond[:-1] - beyond[1:]
        part[-1] += beyond[-1]
        pieces.append(part)
    extended = spectrum(
        np.append(s.eigenvalues[:last], pieces[0] / counts),
        np.append(s.coefficients[:last], pieces[1]),
        np.append(s.multiplicity[:last], counts),
    )
    return Extended(extended, a, b, fitted)
