"""Losses along gradient descent, from one eigendecomposition: when to stop."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from theory.predict.definite import regularised
from theory.predict.layout import Axes, Layout
from theory.predict.spectrum import Spectrum, decay, integral, spectrum

POINTS = 200


class EarlyStopping(NamedTuple):
    """Curves over time.

    Attributes:
      t: (times,), ascending, in steps.
      train_loss: (times,), mean over the training targets of (f - y)^2 / 2.
      test_loss: (times,), of the test targets.
      best_t: where test_loss is least.
      best_test_loss: that value.
    """

    t: Float[Array, "times"]
    train_loss: Float[Array, "times"]
    test_loss: Float[Array, "times"]
    best_t: Float[Array, ""]
    best_test_loss: Float[Array, ""]


def early_stopping(
    k_train_train: Array,
    y_train: ArrayLike,
    k_test_train: Array,
    y_test: ArrayLike,
    t: Array | None = None,
    *,
    fx_train_0: float | Array = 0.0,
    fx_test_0: float | Array = 0.0,
    learning_rate: float = 1.0,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: Axes = (-1,),
) -> EarlyStopping:
    """Training and test losses of gradient flow on squared error, at many times.

    With Theta = V diag(lambda) V^T, r = f_train(0) - y, w = V^T r and |y| targets,

        train_loss(t) = |exp(-eta lambda t / |y|) w|^2 / (2 |y|)
        test_loss(t) = |f_test(0) - y_test - Theta_*d V I(t) w|^2 / (2 |y_test|)

    n^3 once; then each time costs n for the training loss and n_test n for the test loss.

    Args:
      k_train_train, y_train, learning_rate, diag_reg, diag_reg_absolute_scale, trace_axes: as of
        `gradient_descent_mse`.
      k_test_train: (n_test, n, ..) kernel between test and training outputs.
      y_test: (n_test, *outputs), the test targets.
      t: (times,) steps, ascending; None: 0 and 200 more, from where the fastest mode moves by a
        hundredth to where the slowest one above rounding (or 1e8 times slower) is within e^-5.
      fx_train_0, fx_test_0: outputs at t = 0.

    Returns:
      The curves, and the best of the times.

    Raises:
      ValueError: shapes that do not agree, times that are negative or not ascending, a kernel that
        is not finite.

    Reference: Lee et al. 2019, eq. 8-11; Yao, Rosasco, Caponnetto 2007, On early stopping in
    gradient descent learning.
    """
    y_train, y_test, k_test_train = (jnp.asarray(v) for v in (y_train, y_test, k_test_train))
    layout = Layout.of(y_train, trace_axes)
    square = layout.square(k_train_train, "k_train_train")
    expected = layout.test_outputs(k_test_train)
    cross = layout.cross(k_test_train)
    if y_test.shape != expected:
        raise ValueError(f"y_test must have shape {expected}, as k_test_train; got {y_test.shape}")
    matrix = regularised(square, diag_reg, diag_reg_absolute_scale)
    found = spectrum(matrix, "k_train_train")
    rate = learning_rate / layout.size
    times = _grid(found, rate) if t is None else _checked(t, found.values.dtype)
    residual = layout.flat(jnp.asarray(fx_train_0) - y_train).astype(found.values.dtype)
    at_test = Layout(y_test.shape, layout.trace_axes)
    test_residual = at_test.flat(jnp.asarray(fx_test_0) - y_test).astype(found.values.dtype)
    train_loss, test_loss = _losses(found, cross, residual, test_residual, times * rate)
    best = jnp.argmin(test_loss)
    return EarlyStopping(times, train_loss, test_loss, times[best], test_loss[best])


@partial(jax.jit)
def _losses(
    found: Spectrum, cross: Array, residual: Array, test_residual: Array, times: Array
) -> tuple[Array, Array]:
    modes = jnp.matmul(found.vectors.T, residual, precision="highest")
    moved = jnp.matmul(cross, found.vectors, precision="highest")

    def at(time: Array) -> tuple[Array, Array]:
        left = (1 + decay(found.values, time))[:, None] * modes
        change = jnp.matmul(moved, integral(found, time)[:, None] * modes, precision="highest")
        return jnp.mean(left**2) / 2, jnp.mean((test_residual - change) ** 2) / 2

    return lax.map(at, times, batch_size=16)


def _grid(found: Spectrum, rate: float) -> Array:
    top = jnp.maximum(found.values[-1], jnp.finfo(found.values.dtype).tiny)
    floor = jnp.maximum(found.cutoff, 1e-8 * top)
    slowest = jnp.min(jnp.where(found.values > floor, found.values, top))
    ends = jnp.log(0.01 / (top * rate)), jnp.log(5 / (slowest * rate))
    grid = jnp.exp(jnp.linspace(*ends, POINTS))
    return jnp.concatenate([jnp.zeros(1, grid.dtype), grid]).astype(found.values.dtype)


def _checked(t: Array, dtype) -> Array:
    known = np.asarray(t)
    if known.ndim != 1 or known.size == 0 or not np.all(known >= 0) or np.any(np.diff(known) < 0):
        raise ValueError(f"t must be a list of times >= 0 in ascending order, got {t}")
    return jnp.asarray(known, dtype)
