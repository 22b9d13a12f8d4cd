"""Kernel regression on training sets that are too big to factor, by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from theory.predict.conjugate_gradient import CGSolution, conjugate_gradient
from theory.predict.kernel_products import kernel_column, kernel_diagonal, kernel_matvec, size
from theory.predict.pivoted_cholesky import pivoted_cholesky
from theory.predict.preconditioner import pivoted_cholesky_preconditioner


class KernelRidgeRegression(NamedTuple):
    """A fitted regression.

    Attributes:
      predict_fn: x_test -> the mean at x_test, (test, *outputs).
      solution: of (K + noise I) x = y, with its residuals.
      noise: what was added to the diagonal.
      low_rank_error: tr(K - F F^T) / tr K of the preconditioner's factor; 1 without one.
    """

    predict_fn: Callable[..., Array]
    solution: CGSolution
    noise: Array
    low_rank_error: float


def kernel_ridge_regression(
    kernel_fn: Callable[..., Any],
    x_train: Any,
    y_train: ArrayLike,
    *,
    get: str = "ntk",
    diag_reg: float,
    diag_reg_absolute_scale: bool = False,
    rank: int = 100,
    tile: int | None = None,
    rtol: float | None = None,
    max_steps: int | None = None,
    callback: Callable[[int, Array], None] | None = None,
    **kernel_fn_kwargs: Any,
) -> KernelRidgeRegression:
    """The mean of `gp_inference`, K_*d (K + noise I)^-1 y, where K is never held.

    Each step computes the kernel anew, tile by tile: memory is a tile's, time is half a kernel's a
    step. Preconditioned by a pivoted Cholesky factor, rank columns of K.

    Args:
      kernel_fn: (x1, x2, get, **kwargs) -> (N1, N2).
      x_train: (n, ..), or a tree of such.
      y_train: (n, *outputs), the targets.
      get: "nngp" or "ntk".
      diag_reg: strength of the regulariser, > 0.
      diag_reg_absolute_scale: whether it is added as it is; else times the mean of the diagonal.
      rank: of the preconditioner; 0: none.
      tile: examples of a side of a tile; None: 4096.
      rtol, max_steps, callback: of `conjugate_gradient`.
      **kernel_fn_kwargs: for `kernel_fn`.

    Returns:
      A KernelRidgeRegression.

    Raises:
      ValueError: diag_reg is not positive; y_train has another number of examples; rank < 0.
    """
    y_train = jnp.asarray(y_train)
    n = size(x_train)
    if not diag_reg > 0:
        raise ValueError(
            f"diag_reg must be positive, as the kernel may be singular; got {diag_reg}"
        )
    if y_train.ndim == 0 or y_train.shape[0] != n:
        raise ValueError(f"y_train must have {n} examples, as x_train; got shape {y_train.shape}")
    if rank < 0:
        raise ValueError(f"rank must be at least 0, got {rank}")
    diagonal = kernel_diagonal(kernel_fn, x_train, get, **kernel_fn_kwargs)
    noise = jnp.asarray(diag_reg * (1.0 if diag_reg_absolute_scale else diagonal.mean()))
    preconditioner, error = None, 1.0
    if rank:
        column = kernel_column(kernel_fn, x_train, get, **kernel_fn_kwargs)
        low_rank = pivoted_cholesky(diagonal, column, min(rank, n))
        error = float(low_rank.error / low_rank.trace)
        if low_rank.pivots.size:
            preconditioner = pivoted_cholesky_preconditioner(low_rank.factor, noise)
    matvec = kernel_matvec(
        kernel_fn, x_train, None, get, shift=noise, tile=tile, **kernel_fn_kwargs
    )
    solution = conjugate_gradient(
        matvec,
        y_train.reshape(n, -1).astype(diagonal.dtype),
        preconditioner=preconditioner,
        rtol=rtol,
        max_steps=max_steps,
        callback=callback,
    )

    def predict_fn(x_test: Any) -> Array:
        product = kernel_matvec(kernel_fn, x_test, x_train, get, tile=tile, **kernel_fn_kwargs)
        return product(solution.x).reshape(size(x_test), *y_train.shape[1:])

    return KernelRidgeRegression(predict_fn, solution, noise, error)
