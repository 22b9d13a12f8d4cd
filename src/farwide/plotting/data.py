"""What the figures are drawn from: plain arrays, no files and no fitting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

FLOPS_PER_PARAMETER_TOKEN = 6.0  # C = 6 N D (Kaplan et al. 2020, section 2.1)

State = Literal["finished", "diverged", "unfinished"]


class Law(Protocol):
    """The part of `theory.scaling.Fit` that a figure reads."""

    @property
    def params(self) -> dict[str, float]: ...
    @property
    def bootstrap(self) -> Mapping[str, np.ndarray] | None: ...
    @property
    def residuals(self) -> np.ndarray: ...
    def predict(self, data: Any) -> np.ndarray: ...
    def interval(self, data: Any = None, *, level: float = 0.95, **kwargs: Any) -> Any: ...


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


def draws(law: Law) -> dict[str, np.ndarray] | None:
    """The bootstrap replicates of the parameters that are finite, or None without any."""
    if law.bootstrap is None:
        return None
    columns = {name: np.asarray(values, float) for name, values in law.bootstrap.items()}
    keep = np.all([np.isfinite(values) for values in columns.values()], axis=0)
    if keep.sum() < 20:
        return None
    return {name: values[keep] for name, values in columns.items()}


def band(law: Law, N: Any, D: Any, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray] | None:
    """The law's own interval along (N, D), from its bootstrap; None where there is none."""
    if draws(law) is None:
        return None
    N, D = np.broadcast_arrays(np.asarray(N, float), np.asarray(D, float))
    interval = law.interval({"N": N.ravel(), "D": D.ravel()}, level=level)
    return np.asarray(interval.low), np.asarray(interval.high)
