"""Gradient descent on the mean squared error, in closed form for all times."""

from __future__ import annotations

from typing import Protocol

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from theory.predict.layout import Axes, Layout
from theory.predict.spectrum import test_change, train_change
from theory.predict.train_kernel import train_kernel


class PredictFn(Protocol):
    """Predictions at any time from outputs at time 0."""

    def __call__(
        self,
        t: float | Array | None = None,
        fx_train_0: float | Array | None = 0.0,
        fx_test_0: float | Array | None = None,
        k_test_train: Array | None = None,
    ) -> Array | tuple[Array, Array]: ...


def check_asked(fx_train_0, fx_test_0, k_test_train) -> None:
    """Refuse calls that ask for nothing, or for what cannot be computed.

    Raises:
      ValueError: both initial outputs are None; test outputs without k_test_train.
    """
    if fx_train_0 is None and fx_test_0 is None:
        raise ValueError("fx_train_0 and fx_test_0 are both None: there is nothing to predict")
    if fx_test_0 is not None and k_test_train is None:
        raise ValueError("fx_test_0 is given, so k_test_train must be too, got None")


def gradient_descent_mse(
    k_train_train: Array,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: Axes = (-1,),
) -> PredictFn:
    """Outputs of a network of constant tangent kernel, trained by gradient flow on squared error.

    With the loss |f - y|^2 / (2 |y|), |y| the number of targets, and A = Theta + diag_reg:

        f_train(t) = f_train(0) + expm1(-eta A t / |y|) (f_train(0) - y)
        f_test(t)  = f_test(0) + Theta_test,train A^-1 expm1(-eta A t / |y|) (f_train(0) - y)

    A is factored at the first call and kept: by Cholesky for t=None, by its eigenvectors for other
    t. `theory.predict.definite` says what becomes of a singular A.

    Args:
      k_train_train: the NTK (or NNGP) of the training set, (n, n), or (n, n, a, a, ..) for outputs
        (n, a, ..), without the `trace_axes`.
      y_train: (n, *outputs), the targets.
      learning_rate: eta, the time of one step.
      diag_reg: strength of the regulariser.
      diag_reg_absolute_scale: whether it is added as it is; else times the mean of the diagonal.
      trace_axes: axes of `y_train` along which the kernel is a constant times the identity.

    Returns:
      predict_fn(t=None, fx_train_0=0., fx_test_0=None, k_test_train=None). t: steps (any real
      number), an array of them in any shape, or None for the limit t -> inf. fx_train_0, fx_test_0:
      outputs at t = 0; None: not wanted. k_test_train: (n_test, n, ..). Gives the training outputs,
      the test outputs, or both as a pair; an array of times adds its axes in front. In the limit
      the training outputs are `y_train`, whatever diag_reg is; for regularised ones pass
      k_test_train=k_train_train.

    Raises:
      ValueError: shapes that do not agree; a kernel that is not finite; negative diag_reg.

    Reference: Lee et al. 2019, Wide neural networks of any depth evolve as linear models, eq. 8-11.
    """
    y_train = jnp.asarray(y_train)
    layout = Layout.of(y_train, trace_axes)
    k_train_train = jnp.asarray(k_train_train)
    dtype = layout.square(k_train_train, "k_train_train").dtype
    y_train = y_train.astype(dtype)
    train = train_kernel(
        lambda: k_train_train, y_train, layout, diag_reg, diag_reg_absolute_scale, "k_train_train"
    )

    def limit(fx_train_0, fx_test_0, k_test_train):
        if fx_test_0 is None:
            return y_train
        start = 0.0 if fx_train_0 is None else fx_train_0
        dual = train.solver().solve(layout.flat(y_train - start))
        change = jnp.matmul(layout.cross(k_test_train), dual, precision="highest")
        fx_test = fx_test_0 + layout.outputs(change, k_test_train.shape[::2])
        return fx_test if fx_train_0 is None else (y_train, fx_test)

    def at(t, fx_train_0, fx_test_0, k_test_train):
        t = jnp.asarray(t, dtype)
        times = t.reshape(-1) * (learning_rate / layout.size)
        start = 0.0 if fx_train_0 is None else jnp.asarray(fx_train_0)
        residual = layout.flat(start - y_train)
        out = []
        if fx_train_0 is not None:
            change = train_change(train.spectrum(), residual, times).reshape(
                *t.shape, *residual.shape
            )
            out.append(fx_train_0 + layout.outputs(change, layout.kept))
        if fx_test_0 is not None:
            change = test_change(train.spectrum(), layout.cross(k_test_train), residual, times)
            change = change.reshape(*t.shape, *change.shape[1:])
            out.append(fx_test_0 + layout.outputs(change, k_test_train.shape[::2]))
        return out[0] if len(out) == 1 else tuple(out)

    def predict_fn(
        t: float | Array | None = None,
        fx_train_0: float | Array | None = 0.0,
        fx_test_0: float | Array | None = None,
        k_test_train: Array | None = None,
    ) -> Array | tuple[Array, Array]:
        check_asked(fx_train_0, fx_test_0, k_test_train)
        if k_test_train is not None:
            k_test_train = jnp.asarray(k_test_train)
        if t is None:
            return limit(fx_train_0, fx_test_0, k_test_train)
        return at(t, fx_train_0, fx_test_0, k_test_train)

    return predict_fn
