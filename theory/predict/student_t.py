"""Scale mixtures of Gaussian processes: wide networks whose last layer has a random variance."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jaxtyping import Float

from theory.predict.definite import factorise, half_solve, log_determinant
from theory.predict.gp_inference import symmetric
from theory.predict.once import is_traced
from theory.predict.train_kernel import Solver


class StudentT(NamedTuple):
    """A multivariate t over the outputs at test inputs.

    Attributes:
      log_marginal: log density of the training targets.
      df: degrees of freedom.
      mean: of the outputs (the location), (test,) or (test, outputs).
      scale: (test, test), the matrix that a covariance is to a Gaussian; of each output. (test,),
        its diagonal, where K_test was. The covariance is df / (df - 2) scale.
    """

    log_marginal: Float[Array, ""]
    df: Array
    mean: Array
    scale: Array


def student_t(
    K_train: Float[Array, "n n"],
    K_cross: Float[Array, "test n"],
    K_test: Array,
    y: Array,
    *,
    a: float | Array,
    b: float | Array,
) -> StudentT:
    """Evidence and predictions of f | sigma^2 ~ GP(0, sigma^2 K), sigma^2 ~ InvGamma(a, b).

    With q = y^T K^-1 y and n values y (over all outputs, which share one sigma^2):

        log p(y) = a log b - lnG(a) + lnG(a + n/2) - (a + n/2) log(b + q/2)
                   - n/2 log 2 pi - (outputs / 2) logdet K
        f_* | y  ~ MVT(df 2a + n, mean K_*d K^-1 y,
                       scale (b + q/2) / (a + n/2) (K_** - K_*d K^-1 K_d*))

    One scale is shared by all values: this is a multivariate t, and not independent ones.
    Differentiable in every argument. Where K_train is singular to working precision, its smallest
    eigenvalues are raised and a warning is given (`theory.predict.definite`).

    Args:
      K_train: (n, n), noise included.
      K_cross: (test, n).
      K_test: (test, test), or its diagonal (test,).
      y: (n,) or (n, outputs), the targets; outputs are independent given sigma^2.
      a: shape of the prior, > 0.
      b: scale of the prior, > 0. E[sigma^2] = b / (a - 1); b / a = 1 keeps the Gaussian limit.

    Returns:
      A StudentT.

    Raises:
      ValueError: shapes that do not agree, a or b not positive, a K_train that is not finite.

    Reference: Lee, Yun, Nam, Fong, Lee 2022, Scale mixtures of neural network Gaussian processes.
    """
    for name, value in (("a", a), ("b", b)):
        if not is_traced(value) and not np.all(np.asarray(value) > 0):
            raise ValueError(f"{name} must be positive, got {value}")
    K_train, K_cross, K_test = (jnp.asarray(k) for k in (K_train, K_cross, K_test))
    dtype = jnp.promote_types(K_train.dtype, jnp.float32)
    K_train = K_train.astype(dtype)
    y = jnp.asarray(y, dtype)
    n, test = y.shape[0] if y.ndim else 0, K_cross.shape[0] if K_cross.ndim else 0
    if y.ndim not in (1, 2) or n == 0:
        raise ValueError(f"y must have shape (n,) or (n, outputs), got {y.shape}")
    for name, k, shapes in (
        ("K_train", K_train, ((n, n),)),
        ("K_cross", K_cross, ((test, n),)),
        ("K_test", K_test, ((test, test), (test,))),
    ):
        if k.shape not in shapes:
            accepted = " or ".join(map(str, shapes))
            raise ValueError(
                f"{name} must have shape {accepted}, as y has {y.shape}; got {k.shape}"
            )

    factor = factorise(K_train, "K_train", raise_small=True)
    solver = Solver(factor, K_train if is_traced(K_train) else None)
    columns = y.reshape(n, -1)
    dual = solver.solve(columns)
    q = jnp.vdot(columns, dual)
    half_count = columns.size / 2
    log_marginal = (
        a * jnp.log(b)
        - gammaln(a)
        + gammaln(a + half_count)
        - (a + half_count) * jnp.log(b + q / 2)
        - half_count * np.log(2 * np.pi)
        - columns.shape[1] / 2 * log_determinant(K_train, factor)
    )
    mean = jnp.matmul(K_cross, dual, precision="highest").reshape(test, *y.shape[1:])
    if K_test.ndim == 2:
        covariance = symmetric(K_test - solver.quadratic(K_cross.T))
    elif solver.matrix is None:
        covariance = K_test - (half_solve(factor, K_cross.T) ** 2).sum(0)
    else:
        covariance = K_test - (K_cross.T * solver.solve(K_cross.T)).sum(0)
    scale = (b + q / 2) / (a + half_count) * covariance
    return StudentT(log_marginal, jnp.asarray(2 * a + columns.size, dtype), mean, scale)
