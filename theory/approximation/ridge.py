"""Linear regression on features: what a kernel regression becomes under an approximate kernel."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from theory.predict.definite import factorise
from theory.predict.gp_inference import Gaussian
from theory.predict.train_kernel import Solver


def feature_regression(
    features_train: Float[Array, "n m"],
    y_train: Float[Array, "n *outputs"],
    features_test: Float[Array, "test m"],
    noise: float | Array,
) -> Gaussian:
    """The posterior of y = Phi w + sqrt(noise) e, w ~ N(0, I).

        mean Phi_* B^-1 Phi^T y,   cov noise Phi_* B^-1 Phi_*^T,   B = Phi^T Phi + noise I

    That of `gp_inference` with the kernel Phi Phi^T and diag_reg = noise (absolute), at a cost of
    n m^2. The covariance knows nothing of what the features leave out, and is too small by that.

    Args:
      features_train: Phi (n, m).
      y_train: (n,) or (n, outputs).
      features_test: Phi_* (test, m).
      noise: > 0.

    Returns:
      Gaussian(mean (test, *outputs), covariance (test, test)).

    Raises:
      ValueError: noise is not positive, or shapes that do not agree.
    """
    y_train = jnp.asarray(y_train)
    if not noise > 0:
        raise ValueError(f"noise must be positive, got {noise}")
    n, m = features_train.shape
    if y_train.ndim == 0 or y_train.shape[0] != n or features_test.shape[1] != m:
        raise ValueError(
            f"features_train (n, m), y_train (n, ..) and features_test (test, m) must agree, got "
            f"{features_train.shape}, {y_train.shape}, {features_test.shape}"
        )
    b = jnp.matmul(features_train.T, features_train, precision="highest") + noise * jnp.eye(m)
    solver = Solver(factorise(b, "Phi^T Phi + noise I"), None)
    right = jnp.matmul(features_train.T, y_train.reshape(n, -1), precision="highest")
    mean = jnp.matmul(features_test, solver.solve(right), precision="highest")
    cov = noise * solver.quadratic(features_test.T)
    return Gaussian(mean.reshape(-1, *y_train.shape[1:]), cov)
