"""Kernels of Gram matrices: the NNGP's own layers, applied to any Gram matrix.

A deep kernel machine asks of a kernel what a Gaussian-process limit asks: the covariance K(G) of a
layer's outputs, given the Gram matrix G of its inputs. So every kernel here is a `theory.stax`
layer, run on G in place of the NNGP, and a name stands for such a layer:

    relu                  stax.serial(stax.Relu(), stax.Dense(1, 2**0.5)),  K_ii = G_ii
    squared_exponential   stax.Rbf(1/2),  exp(-(G_ii/2 + G_jj/2 - G_ij))
    normalized_gaussian   stax.ExpNormalized(),  s exp(G_ij / s - 1),  s = sqrt(G_ii G_jj)
    heaviside             PolarHeaviside(),  s (1 - angle / pi)
    linear                stax.Identity(),  G
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from theory.dkm.gram import Gram
from theory.dkm.heaviside import PolarHeaviside
from theory.dkm.layer import whole
from theory.kernel import Kernel
from theory.stax import Dense, ExpNormalized, Identity, Rbf, Relu, serial
from theory.stax.layer import Layer, rule_of
from theory.stax.results import run_kernel

NAMED: dict[str, Callable[[], Layer]] = {
    "relu": lambda: serial(Relu(), Dense(1, 2**0.5)),
    "squared_exponential": lambda: Rbf(0.5),
    "normalized_gaussian": lambda: ExpNormalized(),
    "heaviside": PolarHeaviside,
    "linear": Identity,
}

MatrixKernel = Callable[[Float[Array, "p p"]], Float[Array, "q q"]]


def layer_of_kernel(kernel: str | Layer) -> Layer:
    """The layer that a name stands for; a layer stands for itself.

    Raises:
      ValueError: an unknown name.
      TypeError: neither a name nor a layer of theory.stax.
    """
    if isinstance(kernel, str):
        if kernel not in NAMED:
            raise ValueError(f"kernel must be one of {sorted(NAMED)}, got {kernel!r}")
        return NAMED[kernel]()
    if isinstance(kernel, tuple):
        rule_of(kernel)
        return Layer(*kernel)
    raise TypeError(
        f"kernel must be a name ({', '.join(sorted(NAMED))}) or a layer of theory.stax, "
        f"got {type(kernel).__name__}"
    )


def matrix_kernel(kernel: str | Layer | MatrixKernel, space: tuple[int, ...] = ()) -> MatrixKernel:
    """K(G) as a function of one square Gram matrix; differentiable.

    Args:
      kernel: a name, a layer of theory.stax, or a function (P, P) -> (P, P), which is kept.
      space: sizes of the spatial axes, where the rows of G are places of examples, examples first:
        G is (N S, N S), S the product of `space`. So convolutions, pooling and attention are
        kernels too; after a Flatten the result is (N, N).

    Raises:
      ValueError: an unknown name, a size below 1.
      TypeError: neither a name, nor a layer, nor callable.
    """
    if not isinstance(kernel, str | Layer) and callable(kernel):
        return kernel
    rule = rule_of(layer_of_kernel(kernel))
    rank, places = len(space), math.prod(whole("space", size) for size in space)

    def apply(G: Float[Array, "p p"]) -> Float[Array, "q q"]:
        G = jnp.asarray(G)
        if G.ndim != 2 or G.shape[0] != G.shape[1] or G.shape[0] % places:
            raise ValueError(
                f"a Gram matrix must be square, its side a multiple of {places}, got {G.shape}"
            )
        n = G.shape[0] // places
        nngp = _apart(G, n, space)
        own = jnp.moveaxis(jnp.diagonal(nngp, axis1=0, axis2=1), -1, 0)
        out = run_kernel(rule, _kernel(nngp, own, None, space), (None, None))
        return _together(out.nngp, n, rank)

    return apply


def gram_kernel(kernel: str | Layer) -> Callable[[Gram], Gram]:
    """K(G) of inducing points and the diagonal of the others.

    Args:
      kernel: a name or a layer of theory.stax for inputs without spatial axes: the axes before the
        last of `Gram.ti` are all batch. Convolutions of them are `dkm.mixup`.
    """
    rule = rule_of(layer_of_kernel(kernel))

    def apply(gram: Gram) -> Gram:
        variance = jnp.diagonal(gram.ii)
        inducing = run_kernel(rule, _kernel(gram.ii, variance, None, ()), (None, None))
        rows = gram.ti.reshape(-1, gram.ti.shape[-1])
        between = _kernel(rows, gram.t.reshape(-1), variance, ())
        out = run_kernel(rule, between, (None, None))
        return Gram(inducing.nngp, out.nngp.reshape(gram.ti.shape), out.cov1.reshape(gram.t.shape))

    return apply


def _kernel(nngp: Array, cov1: Array, cov2: Array | None, space: tuple[int, ...]) -> Kernel:
    """Gaussian activations with these covariances, as theory.stax writes them down."""
    return Kernel(
        nngp=nngp,
        ntk=None,
        cov1=cov1,
        cov2=cov2,
        x1_is_x2=cov2 is None,
        is_gaussian=True,
        shape1=(nngp.shape[0], *space, 1),
        shape2=(nngp.shape[1], *space, 1),
        channel_axis=len(space) + 1,
    )


def _apart(G: Array, n: int, space: tuple[int, ...]) -> Array:
    """(N S, N S) as (N, N, h, h', w, w')."""
    rank = len(space)
    both = G.reshape(n, *space, n, *space)
    pairs = [axis for a in range(rank) for axis in (1 + a, 2 + rank + a)]
    return both.transpose(0, 1 + rank, *pairs)


def _together(nngp: Array, n: int, rank: int) -> Array:
    """(N, N, h, h', w, w') as (N S, N S)."""
    if nngp.ndim == 2:
        return nngp
    rank = (nngp.ndim - 2) // 2
    left, right = range(2, 2 + 2 * rank, 2), range(3, 3 + 2 * rank, 2)
    places = nngp.size // n**2
    side = n * round(places**0.5)
    return nngp.transpose(0, *left, 1, *right).reshape(side, side)
