"""The Gaussian process posterior of infinitely wide networks."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from theory.predict.layout import Axes, Layout, covariance, paired, square
from theory.predict.train_kernel import Solver, TrainKernel, train_kernel

Get = str | Sequence[str] | None


class Gaussian(NamedTuple):
    """A Gaussian over outputs.

    Attributes:
      mean: of the outputs' shape.
      covariance: of the kernel's shape, its axes in pairs.
    """

    mean: Array
    covariance: Array


def names_of(get: Get, accepted: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """(names in lower case, whether one was asked for as a string); None means nngp and ntk.

    Raises:
      ValueError: an unknown name, one twice, or none at all.
    """
    if get is None:
        return ("nngp", "ntk"), False
    names = tuple(name.lower() for name in ((get,) if isinstance(get, str) else get))
    if not names or len(set(names)) < len(names) or not set(names) <= set(accepted):
        raise ValueError(
            f"get must be one of {', '.join(accepted)}, a tuple of them or None; got {get!r}"
        )
    return names, isinstance(get, str)


@lru_cache
def _named_tuple(names: tuple[str, ...]) -> type:
    return namedtuple("Gaussians", names)  # type: ignore[misc]


def packed(results: dict[str, Any], single: bool) -> Any:
    """The only result, or a named tuple of all."""
    return (
        next(iter(results.values())) if single else _named_tuple(tuple(results))(*results.values())
    )


def part(kernel: Any, name: str, argument: str) -> Array:
    """The array `name` of a kernel, which may be that array itself.

    Raises:
      ValueError: it has none.
    """
    if isinstance(kernel, jax.Array | np.ndarray):
        return jnp.asarray(kernel)
    found = getattr(kernel, name, None)
    if found is None:
        raise ValueError(
            f"{argument} must have {name!r} (an array of {argument}.{name}), got {kernel!r:.80}"
        )
    return jnp.asarray(found)


def gp_inference(
    k_train_train: Any,
    y_train: ArrayLike,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: Axes = (-1,),
) -> Callable[..., Any]:
    """Mean and covariance of the posterior at test inputs.

    With K the NNGP, Theta the NTK, T = Theta_test,train A^-1 and A = K or Theta, plus diag_reg:

        nngp, ntkgp   mean A_*d A^-1 y,  cov A_** - A_*d A^-1 A_d*
        ntk           mean T y,          cov K_** + T K T^T - (T K_d* + transpose)

    "nngp" is the exact posterior of a Bayesian network, "ntk" the distribution of an ensemble of
    networks trained by gradient flow to the end, "ntkgp" the posterior with the NTK as the prior.
    Factors are computed at the first call and kept; `theory.predict.definite` says what becomes of
    a singular kernel.

    Args:
      k_train_train: an array, or a named tuple or Kernel with `nngp`, `ntk`: (n, n), or (n, n, a,
        a, ..) for outputs (n, a, ..), without the `trace_axes`.
      y_train: (n, *outputs), the targets.
      diag_reg: strength of the regulariser (the variance of the noise on the targets).
      diag_reg_absolute_scale: whether it is added as it is; else times the mean of the diagonal.
      trace_axes: axes of `y_train` along which the kernel is a constant times the identity.

    Returns:
      predict_fn(get=None, k_test_train=None, k_test_test=None): means, or Gaussians where
      k_test_test is given. get: "nngp", "ntk", "ntkgp", a tuple of them (a named tuple is
      returned), or None for ("nngp", "ntk"). k_test_train None means the training set itself, where
      mean and covariance are `y_train` and 0. The covariance of "ntk" needs `nngp` and `ntk` in
      both kernels.

    Raises:
      ValueError: shapes that do not agree, a kernel that lacks what is needed, an unknown `get`.

    Reference: Lee et al. 2019, eq. 14-16; He et al. 2020, Bayesian deep ensembles via the NTK
    (ntkgp).
    """
    y_train = jnp.asarray(y_train)
    layout = Layout.of(y_train, trace_axes)
    train = {
        name: train_kernel(
            lambda name=name: part(k_train_train, name, "k_train_train"),
            y_train,
            layout,
            diag_reg,
            diag_reg_absolute_scale,
            "k_train_train",
        )
        for name in ("nngp", "ntk")
    }

    def predict_fn(get: Get = None, k_test_train: Any = None, k_test_test: Any = None) -> Any:
        names, single = names_of(get, ("nngp", "ntk", "ntkgp"))
        if k_test_test is not None and k_test_train is not None and "ntk" in names:
            _check_both(k_train_train, "k_train_train")
            _check_both(k_test_train, "k_test_train")
        results = {
            name: posterior(name, train, layout, y_train, k_test_train, k_test_test)
            for name in names
        }
        return packed(results, single)

    return predict_fn


def posterior(
    get: str,
    train: Mapping[str, TrainKernel],
    layout: Layout,
    y_train: Array,
    k_test_train: Any,
    k_test_test: Any,
) -> Array | Gaussian:
    """One posterior: its mean, or with k_test_test a Gaussian."""
    name = "nngp" if get == "nngp" else "ntk"
    prior = "ntk" if get == "ntkgp" else "nngp"  # the kernel of the network at initialisation
    if k_test_train is None:
        k = train[name].kernel()
        mean = y_train.astype(k.dtype)
        return (
            mean
            if k_test_test is None
            else Gaussian(mean, covariance(jnp.zeros_like(k), layout.kept))
        )
    cross = part(k_test_train, name, "k_test_train")
    kept, k_td = cross.shape[::2], layout.cross(cross)
    solver = train[name].solver()
    mean = _mean(layout, kept, k_td, train[name].dual(solver))
    if k_test_test is None:
        return mean
    k_tt = part(k_test_test, prior, "k_test_test")
    if k_tt.shape != paired(kept):
        raise ValueError(
            f"k_test_test must have shape {paired(kept)}, as k_test_train; got {k_tt.shape}"
        )
    k_tt = square(k_tt, "k_test_test")
    if get == "ntk":
        nngp_td = layout.cross(part(k_test_train, "nngp", "k_test_train"))
        cov = _ensemble_limit(solver, k_tt, nngp_td, train["nngp"].kernel(), k_td)
    else:
        cov = _remaining(solver, k_tt, k_td)
    return Gaussian(mean, covariance(cov, kept))


@partial(jax.jit, static_argnums=(0, 1))
def _mean(layout: Layout, kept: tuple[int, ...], k_td: Array, dual: Array) -> Array:
    return layout.outputs(jnp.matmul(k_td, dual, precision="highest"), kept)


@jax.jit
def _remaining(solver: Solver, k_tt: Array, k_td: Array) -> Array:
    """A_** - A_*d A^-1 A_d*."""
    return symmetric(k_tt - solver.quadratic(k_td.T))


@jax.jit
def _ensemble_limit(
    solver: Solver, k_tt: Array, nngp_td: Array, nngp_dd: Array, k_td: Array
) -> Array:
    return ensemble_covariance(k_tt, nngp_td, nngp_dd, solver.solve(k_td.T))


def _check_both(kernel: Any, argument: str) -> None:
    if any(getattr(kernel, name, None) is None for name in ("nngp", "ntk")):
        raise ValueError(
            f'{argument} must have both nngp and ntk for the covariance of "ntk", got '
            f"{type(kernel).__name__}"
        )


@jax.jit
def ensemble_covariance(k_tt: Array, k_td: Array, k_dd: Array, response: Array) -> Array:
    """K_** + R^T K R - (R^T K_d* + transpose), with the response R (.., train, test) = T^T."""
    inner = jnp.matmul(k_dd, response, precision="highest") - k_td.T
    out = jnp.matmul(jnp.swapaxes(response, -1, -2), inner, precision="highest")
    return symmetric(k_tt + out - jnp.matmul(k_td, response, precision="highest"))


def symmetric(matrix: Array) -> Array:
    """(A + A^T) / 2."""
    return (matrix + jnp.swapaxes(matrix, -1, -2)) / 2
