"""What a full deep kernel machine maximises over the Gram matrices of its layers.

Notation: G_0 the inputs' Gram matrix, G_1 .. G_L those of the hidden layers, K_l = K(G_{l-1}) +
jitter I the prior covariance of layer l's features. Jitter is added to every K before it is used,
and nowhere else; the last K, of the outputs, gets the variance of the noise as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Float

from theory.dkm.divergence import kl_of_factors
from theory.dkm.failure import Diverged, condition_number
from theory.dkm.kernels import MatrixKernel, matrix_kernel
from theory.predict.once import is_traced
from theory.stax.layer import KernelFn, Layer

KernelLike = str | Layer | MatrixKernel


class Objective(NamedTuple):
    """The objective and its parts, in nats.

    Attributes:
      value: log_likelihood - sum_l nu_l kls_l.
      log_likelihood: summed over the columns of Y.
      kls: (L,), before nu.
    """

    value: Float[Array, ""]
    log_likelihood: Float[Array, ""]
    kls: Float[Array, "layers"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Machine:
    """A full deep kernel machine with its data, checked.

    Attributes:
      G0: (P, P), the inputs.
      Y: (Q, C), the targets.
      nu: (L,).
      noise_variance: of the targets.
      jitter: of every K.
      kernels: the L + 1 kernels.
      sizes: sides of G_1 .. G_L and of the outputs' K.
    """

    G0: Array
    Y: Array
    nu: Array
    noise_variance: Array
    jitter: Array
    kernels: tuple[MatrixKernel, ...] = field(metadata={"static": True})
    sizes: tuple[int, ...] = field(metadata={"static": True})

    def prior(self, layer: int, G: Array) -> Array:
        """K_l of the layer, from G_{l-1}; `layer` counts from 1, L + 1 is the outputs'."""
        K = self.kernels[layer - 1](G)
        return K + self.jitter * jnp.eye(len(K), dtype=K.dtype)


def objective(
    G0: ArrayLike,
    grams: Sequence[ArrayLike],
    Y: ArrayLike,
    *,
    kernel: KernelLike | Sequence[KernelLike],
    nu: float | ArrayLike,
    noise_variance: float | ArrayLike,
    jitter: float | ArrayLike = 1e-6,
) -> Objective:
    """The objective of a full deep kernel machine.

        L = sum_c log N(y_c; 0, K(G_L) + (jitter + s²) I) - sum_l nu_l KL_l
        KL_l = 1/2 [tr(K_l^-1 G_l) - logdet(K_l^-1 G_l) - P],  K_l = K(G_{l-1}) + jitter I

    Maximised over G_1 .. G_L it is the limit of a deep Gaussian process whose widths N nu_l and
    likelihood, to the power N, grow together. nu_l = inf is allowed: that layer takes nothing where
    G_l equals K_l to rounding (its NNGP), and makes the value -inf elsewhere. Differentiable in
    every array; a nu_l of 0 or inf has no gradient.

    Args:
      G0: (P, P), X X^T / features of the inputs.
      grams: G_1 .. G_L, each (P, P), or of the size that its layer's kernel gives. L may be 0.
      Y: (P,) or (P, C), targets; the columns are independent given G_L.
      kernel: of all layers, or a sequence of L + 1 of them, the outputs' last: a name ("relu",
        "squared_exponential", "normalized_gaussian", "heaviside", "linear"), a layer of
        theory.stax, or a function (P, P) -> (P, P), such as `matrix_kernel(layer, space)`.
      nu: the price of representation learning, >= 0, a number or (L,).
      noise_variance: s² of the targets, >= 0.
      jitter: added to the diagonal of every K, >= 0.

    Returns:
      An Objective, all of it NaN under jit where a matrix is not positive definite.

    Raises:
      ValueError: shapes that do not agree, entries that are not finite, a negative nu,
        noise_variance or jitter, an unknown kernel.
      Diverged: a K or G that is not positive definite, where the inputs are known.

    Reference: Yang et al. 2023, A theory of representation learning gives a deep generalisation of
    kernel methods.
    """
    if isinstance(grams, jax.Array | np.ndarray) and grams.ndim != 3:
        raise ValueError(f"grams must be a sequence of matrices, got an array {grams.shape}")
    given = tuple(jnp.asarray(G) for G in grams)
    machine = machine_of(
        G0, Y, len(given), kernel=kernel, nu=nu, noise_variance=noise_variance, jitter=jitter,
        dtypes=tuple(G.dtype for G in given),
    )  # fmt: skip
    given = checked_grams(machine, given, "grams")
    found = evaluate(machine, given)
    if not is_traced(found, given, machine.G0) and np.isnan(np.asarray(found.value)):
        raise diagnosis(machine, given, step=0)
    return found


