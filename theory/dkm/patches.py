"""The first layer of a convolutional machine: images, and learned inducing patches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from theory.dkm.gram import Gram
from theory.dkm.layer import Layer, floating, leaf, whole, zero
from theory.dkm.selection import POOL, spread_out
from theory.dkm.windows import as_strides, check_padding, convolved, window_mean


def patches(
    count: int,
    size: int = 3,
    *,
    stride: int | tuple[int, int] = 1,
    padding: str = "SAME",
    inducing: Float[Array, "count size size c"] | None = None,
    count_padding: bool = False,
) -> Layer:
    """(N, H, W, C) images to the `Gram` of their patches, with inducing patches Z learned.

        ii = Z Z^T / (C size²),  ti = conv(x, Z) / (C size²),  t = mean of x² over each patch

    Args:
      count: inducing patches.
      size: side of a patch.
      stride: of the patches, a number or one per axis.
      padding: "SAME" (zeros) or "VALID".
      inducing: (count, size, size, C) where they start; by default patches of the batch that
        `init` is given, at random places, that differ.
      count_padding: whether t averages the zeros of the padding too, which makes it the variance
        of an NNGP convolution; by default it averages what is inside the image.

    Raises:
      ValueError: an argument that is none of these; when it is initialised, inputs of another rank.

    Reference: Milsom, Anson, Aitchison 2024, Convolutional deep kernel machines.
    """
    strides = as_strides(stride)
    check_padding(padding)
    count, size = whole("count", count), whole("size", size)

    def init(key, x):
        if x.ndim != 4:
            raise ValueError(f"images must have shape (N, H, W, C), got {x.shape}")
        floating("images", x)
        shape = (count, size, size, x.shape[-1])
        if inducing is not None:
            if jnp.shape(inducing) != shape:
                raise ValueError(f"inducing must have shape {shape}, got {jnp.shape(inducing)}")
            return jnp.asarray(inducing, x.dtype)
        draw, choose = jax.random.split(key)
        pool = random_patches(draw, x, POOL * count, size)
        flat = pool.reshape(len(pool), -1)
        return pool[spread_out(choose, flat @ flat.T / flat.shape[1], count)]

    def apply(params, x, key, train):
        scale = size**2 * x.shape[-1]
        flat = params.reshape(count, -1)
        ii = jnp.matmul(flat, flat.T, precision="highest") / scale
        ti = convolved(x, params.transpose(1, 2, 3, 0), strides, padding) / scale
        variance = window_mean((x**2).mean(-1), size, strides, padding, count_padding)
        return Gram(ii, ti, variance), zero(x)

    return leaf(f"patches({count}, {size})", init, apply)


def random_patches(
    key: Array, x: Float[Array, "n h w c"], count: int, size: int
) -> Float[Array, "count size size c"]:
    """Patches of random images at random places inside them.

    Raises:
      ValueError: inputs of another rank, or images smaller than a patch.
    """
    if x.ndim != 4:
        raise ValueError(f"images must have shape (N, H, W, C), got {x.shape}")
    n, height, width, _ = x.shape
    if min(height, width) < size:
        raise ValueError(f"images of {height} x {width} hold no patch of side {size}")
    which, row, column = jax.random.split(key, 3)
    at = (
        jax.random.randint(which, (count,), 0, n),
        jax.random.randint(row, (count,), 0, height - size + 1),
        jax.random.randint(column, (count,), 0, width - size + 1),
    )

    def cut(i, top, left):
        return lax.dynamic_slice(x, (i, top, left, 0), (1, size, size, x.shape[-1]))[0]

    return jax.vmap(cut)(*at)
