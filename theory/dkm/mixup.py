"""Convolution of Gram matrices whose inducing points have no places."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_solve
from jaxtyping import Float

from theory.dkm.gram import Gram
from theory.dkm.jitter import DEFAULT, Jitter, as_jitter
from theory.dkm.layer import Layer, leaf, whole, zero
from theory.dkm.patches import random_patches
from theory.dkm.selection import POOL, spread_out
from theory.dkm.windows import as_strides, check_padding, convolved, window_mean


def mixup(
    count: int | None = None,
    size: int = 3,
    *,
    stride: int | tuple[int, int] = 1,
    padding: str = "SAME",
    count_padding: bool = False,
    start: Literal["patches", "random"] = "patches",
    jitter: float | tuple[float, float] | Jitter = DEFAULT,
) -> Layer:
    """Kernels of a convolution's outputs, from those of its inputs.

    An inducing point of the outputs is a patch whose features at offset d are a learned mixture
    C_d (count, P) of the inputs' inducing points:

        M_ii = mean_d C_d K_ii C_d^T
        M_ti(r) = mean_d K_ti(r + d) C_d^T,  zero outside the image
        M_t(r) = mean_d K_t(r + d)

    Args:
      count: inducing points of the outputs; None keeps their number.
      size: side of the window.
      stride: a number, or one per axis.
      padding: "SAME" or "VALID".
      count_padding: whether M_t averages the zeros of the padding too, as an NNGP convolution does;
        by default it averages the places inside the image.
      start: where C starts. "patches": windows of the batch that `init` is given, each place's
        features projected on the inducing points, C_d = K_ti(r + d) K_ii^-1, chosen to differ. The
        inducing points are then patches of the training images at every depth. "random": normal,
        of variance 1 / P.
      jitter: of K_ii in that projection.

    Raises:
      ValueError: an argument that is none of these; at initialisation, a `Gram` without places.

    Reference: Milsom, Anson, Aitchison 2024, Convolutional deep kernel machines.
    """
    strides, made = as_strides(stride), as_jitter(jitter)
    check_padding(padding)
    if start not in ("patches", "random"):
        raise ValueError(f"start must be 'patches' or 'random', got {start!r}")
    size, count = whole("size", size), None if count is None else whole("count", count)

    def init(key, value: Gram):
        if value.t.ndim != 3:
            raise ValueError(
                f"mixup needs images of places (N, H, W), got variances of shape {value.t.shape}"
            )
        outputs = len(value.ii) if count is None else count
        if start == "random":
            shape = (size, size, len(value.ii), outputs)
            return jax.random.normal(key, shape, value.ii.dtype) / jnp.sqrt(len(value.ii))
        draw, choose = jax.random.split(key)
        edge = (
            ((0, 0), *2 * ((size // 2, size // 2),), (0, 0)) if padding == "SAME" else 4 * ((0, 0),)
        )
        windows = random_patches(draw, jnp.pad(value.ti, edge), POOL * outputs, size)
        factor = jnp.linalg.cholesky(made.add(value.ii)), True
        C = cho_solve(factor, windows.reshape(-1, len(value.ii)).T).T.reshape(windows.shape)
        C = C.transpose(1, 2, 3, 0)
        return C[..., spread_out(choose, _mixed(C, value.ii), outputs)]

    def apply(params, value: Gram, key, train):
        ti = convolved(value.ti, params, strides, padding) / size**2
        t = window_mean(value.t, size, strides, padding, count_padding)
        return Gram(_mixed(params, value.ii), ti, t), zero(value)

    written = "" if count is None else str(count)
    return leaf(f"mixup({written})", init, apply)


def _mixed(C: Float[Array, "size size p o"], ii: Float[Array, "p p"]) -> Float[Array, "o o"]:
    """mean_d C_d^T K_ii C_d, symmetric to the last bit."""
    each = C.reshape(-1, *C.shape[2:])
    half = jnp.einsum("dpo,pq->doq", each, ii, precision="highest")
    mixed = jnp.einsum("doq,dqr->or", half, each, precision="highest") / len(each)
    return (mixed + mixed.T) / 2
