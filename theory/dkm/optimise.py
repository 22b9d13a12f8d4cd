"""The Gram matrices that maximise the objective of a full deep kernel machine.

Algorithm. In the coordinates of `parametrise`, L-BFGS (optax) with backtracking until the gradient
is small or values no longer change by more than their rounding; there a search by values is blind,
and leaves an error of the square root of that rounding. Then truncated Newton steps: conjugate
gradients on Hessian-vector products, kept while they make the gradient smaller and the value no
worse. All of it is one program; nothing is done step by step in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from theory.dkm.objective import (
    KernelLike,
    Machine,
    Objective,
    checked_grams,
    diagnosis,
    machine_of,
)
from theory.dkm.parametrise import Learned, count, pack, unpack
from theory.predict.once import is_traced

MEMORY = 20  # steps that L-BFGS remembers
CALM = 4  # steps in a row that change the value by no more than its rounding
FARTHEST = 2.0  # that a coordinate moves in a step: beyond lie flat regions of no interest
SHORTEST = 1e-9  # of a quasi-Newton step
SHORTEST_NEWTON = 0.01
NEWTON_STEPS = 30
CG_STEPS = 200


class Fitted(NamedTuple):
    """Gram matrices at the optimum, and how well it was reached.

    Attributes:
      grams: G_1 .. G_L.
      objective: there.
      converged: whether the gradient came below the tolerance.
      steps: of L-BFGS and Newton.
      gradient_norm: largest entry of the gradient in the coordinates of `parametrise`.
      condition_numbers: (L + 1,) of K_1 .. K_L and of the outputs' covariance, noise included.
    """

    grams: tuple[Float[Array, "p p"], ...]
    objective: Objective
    converged: Bool[Array, ""]
    steps: Int[Array, ""]
    gradient_norm: Float[Array, ""]
    condition_numbers: Float[Array, "layers_and_one"]


class _Descent(NamedTuple):
    flat: Array  # the last good point
    value: Array  # minus the objective
    gradient: Array
    direction: Array
    length: Array  # along the direction, of the next trial
    memory: Any  # of L-BFGS
    steps: Array
    calm: Array  # steps in a row without a change
    broken: Array  # the last trial was not finite


class _Newton(NamedTuple):
    flat: Array
    gradient: Array
    norm: Array
    direction: Array
    length: Array
    steps: Array


def fit_grams(
    G0: ArrayLike,
    Y: ArrayLike,
    *,
    depth: int,
    kernel: KernelLike | Sequence[KernelLike],
    nu: float | ArrayLike,
    noise_variance: float | ArrayLike,
    jitter: float | ArrayLike = 1e-6,
    start: Sequence[ArrayLike] | None = None,
    steps: int = 5000,
    tolerance: float | None = None,
) -> Fitted:
    """Maximise `objective` over G_1 .. G_L.

    Layers with nu = inf are not moved: their G is K, and at nu = inf everywhere the result is the
    NNGP.

    Args:
      G0: (P, P), the inputs' Gram matrix.
      Y: (P,) or (P, C), targets.
      depth: L, at least 0.
      kernel: as in `objective`.
      nu: as in `objective`. Where it is traced every layer is learned, and it must be finite.
      noise_variance: s².
      jitter: of every K.
      start: L Gram matrices to start from, such as the `state` of a Diverged; None is the NNGP.
        Where one is singular to working precision its smallest eigenvalues are raised.
      steps: of L-BFGS, at most.
      tolerance: on the largest entry of the gradient; by default 1e-9 in float64 and 1e-3 in
        float32, times 1 + the number of targets.

    Returns:
      A Fitted, all NaN under jit where a matrix is not positive definite at the start. `converged`
      is False where `steps` or the precision did not suffice.

    Raises:
      ValueError: as `objective`; depth or steps negative, a start of another shape.
      Diverged: where the inputs are known, a matrix that is not positive definite, or values that
        are not finite; `state` has the last good Gram matrices.
    """
    if not (isinstance(depth, int | np.integer) and depth >= 0):
        raise ValueError(f"depth must be a whole number, at least 0, got {depth!r}")
    if not (isinstance(steps, int | np.integer) and steps >= 0):
        raise ValueError(f"steps must be a whole number, at least 0, got {steps!r}")
    machine = machine_of(
        G0, Y, int(depth), kernel=kernel, nu=nu, noise_variance=noise_variance, jitter=jitter
    )
    learned: Learned = (True,) * int(depth)
    if not is_traced(nu):
        prices = np.broadcast_to(np.asarray(nu, np.float64), (int(depth),))
        learned = tuple(bool(np.isfinite(price)) for price in prices)
    if tolerance is None:
        double = machine.G0.dtype == jnp.float64
        tolerance = (1e-9 if double else 1e-3) * (1 + machine.Y.size)
    if start is None:
        flat = jnp.zeros(count(machine, learned), machine.G0.dtype)
    else:
        given = checked_grams(machine, tuple(start), "start")
        flat = _packed(machine, given, learned)
        if not is_traced(flat) and not bool(jnp.isfinite(flat).all()):
            given = tuple(_raised(G) for G in given)
            flat = _packed(machine, given, learned)
            if not bool(jnp.isfinite(flat).all()):
                raise diagnosis(machine, given, step=0)
    fitted, broken = _run(machine, flat, tolerance, int(steps), learned)
    if not is_traced(fitted) and bool(broken):
        good = fitted.grams if np.isfinite(fitted.objective.value) else None
        raise diagnosis(machine, fitted.grams, int(fitted.steps), good)
    return fitted


@jax.jit(static_argnums=2)
def _packed(machine: Machine, grams: tuple[Array, ...], learned: Learned) -> Array:
    return pack(machine, grams, learned)


def _raised(G: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """G with its eigenvalues at least 4 P eps times the largest."""
    values, vectors = jnp.linalg.eigh(G)
    values = jnp.maximum(values, 4 * len(G) * jnp.finfo(G.dtype).eps * values[-1])
    return jnp.matmul(vectors * values, vectors.T, precision="highest")


@jax.jit(static_argnames="learned")
def _run(
    machine: Machine, flat: Array, tolerance: float | Array, steps: int | Array, learned: Learned
) -> tuple[Fitted, Array]:
    def loss(flat):
        return -unpack(machine, flat, learned)[1].value

    size, taken, broken = jnp.zeros((), flat.dtype), jnp.zeros((), int), jnp.array(False)
    if flat.size:
        descent = _descend(loss, flat, tolerance, steps)
        flat, gradient, newton = _newton(loss, descent)
        taken, size = descent.steps + newton, jnp.abs(gradient).max()
        broken = descent.broken
    grams, found = unpack(machine, flat, learned)
    numbers = _conditions(machine, grams)
    # Short of an optimum at a step that is not finite, or at the edge of what can be solved.
    broken = broken | (numbers.max() > 0.1 / jnp.finfo(flat.dtype).eps)
    broken = (broken & ~(size <= tolerance)) | ~jnp.isfinite(found.value)
    return Fitted(grams, found, size <= tolerance, taken, size, numbers), broken


def _descend(loss, flat: Array, tolerance, steps) -> _Descent:
    """L-BFGS; each round of the loop tries one point, so that `loss` is compiled once."""
    import optax  # slow to import

    precondition = optax.scale_by_lbfgs(MEMORY)
    rounding = 4 * jnp.finfo(flat.dtype).eps
    value_and_grad = jax.value_and_grad(loss)

    def go_on(state: _Descent):
        far = ~(jnp.abs(state.gradient).max() <= tolerance)
        calm = (state.calm >= CALM) | (state.length < SHORTEST)
        return far & ~calm & (state.steps < steps)

    def step(state: _Descent) -> _Descent:
        flat = state.flat + state.length * state.direction
        value, gradient = value_and_grad(flat)
        finite = jnp.isfinite(value) & jnp.isfinite(gradient).all()
        slope = state.length * (state.gradient * state.direction).sum()
        noise = rounding * jnp.abs(state.value)
        good = finite & (~jnp.isfinite(state.value) | (value <= state.value + 1e-4 * slope + noise))
        steps = state.steps + 1

        def accept():
            curved = ((flat - state.flat) * (gradient - state.gradient)).sum() > 0
            fresh = precondition.init(flat)
            memory = jax.tree.map(lambda a, b: jnp.where(curved, a, b), state.memory, fresh)
            found, memory = precondition.update(gradient, memory, flat)
            downhill = jnp.asarray(found)
            leap = jnp.abs(downhill).max()
            downhill = downhill * jnp.minimum(1.0, FARTHEST / jnp.maximum(leap, FARTHEST))
            still = jnp.abs(value - state.value) <= noise
            return _Descent(
                flat, value, gradient, -downhill, jnp.ones_like(state.length),
                memory, steps, jnp.where(still, state.calm + 1, 0), jnp.array(False),
            )  # fmt: skip

        def shorten():
            first = ~jnp.isfinite(state.value)  # there is no shorter way to a start
            length = jnp.where(first, 0.0, state.length * 0.3)
            return state._replace(length=length, steps=steps, broken=~finite)

        return lax.cond(good, accept, shorten)

    zero = jnp.zeros((), int)
    start = _Descent(
        flat, jnp.array(jnp.inf, flat.dtype), jnp.full_like(flat, jnp.inf), jnp.zeros_like(flat),
        jnp.ones((), flat.dtype), precondition.init(flat), zero - 1, zero, jnp.array(False),
    )  # fmt: skip  # the first round looks at the start: it is no step
    return lax.while_loop(go_on, step, start)


def _newton(loss, descent: _Descent) -> tuple[Array, Array, Array]:
    """(where, gradient, steps): Newton steps while they make the gradient smaller.

    As above, each round tries one point: that of the direction found before it.
    """
    # As good as the value was, to rounding: a smaller gradient alone may be that of a flat region.
    enough = descent.value + 1e3 * jnp.finfo(descent.flat.dtype).eps * jnp.abs(descent.value)

    def go_on(state: _Newton):
        return (state.length >= SHORTEST_NEWTON) & (state.steps < NEWTON_STEPS)

    def step(state: _Newton) -> _Newton:
        flat = state.flat + state.length * state.direction
        (value, gradient), change = jax.linearize(jax.value_and_grad(loss), flat)
        norm = jnp.linalg.norm(gradient)
        good = (norm < 0.9 * state.norm) & (value <= enough)  # False where NaN

        def hessian(v):
            return change(v)[1]

        def accept():
            found, _ = jax.scipy.sparse.linalg.cg(hessian, -gradient, tol=1e-4, maxiter=CG_STEPS)
            one = jnp.ones_like(state.length)
            return _Newton(flat, gradient, norm, found, one, state.steps + 1)

        return lax.cond(good, accept, lambda: state._replace(length=state.length * 0.2))

    start = _Newton(
        descent.flat, descent.gradient, jnp.array(jnp.inf, descent.flat.dtype),
        jnp.zeros_like(descent.flat), jnp.ones_like(descent.length), jnp.zeros((), int),
    )  # fmt: skip
    done = lax.while_loop(go_on, step, start)
    return done.flat, done.gradient, jnp.maximum(done.steps - 1, 0)


def _conditions(machine: Machine, grams: Sequence[Array]) -> Array:
    numbers, last = [], len(machine.kernels)
    for layer, G in enumerate((machine.G0, *grams), start=1):
        K = machine.prior(layer, G)
        if layer == last:
            K = K + machine.noise_variance * jnp.eye(len(K), dtype=K.dtype)
        spectrum = jnp.linalg.eigvalsh(K)
        ratio = spectrum[-1] / spectrum[0]
        numbers.append(jnp.where(spectrum[0] <= 0, jnp.inf, ratio))
    return jnp.stack(numbers)
