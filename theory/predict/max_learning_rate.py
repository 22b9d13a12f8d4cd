"""The largest learning rate at which gradient descent on squared error converges."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from theory.predict.layout import square
from theory.predict.once import is_traced
from theory.predict.spectrum import check_finite


def max_learning_rate(
    ntk_train_train: Array,
    y_train_size: int | None = None,
    momentum: float = 0.0,
    eps: float = 1e-12,
) -> float | Array:
    """2 (1 + momentum) |y| / (lambda_max(Theta) + eps).

    The loss is |f - y|^2 / (2 |y|), |y| the number of targets, so that steps are I - eta Theta /
    |y|.

    Args:
      ntk_train_train: the NTK of the training set, (n, n) or (n, n, a, a, ..).
      y_train_size: |y|; None: the side of the kernel's matrix (no axes are traced out).
      momentum: of the optimiser, in [0, 1).
      eps: keeps a kernel of zeros from dividing by 0.

    Returns:
      The learning rate, a float (an array where the kernel is traced).

    Raises:
      ValueError: a kernel whose axes are not in pairs, or that is not finite.

    Reference: Goh 2017, Why momentum really works, The dynamics of momentum.
    """
    matrix = square(ntk_train_train, "ntk_train_train")
    n = matrix.shape[0]
    size = n if y_train_size is None else y_train_size
    if is_traced(matrix):
        largest = jnp.linalg.eigvalsh(matrix)[-1]
        return 2 * (1 + momentum) * size / (largest + eps)
    check_finite(matrix, "ntk_train_train")
    from scipy.linalg import eigvalsh  # slow to import

    largest = eigvalsh(np.asarray(matrix), subset_by_index=[n - 1, n - 1])[-1]
    return 2 * (1 + momentum) * size / (float(largest) + eps)
