"""The sharpest direction of a minibatch's loss, and the learning rate that it allows.

A batch Hessian is the full one plus sampling noise. With P parameters, B examples a batch and noise
entries of variance sigma^2/B the noise alone has eigenvalues up to 2 sigma sqrt(P/B), and an
eigenvalue l_1 of the full Hessian is seen only above half of that.

Networks have noise of lower rank than either form here assumes, and larger top eigenvalues at small
batches; measure them with `lanczos_spectrum` where the number itself matters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Numbers = Float[np.ndarray, "..."]


def batch_hessian_eigenvalue(l1, sigma, parameters, batch) -> Numbers:
    """Largest eigenvalue of a batch Hessian whose sampling noise is a Wigner matrix.

        l_max(B) = l_1 + (P/B) sigma^2/l_1   if l_1 > sigma sqrt(P/B)
                 = 2 sigma sqrt(P/B)         else

    Args:
      l1: largest eigenvalue of the full Hessian, > 0, loss / parameter^2.
      sigma: standard deviation of an off-diagonal entry of one example's Hessian, >= 0, as l1.
      parameters: P > 0.
      batch: B > 0, drawn independently. For B of N without replacement give B (N - 1)/(N - B).

    Raises:
      ValueError: an argument is out of its range.

    References:
      Granziol, Zohren and Roberts 2022, Learning Rates as a Function of Batch Size (JMLR 23);
      Benaych-Georges and Nadakuditi 2011, The eigenvalues and eigenvectors of finite, low rank
      perturbations of large random matrices.
    """
    l1, sigma, parameters, batch = _checked(l1=l1, sigma=sigma, parameters=parameters, batch=batch)
    edge = sigma * np.sqrt(parameters / batch)
    return np.where(l1 > edge, l1 + edge**2 / l1, 2 * edge)


def batch_gauss_newton_eigenvalue(l1, sigma2, parameters, batch) -> Numbers:
    """Largest eigenvalue of (1/B) sum g g^T, where E[g g^T] is sigma2 I with one larger value l_1.

        l_max(B) = l_1 (1 + c sigma2/(l_1 - sigma2))   if l_1 > sigma2 (1 + sqrt(c)),   c = P/B
                 = sigma2 (1 + sqrt(c))^2              else

    Args:
      l1: largest eigenvalue of the mean, > 0.
      sigma2: the others, >= 0.
      parameters: P > 0.
      batch: B > 0, vectors g of a batch, independent.

    Raises:
      ValueError: an argument is out of its range.

    References:
      Granziol, Zohren and Roberts 2022 (generalised Gauss-Newton); Baik and Silverstein 2006,
      Eigenvalues of large sample covariance matrices of spiked population models.
    """
    l1, sigma2, parameters, batch = _checked(
        l1=l1, sigma=sigma2, parameters=parameters, batch=batch
    )
    c = parameters / batch
    above = l1 > sigma2 * (1 + np.sqrt(c))
    gap = np.where(above, l1 - sigma2, 1.0)
    return np.where(above, l1 * (1 + c * sigma2 / gap), sigma2 * (1 + np.sqrt(c)) ** 2)


def sgd_learning_rate(batch_eigenvalue) -> Numbers:
    """2/l_max, the largest learning rate at which gradient descent on a quadratic does not diverge.

    Against the batch size, from the two forms above: without end it saturates at 2/l_1. With
    Gauss-Newton noise it is 2B/(P sigma2) for B far below P, linear in B, which is the rule of
    Goyal et al. 2017. With Wigner noise it is sqrt(B/P)/sigma where the noise hides l_1, and
    above that rises by at most a factor of two.

    Args:
      batch_eigenvalue: of `batch_hessian_eigenvalue` or `batch_gauss_newton_eigenvalue`, > 0.

    Raises:
      ValueError: it is not above zero.
    """
    value = np.asarray(batch_eigenvalue, np.float64)
    if not (value > 0).all():
        raise ValueError(f"batch_eigenvalue must be > 0, the least is {value.min()}")
    return 2 / value


def adam_learning_rate(sigma, parameters, batch) -> Numbers:
    """1/(sigma sqrt(P/B)): sqrt(B) until the batch is all of the data.

    Preconditioned by its estimate of the curvature, an adaptive method moves as fast along the
    directions of the bulk as along the outliers; what bounds its step is the width of the bulk of a
    batch Hessian, 2 sigma sqrt(P/B), which only the batch size narrows. It is a rule of
    proportion: the constant depends on the method's damping, so take it from one tuned batch size.

    Args:
      sigma, parameters, batch: as `batch_hessian_eigenvalue`; sigma > 0.

    Raises:
      ValueError: an argument is out of its range.

    References:
      Granziol, Zohren and Roberts 2022, Learning Rates as a Function of Batch Size (JMLR 23).
    """
    _, sigma, parameters, batch = _checked(l1=1.0, sigma=sigma, parameters=parameters, batch=batch)
    if not (sigma > 0).all():
        raise ValueError("sigma must be > 0, got 0")
    return 1 / (sigma * np.sqrt(parameters / batch))


def scaled_learning_rate(rate: float, tuned: float, batch, eigenvalue) -> Numbers:
    """A learning rate tuned at one batch size, for others: rate l_max(tuned)/l_max(batch).

    Args:
      rate: that was tuned, > 0.
      tuned: its batch size, > 0.
      batch: others, > 0.
      eigenvalue: batch size -> l_max, such as `partial(batch_hessian_eigenvalue, l1, sigma, P)`.

    Raises:
      ValueError: rate is not above zero, or eigenvalue says so.
    """
    if not rate > 0:
        raise ValueError(f"rate must be > 0, got {rate}")
    return rate * np.asarray(eigenvalue(tuned)) / np.asarray(eigenvalue(batch))


def _checked(**given) -> list[np.ndarray]:
    """Arguments as float64; all > 0 but sigma, which may be 0."""
    arrays = []
    for name, value in given.items():
        array = np.asarray(value, np.float64)
        least = "sigma" == name
        if not (np.isfinite(array).all() and ((array >= 0) if least else (array > 0)).all()):
            raise ValueError(f"{name} must be finite and {'>= 0' if least else '> 0'}, got {value}")
        arrays.append(array)
    return arrays
