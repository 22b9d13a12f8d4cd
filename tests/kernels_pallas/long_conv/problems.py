"""Random problems for the long convolution, and its direct sum in NumPy float64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from kernels_pallas import long_conv
from kernels_pallas.long_conv.cases import Case

NAMES = ("u", "k", "k_future", "skip", "pre_gate", "post_gate")


def operands(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays that the case has, by argument name, in float64."""
    rng = np.random.default_rng(seed)
    shape = (case.batch, case.channels, case.length)
    if case.layout == "BLC":
        shape = (case.batch, case.length, case.channels)
    made = {
        "u": rng.standard_normal(shape),
        "k": rng.standard_normal((case.channels, case.taps)),
        "k_future": rng.standard_normal((case.channels, case.future_taps)),
        "skip": rng.standard_normal(case.channels),
        "pre_gate": rng.standard_normal(shape),
        "post_gate": rng.standard_normal(shape),
    }
    has = (True, True, case.future_taps > 0, case.skip, case.pre_gate, case.post_gate)
    return {name: made[name] for name, present in zip(NAMES, has, strict=True) if present}


def cast(arrays: dict[str, np.ndarray], dtype: str = "float32") -> dict:
    """The arrays as JAX arrays of one dtype."""
    return {name: jnp.asarray(value, dtype) for name, value in arrays.items()}


def run(case: Case, arrays: dict, **options):
    """`long_conv` on the case's arrays."""
    return long_conv(**arrays, mode=case.mode, layout=case.layout, **options)


def direct_sum(case: Case, arrays: dict) -> np.ndarray:
    """The definition, a loop over lags, in NumPy float64; shares nothing with the package."""
    get = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
    axes = (0, 1, 2) if case.layout == "BCL" else (0, 2, 1)
    x = (get["u"] * get.get("pre_gate", 1.0)).transpose(axes)
    n = case.length
    y = np.zeros_like(x)
    for s in range(case.taps):
        weight = get["k"][:, s, None]
        y[..., s:] += weight * x[..., : n - s]
        if case.mode == "circular":
            y[..., :s] += weight * x[..., n - s :]
    for s in range(1, min(case.future_taps, n - 1) + 1):
        y[..., : n - s] += get["k_future"][:, s - 1, None] * x[..., s:]
    if "skip" in get:
        y += get["skip"][:, None] * x
    return y.transpose(axes) * get.get("post_gate", 1.0)