@jax.jit
def evaluate(machine: Machine, grams: Sequence[Array]) -> Objective:
    """The objective of a checked machine at checked Gram matrices."""
    kls, penalty, G = [], jnp.zeros((), machine.G0.dtype), machine.G0
    for layer, after in enumerate(grams, start=1):
        K = machine.prior(layer, G)
        kl = kl_of_factors(jnp.linalg.cholesky(K), jnp.linalg.cholesky(after))
        kls.append(kl)
        penalty = penalty + _price(machine.nu[layer - 1], kl, after, K)
        G = after
    fit = log_likelihood(machine, G)
    stacked = jnp.stack(kls) if kls else jnp.zeros(0, fit.dtype)
    return Objective(fit - penalty, fit, stacked)


def log_likelihood(machine: Machine, G: Float[Array, "p p"]) -> Float[Array, ""]:
    """sum_c log N(y_c; 0, K(G) + (jitter + s²) I)."""
    K = machine.prior(len(machine.kernels), G)
    L = jnp.linalg.cholesky(K + machine.noise_variance * jnp.eye(len(K), dtype=K.dtype))
    white = solve_triangular(L, machine.Y, lower=True)
    volume = jnp.log(jnp.diagonal(L)).sum() + len(L) / 2 * math.log(2 * math.pi)
    return -(white**2).sum() / 2 - machine.Y.shape[1] * volume


def _price(nu: Array, kl: Array, G: Array, K: Array) -> Array:
    """nu KL; for nu = inf 0 where G equals K to rounding, else inf; for nu = 0 nothing."""
    off = jnp.abs(G - K).max() / jnp.abs(K).max()
    same = off <= 8 * len(K) * jnp.finfo(K.dtype).eps
    finite = jnp.where(jnp.isinf(nu), 0.0, nu)
    fixed = jnp.where(same, 0.0, jnp.where(jnp.isnan(off), jnp.nan, jnp.inf))
    return jnp.where(jnp.isinf(nu), fixed, finite * kl)


def machine_of(
    G0: ArrayLike,
    Y: ArrayLike,
    depth: int,
    *,
    kernel: Any,
    nu: Any,
    noise_variance: Any,
    jitter: Any,
    dtypes: tuple[Any, ...] = (),
) -> Machine:
    """The arguments of `objective` checked and brought to one dtype.

    Raises:
      ValueError: as `objective`.
    """
    G0, Y = jnp.asarray(G0), jnp.asarray(Y)
    dtype = jnp.result_type(G0.dtype, Y.dtype, jnp.float32, *dtypes)
    G0, Y = G0.astype(dtype), Y.astype(dtype)
    if G0.ndim != 2 or G0.shape[0] != G0.shape[1] or G0.shape[0] == 0:
        raise ValueError(f"G0 must have shape (P, P), got {G0.shape}")
    kernels = _kernels(kernel, depth)
    sizes, shape = [], G0
    for one in kernels:
        shape = jax.eval_shape(one, jax.ShapeDtypeStruct(shape.shape, dtype))
        if len(shape.shape) != 2 or shape.shape[0] != shape.shape[1]:
            raise ValueError(f"kernel must give square matrices, got one of shape {shape.shape}")
        sizes.append(shape.shape[0])
    if Y.ndim not in (1, 2) or Y.shape[0] != sizes[-1] or Y.size == 0:
        raise ValueError(f"Y must have shape ({sizes[-1]},) or ({sizes[-1]}, C), got {Y.shape}")
    prices = jnp.asarray(nu, dtype)
    if prices.shape not in ((), (depth,)):
        raise ValueError(f"nu must be a number or have shape ({depth},), got shape {prices.shape}")
    _check_known("nu", nu, "at least 0, inf included", lambda v: v >= 0)
    for name, value in (("noise_variance", noise_variance), ("jitter", jitter)):
        if jnp.shape(value) != ():
            raise ValueError(f"{name} must be a number, got shape {jnp.shape(value)}")
        _check_known(name, value, "finite and at least 0", lambda v: (v >= 0) & (v < np.inf))
    for name, value in (("G0", G0), ("Y", Y)):
        _check_known(name, value, "finite", np.isfinite)
    return Machine(
        G0,
        Y.reshape(len(Y), -1),
        jnp.broadcast_to(prices, (depth,)),
        jnp.asarray(noise_variance, dtype),
        jnp.asarray(jitter, dtype),
        kernels,
        tuple(sizes),
    )


