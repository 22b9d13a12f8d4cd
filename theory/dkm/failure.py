"""The error of a deep kernel machine whose matrices stop being covariances."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.typing import ArrayLike

ADVICE = (
    "a larger jitter or float64 helps; so do, in the sparse form, stochastic kernel regularisation "
    "(skr) and the Taylor KL"
)


class Diverged(FloatingPointError):
    """A matrix is not positive definite, or a value not finite.

    Attributes:
      layer: what went wrong first, as a user would write it.
      condition_number: of that layer's matrix; inf where it is not positive definite, NaN where it
        has entries that are not finite.
      step: steps that went well before it; 0 where nothing could be started.
      state: the last good state, to start again from; None where there is none.
    """

    layer: str
    condition_number: float
    step: int
    state: Any

    def __init__(
        self, layer: str, condition_number: float, step: int, state: Any = None, *, what: str = ""
    ):
        self.layer = layer
        self.condition_number = float(condition_number)
        self.step = int(step)
        self.state = state
        kept = "There is no good state yet" if state is None else "`state` has the last good one"
        super().__init__(
            f"{layer} diverged at step {self.step}{f' ({what})' if what else ''}: condition number "
            f"{self.condition_number:.1e}. {kept}; {ADVICE}"
        )

    def __reduce__(self):
        # The base class would be rebuilt from the message alone.
        return _rebuilt, (self.layer, self.condition_number, self.step, self.state, str(self))


def _rebuilt(layer: str, number: float, step: int, state: Any, message: str) -> Diverged:
    made = Diverged(layer, number, step, state)
    made.args = (message,)
    return made


def condition_number(matrix: ArrayLike) -> float:
    """Largest over smallest eigenvalue of (A + A^T) / 2, in float64.

    Args:
      matrix: (n, n).

    Returns:
      The number; inf where A is not positive definite, NaN where an entry is not finite.
    """
    values = np.asarray(matrix, np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not len(values):
        raise ValueError(f"matrix must be square and not empty, got shape {values.shape}")
    if not np.isfinite(values).all():
        return float("nan")
    spectrum = np.linalg.eigvalsh((values + values.T) / 2)
    return float(spectrum[-1] / spectrum[0]) if spectrum[0] > 0 else float("inf")
