"""An infinite ensemble of infinitely wide networks, trained by gradient flow on squared error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from theory.predict.gp_inference import (
    Gaussian,
    Get,
    ensemble_covariance,
    names_of,
    packed,
    part,
    posterior,
    symmetric,
)
from theory.predict.layout import Axes, Layout, covariance, square
from theory.predict.once import is_traced, outside_traces
from theory.predict.spectrum import Spectrum, decay, integral, test_change, train_change
from theory.predict.train_kernel import TrainKernel, train_kernel

NAMES = ("nngp", "ntk")


def gradient_descent_mse_ensemble(
    kernel_fn: Callable[..., Any],
    x_train: Any,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: Axes = (-1,),
    **kernel_fn_train_train_kwargs: Any,
) -> Callable[..., Any]:
    """Mean and covariance of the outputs of networks with random initial weights, at any time.

    "ntk": all layers are trained, which gives a Gaussian whose mean follows the NTK and whose
    covariance mixes both kernels; "nngp": only the last layer is trained. With |y| the number of
    targets and I(t) = A^-1 (1 - exp(-eta A t / |y|)), A = Theta or K, plus diag_reg:

        mean          A_*d I(t) y
        cov, nngp     K_** - K_*d I(2t) K_d*
        cov, ntk      K_** + T K T^T - (T K_d* + transpose),     T = Theta_*d I(t)

    Kernels of the training set and their factors are computed when first needed and kept.

    Args:
      kernel_fn: (x1, x2, get, **kwargs) -> an object with `nngp`, `ntk`, for a tuple `get`.
      x_train: (n, ..), the training inputs.
      y_train: (n, *outputs), the targets.
      learning_rate: eta, the time of one step.
      diag_reg: strength of the regulariser of the training kernel.
      diag_reg_absolute_scale: whether it is added as it is; else times the mean of the diagonal.
      trace_axes: axes of `y_train` along which the kernel is a constant times the identity.
      **kernel_fn_train_train_kwargs: for `kernel_fn`; a pair of arrays holds a value for each side.

    Returns:
      predict_fn(t=None, x_test=None, get=None, compute_cov=False, **kernel_fn_test_test_kwargs):
      the mean, or a Gaussian with compute_cov; a named tuple of them for a tuple `get` or None
      ("nngp" and "ntk"). t: steps, an array of them (its axes come first), or None for t -> inf.
      x_test None means the training set, without the regulariser's effect. Keyword arguments
      override those of the training set; between test and training set, pairs are combined and
      arrays are the test set's; all else must be equal.

    Raises:
      ValueError: shapes that do not agree, an unknown `get`, keyword arguments that differ.

    Reference: Lee et al. 2019, Wide neural networks of any depth evolve as linear models, eq.
    14-16.
    """
    y_train = jnp.asarray(y_train)
    layout = Layout.of(y_train, trace_axes)
    cache: dict[str, Array] = {}

    def train_kernels(names: tuple[str, ...]) -> dict[str, Array]:
        """Of the training set; what is known is computed once, even inside a jit."""
        missing = tuple(name for name in names if name not in cache)
        if not missing:
            return cache
        with outside_traces():
            found = kernel_fn(x_train, None, missing, **kernel_fn_train_train_kwargs)
            fresh = {name: part(found, name, "kernel_fn(x_train)") for name in missing}
        if is_traced(fresh):
            return cache | fresh
        cache.update(fresh)
        return cache

    train = {
        name: train_kernel(
            lambda name=name: train_kernels((name,))[name],
            y_train,
            layout,
            diag_reg,
            diag_reg_absolute_scale,
            f"kernel_fn(x_train).{name}",
        )
        for name in NAMES
    }

    def predict_fn(
        t: float | Array | None = None,
        x_test: Any = None,
        get: Get = None,
        compute_cov: bool = False,
        **kernel_fn_test_test_kwargs: Any,
    ) -> Any:
        names, single = names_of(get, NAMES)
        needed = tuple(n for n in NAMES if n in names or (n == "nngp" and compute_cov))
        train_kernels(needed)  # both in one pass
        k_td, k_tt = None, True if compute_cov else None
        if x_test is not None:
            between, own = _kwargs(kernel_fn_train_train_kwargs, kernel_fn_test_test_kwargs)
            k_td = kernel_fn(x_test, x_train, needed, **between)
            if compute_cov:
                k_tt = kernel_fn(x_test, None, ("nngp",), **own)
        if t is None:
            results = {n: posterior(n, train, layout, y_train, k_td, k_tt) for n in names}
        else:
            results = {
                n: _at(n, t, learning_rate, train, layout, y_train, k_td, k_tt) for n in names
            }
        return packed(results, single)

    return predict_fn


def _at(
    name: str,
    t: float | Array,
    learning_rate: float,
    train: Mapping[str, TrainKernel],
    layout: Layout,
    y_train: Array,
    k_test_train: Any,
    k_test_test: Any,
) -> Array | Gaussian:
    """The mean, or with k_test_test a Gaussian, at finite times."""
    found = train[name].spectrum()
    t = jnp.asarray(t, found.values.dtype)
    times = t.reshape(-1) * (learning_rate / layout.size)
    residual = -layout.flat(y_train.astype(found.values.dtype))
    if k_test_train is None:
        kept = layout.kept
        mean = train_change(found, residual, times)
        cov = None if k_test_test is None else _train_covariance(name, found, train, times)
    else:
        cross = part(k_test_train, name, "kernel_fn(x_test, x_train)")
        kept, k_td = cross.shape[::2], layout.cross(cross, "kernel_fn(x_test, x_train)")
        mean = test_change(found, k_td, residual, times)
        cov = None
        if k_test_test is not None:
            k_tt = square(part(k_test_test, "nngp", "kernel_fn(x_test)"), "kernel_fn(x_test)")
            if name == "nngp":
                cov = _posterior(found, k_tt, k_td, times)
            else:
                nngp_td = layout.cross(part(k_test_train, "nngp", "kernel_fn(x_test, x_train)"))
                cov = _ensemble(found, k_tt, nngp_td, train["nngp"].kernel(), k_td, times)
    mean = layout.outputs(mean.reshape(*t.shape, *mean.shape[1:]), kept)
    if cov is None:
        return mean
    return Gaussian(mean, covariance(cov.reshape(*t.shape, *cov.shape[1:]), kept))


@jax.jit
def _posterior(found: Spectrum, k_tt: Array, k_td: Array, times: Array) -> Array:
    """K_** - K_*d I(2t) K_d*."""
    moved = jnp.matmul(k_td, found.vectors, precision="highest")
    half = moved * jnp.sqrt(integral(found, 2 * times))[:, None]
    return k_tt - jnp.matmul(half, jnp.swapaxes(half, -1, -2), precision="highest")


@jax.jit
def _ensemble(
    found: Spectrum, k_tt: Array, nngp_td: Array, nngp_dd: Array, k_td: Array, times: Array
) -> Array:
    moved = jnp.matmul(found.vectors.T, k_td.T, precision="highest")
    response = jnp.matmul(
        found.vectors, integral(found, times)[..., None] * moved, precision="highest"
    )
    return ensemble_covariance(k_tt, nngp_td, nngp_dd, response)


def _train_covariance(
    name: str, found: Spectrum, train: Mapping[str, TrainKernel], times: Array
) -> Array:
    """K e^(-2At) for "nngp", e^(-At) K e^(-At) for "ntk"."""
    if name == "nngp":
        values = jnp.maximum(found.values, 0.0)
        weights = values * (1 + decay(values, 2 * times))
        return _similar(found.vectors, weights)
    exponential = _similar(found.vectors, 1 + decay(found.values, times))
    nngp = train["nngp"].kernel()
    return symmetric(
        jnp.matmul(
            jnp.matmul(exponential, nngp, precision="highest"), exponential, precision="highest"
        )
    )


@jax.jit
def _similar(vectors: Array, weights: Array) -> Array:
    """V diag(w) V^T for each w."""
    return jnp.matmul(vectors * weights[:, None], vectors.T, precision="highest")


def _kwargs(train: Mapping[str, Any], test: Mapping[str, Any]) -> tuple[dict, dict]:
    """Keyword arguments of the kernel between test and training set, and of the test set's own.

    Raises:
      ValueError: a value that is no array differs from the training set's.
    """
    between, own = dict(train), dict(train)
    for key, value in test.items():
        own[key] = between[key] = value
        other = train.get(key)
        if other is not None and _is_pair(value) and _is_pair(other):
            between[key] = (value[0], other[1])
        elif not (_is_arrays(value) and _is_arrays(other)) and (key not in train or value != other):
            raise ValueError(
                f"{key} must be what gradient_descent_mse_ensemble was given, {train.get(key)!r}, "
                f"as the kernel between test and training set takes only one; got {value!r}"
            )
    return between, own


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and _is_arrays(value)


def _is_arrays(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)
