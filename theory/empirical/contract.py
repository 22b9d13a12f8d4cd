"""Inner products of Jacobians, formed or in factors.

The Jacobian of an output by a parameter is held, for one example, as factors

    J[o, b, c, n] = sum over m of C[o, b, m, n] X[b, m, c]

of the cotangents C of what the parameter enters and the activations X that it meets there: for
y = x w, C = df/dy and X = x. Axes of the parameter are in groups: b in both factors (an elementwise
scale), n in C alone (outputs of a product), c in X alone (its inputs); m are the places where the
parameter is used (pixels, tokens, repeated layers). Then either J is formed and contracted, or
Theta is the product of two Gram matrices, summed over places:

    Theta = sum over b, m, m' of (C C')[o, o', b, m, m'] (X X')[b, m, m']
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from theory.empirical.axes import OutputAxes


class Factors(NamedTuple):
    """A Jacobian in factors: c (*output, B, M, n) and x (B, M, c), with examples in front."""

    c: Array
    x: Array


class Formed(NamedTuple):
    """A Jacobian that is formed: (*output, parameters), with examples in front."""

    j: Array


Feature = Factors | Formed


def form(feature: Factors) -> Formed:
    """The Jacobian (*output, B * c * n) of one example."""
    j = jnp.einsum("...bmn,bmc->...bcn", feature.c, feature.x)
    return Formed(j.reshape(*j.shape[:-3], -1))


def inner(left: Feature, right: Feature, axes: OutputAxes) -> Array:
    """The inner products of two Jacobians over a parameter, in the native layout."""
    if isinstance(left, Formed) and isinstance(right, Formed):
        parameter = 2 * axes.ndim
        return jnp.einsum(
            left.j, [*axes.left_labels(), parameter],
            right.j, [*axes.right_labels(), parameter],
            axes.native_labels(),
        )  # fmt: skip
    assert isinstance(left, Factors)
    assert isinstance(right, Factors)
    return _gram(left, right, axes)


def _gram(left: Factors, right: Factors, axes: OutputAxes) -> Array:
    b, m1, m2, n = (2 * axes.ndim + i for i in range(4))
    native = axes.native_labels()
    cotangents = jnp.einsum(
        left.c, [*axes.left_labels(), b, m1, n],
        right.c, [*axes.right_labels(), b, m2, n],
        [*native, b, m1, m2],
    )  # fmt: skip
    own1, own2 = ([], []) if axes.batch is None else ([axes.batch], [axes.right(axes.batch)])
    kept = [label for label in native if label in own1 + own2]
    activations = jnp.einsum(
        left.x, [*own1, b, m1, n], right.x, [*own2, b, m2, n], [*kept, b, m1, m2]
    )
    places = activations.shape[len(kept) :]
    sizes = cotangents.shape[: len(native)]
    shape = [size if label in kept else 1 for label, size in zip(native, sizes, strict=True)]
    if math.prod(places) == 1:  # no places to sum over: keep axes of size 1 out of the loops
        return cotangents.reshape(sizes) * activations.reshape(shape)
    return (cotangents * activations.reshape(*shape, *places)).sum((-3, -2, -1))


class Size(NamedTuple):
    """Sizes of one parameter's factors in both tiles, from shapes."""

    rows1: int  # examples times outputs of the tile of x1
    rows2: int
    pairs: int  # entries of the native tile
    summed: int  # the same, times those of a trace
    examples: int  # pairs of examples
    b: int
    m1: int
    m2: int
    c: int
    n: int


# An entry of memory costs about as much as this many multiplications of a matrix product.
ENTRY = 16


def forming_is_cheaper(size: Size) -> bool:
    """Whether to form the Jacobian, by operations and memory traffic of both ways."""
    weights = size.b * size.c * size.n
    formed = (
        (size.rows1 * size.m1 + size.rows2 * size.m2) * weights
        + size.summed * weights
        + ENTRY * ((size.rows1 + size.rows2) * weights + size.pairs)
    )
    places = size.b * size.m1 * size.m2
    gram = (
        size.summed * places * size.n
        + size.examples * places * size.c
        + ENTRY * (size.pairs + size.examples) * places
    )
    return formed < gram


def size_of(left: Factors, right: Factors, axes: OutputAxes) -> Size:
    """The sizes of the factors of two tiles."""
    shape1, shape2 = left.c.shape, right.c.shape
    sizes = dict(zip(axes.left_labels(), shape1, strict=False))
    sizes |= dict(zip(axes.right_labels(), shape2, strict=False))
    outputs = [size for label, size in sizes.items() if label in axes.native_labels()]
    examples = 1 if axes.batch is None else left.x.shape[0]
    if axes.batch_is_free:
        examples *= right.x.shape[0]
    b, m1, c = left.x.shape[-3:]
    return Size(
        rows1=math.prod(shape1[:-3]),
        rows2=math.prod(shape2[:-3]),
        pairs=math.prod(outputs),
        summed=math.prod(sizes.values()),
        examples=examples,
        b=b,
        m1=m1,
        m2=right.x.shape[-2],
        c=c,
        n=shape1[-1],
    )
