"""Gradient descent on any loss, with or without momentum, in function space."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from theory.predict.gradient_descent_mse import check_asked
from theory.predict.layout import Axes, Layout
from theory.predict.once import is_traced
from theory.predict.runge_kutta import Problem, integrate, settle


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ODEState:
    """Outputs and their velocities.

    Attributes:
      fx_train: outputs on the training set.
      fx_test: outputs on the test set.
      qx_train: velocities on the training set, with momentum.
      qx_test: velocities on the test set, with momentum.
    """

    fx_train: Any = None
    fx_test: Any = None
    qx_train: Any = None
    qx_test: Any = None

    def replace(self, **changes: Any) -> ODEState:
        """A copy with other values."""
        return replace(self, **changes)


class Dual(NamedTuple):
    """What moves: integrals of the loss gradient g, so that outputs are linear in them.

    Attributes:
      u: without momentum the integral of g; with it, the integral of v.
      v: with momentum v' = g + m v; else None.
    """

    u: Array
    v: Array | None


def gradient_descent(
    loss: Callable[[Array, Array], Any],
    k_train_train: Array,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    momentum: float | None = None,
    trace_axes: Axes = (-1,),
) -> Callable[..., Any]:
    """Outputs of a network of constant tangent kernel, trained by gradient flow on any loss.

        without momentum     f' = -Theta grad L(f),                   time eta t
        with momentum mu     f' = q,  q' = -Theta grad L(f) + m q,    time sqrt(eta) t,
                             m = (mu - 1) / sqrt(eta)

    Solved by an adaptive Runge-Kutta method 5(4) for the integral of grad L alone: outputs on any
    set are linear in it. Its steps are about 3 / (eta lambda_max(Theta) L''), so that long times
    take many.

    Args:
      loss: (fx, y_train) -> a number.
      k_train_train: the NTK of the training set, (n, n), or (n, n, a, a, ..) for outputs (n, a,
        ..), without the `trace_axes`.
      y_train: (n, *outputs), the targets.
      learning_rate: eta.
      momentum: mu in [0, 1]; None: plain gradient descent.
      trace_axes: axes of `y_train` along which the kernel is a constant times the identity.

    Returns:
      predict_fn(t=None, fx_train_or_state_0=0., fx_test_0=None, k_test_train=None). t: steps, or an
      array of them (its axes come first) in any order; None or inf: until the outputs rest.
      fx_train_or_state_0: training outputs at t = 0 (None: start at 0, not wanted), or an ODEState,
      which makes the result one. fx_test_0: test outputs at t = 0; None: not wanted. k_test_train:
      (n_test, n, ..).

    Raises:
      ValueError: shapes that do not agree, negative times, velocities without momentum.
      RuntimeError (of predict_fn): the solution does not reach a time, or never rests
        (cross-entropy on separable data does not). Under jit: NaN at those times, and a
        RuntimeWarning as it runs.

    Reference: Lee et al. 2019, Wide neural networks of any depth evolve as linear models, sec. 2.2
    and appendix on momentum.
    """
    y_train = jnp.asarray(y_train)
    layout = Layout.of(y_train, trace_axes)
    kernel = layout.square(k_train_train, "k_train_train")
    time_scale = learning_rate if momentum is None else learning_rate**0.5
    m = 0.0 if momentum is None else (momentum - 1.0) / time_scale

    def predict_fn(
        t: float | Array | None = None,
        fx_train_or_state_0: Any = 0.0,
        fx_test_0: float | Array | None = None,
        k_test_train: Array | None = None,
    ) -> Any:
        start = fx_train_or_state_0
        given_state = isinstance(start, ODEState)
        if not isinstance(start, ODEState):
            start = ODEState(start, fx_test_0)
        elif fx_test_0 is not None:
            raise ValueError("fx_test_0 must be None where an ODEState is given, which has it")
        check_asked(start.fx_train, start.fx_test, k_test_train)
        if momentum is None and (start.qx_train is not None or start.qx_test is not None):
            raise ValueError("qx_train and qx_test must be None, as momentum is None")
        k_test_train = None if k_test_train is None else jnp.asarray(k_test_train)
        start = _filled(start, layout, k_test_train, momentum is not None, kernel.dtype)

        times, shape = _times(t, kernel.dtype)
        order = jnp.argsort(times)
        f0 = layout.flat(start.fx_train)
        q0 = None if momentum is None else layout.flat(start.qx_train)
        args = (loss, layout, kernel, y_train, f0, q0, m)
        if is_traced(times) or np.all(np.isfinite(times)):
            dual, reached, got, count = _run(*args, times[order] * time_scale)
        elif not np.isfinite(times).any():
            dual, reached, got, count = _run(*args, None)
            dual = jax.tree.map(lambda x: jnp.repeat(x, times.size, 0), dual)
            reached = jnp.repeat(reached, times.size)
        else:
            raise ValueError(f"t must be finite times or infinity alone, got both: {t}")
        dual = _checked(dual, reached, got / time_scale, count)
        dual = jax.tree.map(lambda x: x[jnp.argsort(order)], dual)

        s = times * time_scale
        out = _outputs(start.fx_train, start.qx_train, dual, s, m, kernel, layout, layout.kept)
        fx_test, qx_test = None, None
        if start.fx_test is not None and k_test_train is not None:
            cross, kept = layout.cross(k_test_train), k_test_train.shape[::2]
            fx_test, qx_test = _outputs(
                start.fx_test, start.qx_test, dual, s, m, cross, layout, kept
            )
        state = ODEState(out[0], fx_test, out[1], qx_test)
        state = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), state)
        if given_state:
            return state
        if fx_test_0 is None:
            return state.fx_train
        if fx_train_or_state_0 is None:
            return state.fx_test
        return state.fx_train, state.fx_test

    return predict_fn


@partial(jax.jit, static_argnums=(0, 1))
def _run(
    loss: Callable,
    layout: Layout,
    kernel: Array,
    y_train: Array,
    f0: Array,
    q0: Array | None,
    m: float | Array,
    times: Array | None,
) -> tuple[Dual, Array, Array, Array]:
    """(dual states, which were reached, time gone, steps); times None: until rest."""
    gradient = jax.grad(lambda fx: loss(fx, y_train))

    def moved(u: Array) -> Array:
        return jnp.matmul(kernel, u, precision="highest")

    def slope(now: Dual, s: Array) -> Dual:
        fx = f0 - moved(now.u)
        if q0 is not None:
            fx = fx + q0 * _coast(m, s)
        g = layout.flat(gradient(layout.outputs(fx, layout.kept)))
        if now.v is None:
            return Dual(g, None)
        return Dual(now.v, g + m * now.v)

    zero = jnp.zeros_like(f0)
    dual0 = Dual(zero, None if q0 is None else zero)
    problem = Problem(slope, dual0, scale_of=lambda now: jax.tree.map(moved, now))
    solution = settle(problem) if times is None else integrate(problem, times)
    return solution.y, solution.reached, solution.t, solution.count


def _coast(m: float | Array, s: Array) -> Array:
    """integral_0^s e^(m r) dr."""
    m = jnp.asarray(m)
    return jnp.where(m == 0, s, jnp.expm1(m * s) / jnp.where(m == 0, 1.0, m))


def _outputs(
    fx_0: Array,
    qx_0: Array | None,
    dual: Dual,
    s: Array,
    m: float | Array,
    kernel: Array,
    layout: Layout,
    kept: tuple[int, ...],
) -> tuple[Array, Array | None]:
    """(f, q) at all times from the integrals of the loss gradient."""

    def moved(u: Array) -> Array:
        return layout.outputs(jnp.matmul(kernel, u, precision="highest"), kept)

    fx = fx_0 - moved(dual.u)
    if qx_0 is None or dual.v is None:
        return fx, None
    column = s.reshape(-1, *(1,) * qx_0.ndim)
    return fx + _carried(qx_0, _coast(m, column)), _carried(qx_0, jnp.exp(m * column)) - moved(
        dual.v
    )


def _carried(qx_0: Array, factor: Array) -> Array:
    """Velocities times a factor, 0 where there was none (inf times 0)."""
    return jnp.where(qx_0 == 0, 0.0, qx_0 * factor)


def _filled(
    state: ODEState, layout: Layout, k_test_train: Array | None, momentum: bool, dtype: Any
) -> ODEState:
    """The state with zeros for what was not given, in full shapes."""

    def full(value, shape):
        return jnp.broadcast_to(jnp.asarray(0.0 if value is None else value, dtype), shape)

    test_shape = layout.test_outputs(k_test_train)
    has_test = state.fx_test is not None
    return ODEState(
        full(state.fx_train, layout.shape),
        full(state.fx_test, test_shape) if has_test else None,
        full(state.qx_train, layout.shape) if momentum else None,
        full(state.qx_test, test_shape) if momentum and has_test else None,
    )


def _times(t: Any, dtype: Any) -> tuple[Array, tuple[int, ...]]:
    t = jnp.asarray(np.inf if t is None else t, dtype)
    if not is_traced(t) and not bool(jnp.all(t >= 0)):
        raise ValueError(f"t must be at least 0, got {t}")
    return t.reshape(-1), t.shape


def _checked(dual: Dual, reached: Array, t: Array, count: Array) -> Dual:
    """The states, if they were reached."""

    def message(t, count) -> str:
        return (
            f"gradient_descent got no further than t = {t:.4g} in {count} steps: the solution "
            "diverges, does not come to rest, or needs more steps; ask for earlier times (t=None "
            "and inf need a loss with a minimum), or lower learning_rate"
        )

    if not is_traced(reached):
        if not bool(reached.all()):
            raise RuntimeError(message(t, count))
        return dual

    def report(all_reached, t, count):
        if not all_reached:
            warnings.warn(message(t, count), RuntimeWarning, stacklevel=2)

    jax.debug.callback(report, reached.all(), t, count)
    return jax.tree.map(lambda x: jnp.where(reached[:, None, None], x, jnp.nan), dual)