def checked_grams(machine: Machine, grams: Sequence[Any], name: str) -> tuple[Array, ...]:
    """The Gram matrices in the machine's dtype.

    Raises:
      ValueError: their number or shapes are wrong, or entries that are not finite.
    """
    depth = len(machine.kernels) - 1
    if len(grams) != depth:
        raise ValueError(f"{name} must be {depth} matrices, one a layer, got {len(grams)}")
    made = tuple(jnp.asarray(G, machine.G0.dtype) for G in grams)
    for i, (G, size) in enumerate(zip(made, machine.sizes, strict=False)):
        if G.shape != (size, size):
            raise ValueError(f"{name}[{i}] must have shape {(size, size)}, got {G.shape}")
        _check_known(f"{name}[{i}]", G, "finite", np.isfinite)
    return made


def diagnosis(machine: Machine, grams: Sequence[Array], step: int, state: Any = None) -> Diverged:
    """The error of the first K or G that has no Cholesky factor, in the order of computation."""
    before, worst = machine.G0, ("objective", 1.0)
    for layer in range(1, len(machine.kernels) + 1):
        last = layer == len(machine.kernels)
        K = machine.prior(layer, before)
        if last:
            K = K + machine.noise_variance * jnp.eye(len(K), dtype=K.dtype)
        named = [(f"K of {'the outputs' if last else f'layer {layer}'}", K)]
        named += [] if last else [(f"G of layer {layer}", grams[layer - 1])]
        for name, matrix in named:
            number = condition_number(matrix)
            if not bool(jnp.isfinite(jnp.linalg.cholesky(matrix)).all()):
                what = "not positive definite to working precision"
                return Diverged(name, number, step, state, what=what)
            if number > worst[1]:
                worst = name, number
        before = before if last else grams[layer - 1]
    return Diverged(*worst, step, state, what="the largest condition number is given")


def _kernels(kernel: Any, depth: int) -> tuple[MatrixKernel, ...]:
    several = isinstance(kernel, list | tuple) and not _is_layer(kernel)
    each: tuple[Any, ...] = tuple(kernel) if several else (kernel,) * (depth + 1)
    if len(each) != depth + 1:
        raise ValueError(
            f"kernel must be one kernel or {depth + 1} of them (the outputs' last), got {len(each)}"
        )
    return tuple(_function(one) for one in each)


def _function(kernel: Any) -> MatrixKernel:
    """A function that jit can take for a constant."""
    try:
        hash(kernel)
    except TypeError:
        made = matrix_kernel(kernel)
        return lambda G: made(G)
    return _kept(kernel)


@lru_cache(maxsize=64)
def _kept(kernel: Any) -> MatrixKernel:
    """The same function for the same kernel, lest every call compile its programs again."""
    return matrix_kernel(kernel)


def _is_layer(kernel: Any) -> bool:
    """Whether a tuple is a layer of theory.stax, and not a sequence of kernels."""
    return len(kernel) == 3 and isinstance(kernel[2], KernelFn)


def _check_known(name: str, value: Any, accepted: str, good) -> None:
    if is_traced(value):
        return
    known = np.asarray(value)
    held = good(known)
    if not np.all(held):
        shown = known if known.ndim == 0 else f"{np.size(held) - np.sum(held)} entries that are not"
        raise ValueError(f"{name} must be {accepted}, got {shown}")
