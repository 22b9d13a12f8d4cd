"""What a fit can and cannot tell about its parameters, in a number and in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from theory.scaling.intervals import Covariance

TOGETHER = 0.99  # correlation from which two parameters are said to move together
VAGUE = 2.0  # a factor of uncertainty (95%) from which a positive parameter is said to be vague
POOR = 1e4  # condition number from which it is said


class Identifiability(NamedTuple):
    """How well a design determines a law."""

    condition: float  # of the information matrix with columns of unit length; 1 is best
    sentences: tuple[str, ...]  # what cannot be told, or hardly; empty if all is well determined

    def __str__(self) -> str:
        return "\n".join([f"condition number {self.condition:.3g}", *self.sentences])


def report(
    params: dict[str, float], covariance: Covariance, notes: tuple[str, ...]
) -> Identifiability:
    """Sentences from the notes of a fit and its covariance.

    Args:
      params: the fitted parameters.
      covariance: theirs.
      notes: of the fit; what no number of runs like these can tell.
    """
    out = list(notes)
    error = np.sqrt(np.maximum(np.diag(covariance.matrix), 0.0))
    blind = bool(notes) and covariance.condition > 1e6
    for i, name in enumerate(covariance.names):
        if blind or error[i] == 0:
            continue
        if covariance.logarithm[i]:
            factor = float(np.exp(min(1.96 * error[i], 700.0)))
            if factor > VAGUE:
                shown = f"{factor:.2g}" if factor < 1e4 else f"10^{np.log10(factor):.0f}"
                out.append(f"{name} is known to within a factor of {shown} only (95%)")
        elif 1.96 * error[i] > abs(params[name]):
            out.append(
                f"the sign of {name} is not known: {params[name]:.2g} ± {1.96 * error[i]:.2g} (95%)"
            )
    if not blind:
        out += _together(covariance, error)
    if covariance.condition > POOR:
        out.append(
            f"condition number {covariance.condition:.1e}: some parameters are nearly exchangeable"
        )
    return Identifiability(covariance.condition, tuple(out))


def _together(covariance: Covariance, error: np.ndarray) -> list[str]:
    """Pairs whose errors are so correlated that neither means much alone."""
    out = []
    for i, first in enumerate(covariance.names):
        for j in range(i + 1, len(covariance.names)):
            if error[i] == 0 or error[j] == 0:
                continue
            rank = covariance.matrix[i, j] / error[i] / error[j]
            if abs(rank) < TOGETHER:
                continue
            names = [
                f"log {n}" if covariance.logarithm[k] else n
                for k, n in ((i, first), (j, covariance.names[j]))
            ]
            ratio = float(np.sign(rank) * error[i] / error[j])
            out.append(
                f"flat direction: {names[0]} moves by {ratio:.3g} for each unit of {names[1]} "
                f"(correlation {rank:.4f}) with little change of the fit"
            )
    return out
