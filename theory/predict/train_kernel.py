"""The kernel of a training set with what is computed from it once: a factor, a spectrum, A^-1 y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from theory.predict.definite import Factor, factorise, half_solve, regularised, solve, solve_with
from theory.predict.layout import Layout
from theory.predict.once import is_traced, once
from theory.predict.spectrum import Spectrum, spectrum


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Solver:
    """A factored A. Where A is traced, solves are differentiable in it too.

    Attributes:
      factor: of A.
      matrix: A where it is traced, else None.
    """

    factor: Factor
    matrix: Array | None

    def solve(self, b: Float[Array, "n columns"]) -> Float[Array, "n columns"]:
        """A^-1 b."""
        if self.matrix is None:
            return solve(self.factor, b)
        return solve_with(self.matrix, self.factor, b)

    def quadratic(self, b: Float[Array, "n columns"]) -> Float[Array, "columns columns"]:
        """b^T A^-1 b."""
        if self.matrix is None:
            half = half_solve(self.factor, b)
            return jnp.matmul(half.T, half, precision="highest")
        return jnp.matmul(b.T, self.solve(b), precision="highest")


@dataclass(frozen=True)
class TrainKernel:
    """What a training kernel K gives, with A = K + diag_reg; each computed at its first call.

    Attributes:
      kernel: K (rows, rows).
      solver: of A.
      spectrum: of A.
      dual: Solver -> A^-1 y (rows, columns).
    """

    kernel: Callable[[], Array]
    solver: Callable[[], Solver]
    spectrum: Callable[[], Spectrum]
    dual: Callable[[Solver], Array]


def train_kernel(
    kernel: Callable[[], Array],
    y_train: Array,
    layout: Layout,
    diag_reg: float,
    absolute: bool,
    name: str,
) -> TrainKernel:
    """The parts of one training kernel.

    Args:
      kernel: gives K in its public shape.
      y_train: the targets.
      layout: of the targets.
      diag_reg: strength of the regulariser.
      absolute: whether it is added as it is.
      name: what errors and warnings call it.
    """

    def square() -> Array:
        return layout.square(kernel(), name)

    def matrix() -> Array:
        return regularised(square(), diag_reg, absolute)

    def make_solver() -> Solver:
        a = matrix()
        return Solver(factorise(a, name), a if is_traced(a) else None)

    solver = once(make_solver)
    known_dual = once(lambda: solver().solve(layout.flat(y_train)))

    def dual(ready: Solver) -> Array:
        return known_dual() if ready.matrix is None else ready.solve(layout.flat(y_train))

    return TrainKernel(square, solver, once(lambda: spectrum(matrix(), name)), dual)
