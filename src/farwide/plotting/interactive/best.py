"""The best split of compute for the figures: or a sentence that says why there is none."""

from __future__ import annotations

import numpy as np

from farwide.fitting.best_split import LEAST_REPLICATES, BestSplit, best_split
from theory import scaling


def has_replicates(fit: scaling.Fit) -> bool:
    """Whether there are bootstrap replicates enough for a band."""
    draws = fit.bootstrap
    return draws is not None and len(next(iter(draws.values()))) >= LEAST_REPLICATES


def best_of(fit: scaling.Fit, C: np.ndarray, *, level: float = 0.95) -> BestSplit | str:
    """N*, D* and the law at C (FLOPs), with bands, or why no split is best."""
    try:
        return best_split(fit, C, level=level)
    except ValueError as error:
        return f"{str(error)[0].upper()}{str(error)[1:]}."
