"""What the figures are drawn from: plain arrays, no files and no fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from theory import scaling

FLOPS_PER_PARAMETER_TOKEN = 6.0  # C = 6 N D (Kaplan et al. 2020, section 2.1)

State = Literal["finished", "diverged", "unfinished"]


@dataclass(frozen=True)
class Curve:
    """One run's log. Losses in nats per byte, NaN where there is none."""

    run: str
    role: str  # fit, seed, held_out
    N: float  # parameters
    tokens: np.ndarray  # (records,) bytes read so far
    train: np.ndarray  # (records,)
    validation: np.ndarray  # (records,)
    state: State

    @property
    def held_out(self) -> bool:
        return self.role == "held_out"

    def validated(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (bytes) and loss (nats per byte) where the validation loss was taken."""
        keep = np.isfinite(self.validation) & (self.tokens > 0)
        return self.tokens[keep], self.validation[keep]


@dataclass(frozen=True)
class Points:
    """The runs that a law was fitted to: one entry a run."""

    run: tuple[str, ...]
    N: np.ndarray  # parameters
    D: np.ndarray  # tokens (bytes)
    loss: np.ndarray  # final validation loss, nats per byte

    @property
    def C(self) -> np.ndarray:
        """Training compute, FLOPs: 6 N D."""
        return FLOPS_PER_PARAMETER_TOKEN * self.N * self.D


@dataclass(frozen=True)
class HeldOut:
    """A run kept out of the fit: what was predicted for it and, if it ended, what it reached."""

    run: str
    N: float
    D: float
    observed: float | None  # nats per byte
    predicted: float | None  # nats per byte
    low: float | None
    high: float | None
    level: float = 0.95

    @property
    def C(self) -> float:
        """Training compute, FLOPs: 6 N D."""
        return FLOPS_PER_PARAMETER_TOKEN * self.N * self.D

    @property
    def inside(self) -> bool | None:
        """Whether the outcome is inside the interval; None while either is missing."""
        if self.observed is None or self.low is None or self.high is None:
            return None
        return self.low <= self.observed <= self.high

    @property
    def relative_error(self) -> float | None:
        """Predicted / observed - 1; None while either is missing."""
        if self.observed is None or self.predicted is None:
            return None
        return self.predicted / self.observed - 1.0


LEAST_REPLICATES = 20  # fewer say nothing about a 95% interval


def has_bootstrap(law: scaling.Fit) -> bool:
    """Whether the fit has replicates enough for an interval."""
    return law.bootstrap is not None and len(law.bootstrap["E"]) >= LEAST_REPLICATES


def has_frontier(law: scaling.Fit) -> bool:
    """Whether a split of compute is best: no term of the law is switched off."""
    return min(law.params[name] for name in ("A", "B", "alpha", "beta")) > 0


def band(
    law: scaling.Fit, N: Any, D: Any, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray] | None:
    """The law's own interval along (N, D), from its bootstrap; None where there is none."""
    if not has_bootstrap(law):
        return None
    interval = law.interval({"N": N, "D": D}, level=level)
    return interval.low, interval.high


def frontier_quantiles(
    law: scaling.Fit, C: np.ndarray, *, level: float = 0.95
) -> tuple[scaling.Frontier, scaling.Frontier] | None:
    """The band of N*, D* and L* at C (FLOPs); None without a bootstrap."""
    return scaling.frontier_interval(law, C, level=level) if has_bootstrap(law) else None


def ratio_quantiles(
    law: scaling.Fit, C: np.ndarray, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray] | None:
    """The band of D*/N* at C (FLOPs); None without a bootstrap.

    A replicate that has switched a term off has no optimum; it enters as 0 at the low end and as
    infinity at the high end, so that many of them widen the band.
    """
    if law.bootstrap is None or not has_bootstrap(law):
        return None
    usable = np.all([law.bootstrap[n] > 0 for n in ("A", "B", "alpha", "beta")], axis=0)
    best = scaling.frontier({n: v[usable][:, None] for n, v in law.bootstrap.items()}, C)
    lost = np.zeros((int(np.sum(~usable)), len(C)))
    ratio = best.D / best.N
    tail = (1 - level) / 2
    low = np.quantile(np.concatenate([lost, ratio]), tail, axis=0, method="lower")
    high = np.quantile(np.concatenate([ratio, lost + np.inf]), 1 - tail, axis=0, method="higher")
    return low, high
