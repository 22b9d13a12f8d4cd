"""Random problems for the long convolution; its direct sum and gradients in NumPy float64."""

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


def direct_gradients(case: Case, arrays: dict, g: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient of sum(g * y) for each array, sums over lags in NumPy float64.

    With x = pre u, gc = post g (k zero beyond its taps; circular: indices modulo the length):

        dx[t] = sum_s k[s] gc[t+s] + sum_s k_future[s-1] gc[t-s] + skip gc[t]
        dk[s] = sum_{b,t} gc[t] x[t-s],   dk_future[s-1] = sum_{b,t} gc[t] x[t+s]
        dskip = sum_{b,t} gc x,   du = pre dx,   dpre = u dx,   dpost = g (y / post)
    """
    axes = (0, 1, 2) if case.layout == "BCL" else (0, 2, 1)
    wide = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
    signals = {name: wide[name].transpose(axes) for name in wide if wide[name].ndim == 3}
    u, pre, post = signals["u"], signals.get("pre_gate", 1.0), signals.get("post_gate", 1.0)
    g = np.asarray(g, np.float64).transpose(axes)
    x, gc, n = pre * u, post * g, case.length
    k, k_future = wide["k"], wide.get("k_future")
    dx, dk = np.zeros_like(x), np.zeros_like(k)
    for s in range(case.taps):
        dx[..., : n - s] += k[:, s, None] * gc[..., s:]
        dk[:, s] = np.einsum("bct,bct->c", gc[..., s:], x[..., : n - s])
        if case.mode == "circular":
            dx[..., n - s :] += k[:, s, None] * gc[..., :s]
            dk[:, s] += np.einsum("bct,bct->c", gc[..., :s], x[..., n - s :])
    made = {"k": dk}
    if k_future is not None:
        made["k_future"] = np.zeros_like(k_future)
        for s in range(1, min(case.future_taps, n - 1) + 1):
            dx[..., s:] += k_future[:, s - 1, None] * gc[..., : n - s]
            made["k_future"][:, s - 1] = np.einsum("bct,bct->c", gc[..., : n - s], x[..., s:])
    if "skip" in wide:
        dx += wide["skip"][:, None] * gc
        made["skip"] = np.einsum("bct,bct->c", gc, x)
    made["u"] = (pre * dx).transpose(axes)
    if "pre_gate" in wide:
        made["pre_gate"] = (u * dx).transpose(axes)
    if "post_gate" in wide:
        ungated = direct_sum(case, {name: a for name, a in wide.items() if name != "post_gate"})
        made["post_gate"] = g.transpose(axes) * ungated
    return {name: made[name] for name in arrays}
