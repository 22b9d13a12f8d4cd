"""Branches: one activation to several, and several independent ones to one.

Fan-ins assume that the channels of different branches are independent, given the inputs: every
branch but one must end behind weights of its own (a Dense, a Conv, ..). This is not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add, and_, mul
from typing import Any

import jax.numpy as jnp
from jax import Array

from theory.stax.affine import check_size
from theory.stax.block import Block
from theory.stax.layer import Layer, layer_of
from theory.stax.rule import Facts, Rule, no_params


def FanOut(num: int) -> Layer:
    """`num` copies of the inputs, for a `parallel` of as many branches.

    Args:
      num: copies, at least 1.

    Raises:
      ValueError: num is no positive int.
    """
    num = check_size(num, "num")

    def copies(part: Any, *_: Any) -> tuple:
        return (part,) * num

    return layer_of(
        Rule(
            f"FanOut({num})",
            init=lambda rng, shape: (copies(shape), ()),
            apply=lambda params, x, context: copies(x),
            infer=copies,
            block=lambda k, left, right, facts: copies(k.materialised()),
            mask=copies,
            ops=0.0,
        )
    )


def FanInSum() -> Layer:
    """The sum of several inputs of one shape: K' = sum_i K_i and Theta' = sum_i Theta_i.

    A place of the outputs is masked where it is in every branch that has a mask.

    Raises:
      ValueError: when used, on inputs whose shapes differ.
      NotImplementedError: when used, on several inputs that are not all Gaussian, whose means would
        have to be known: end every branch with a Dense or Conv.
    """

    def infer(facts):
        parts = _same_shape("FanInSum()", facts)
        _check_gaussian("FanInSum()", parts)
        return parts[0].replace(
            gaussian=all(part.gaussian for part in parts), is_input=_any_input(parts)
        )

    def block(ks, left, right, facts):
        ks = _same_layout(ks)
        return _joined(ks, lambda values: reduce(add, values))

    def apply(params, x, context):
        return reduce(add, x)

    return layer_of(Rule("FanInSum()", _init_equal, apply, infer, block, mask=_all_masked))


def FanInProd() -> Layer:
    """The elementwise product of several inputs of one shape.

        K' = prod_i K_i,     Theta' = sum_i Theta_i prod_(j != i) K_j

    A place of the outputs is masked where it is in every branch that has a mask; the product is
    zero where it is in any.

    Raises:
      ValueError: when used, on inputs whose shapes differ.
    """

    def infer(facts):
        parts = _same_shape("FanInProd()", facts)
        gaussian = len(parts) == 1 and parts[0].gaussian
        return parts[0].replace(gaussian=gaussian, is_input=_any_input(parts))

    def block(ks, left, right, facts):
        ks = [k.materialised() for k in _same_layout(ks)] if len(ks) > 1 else ks
        nngp, ntk = ks[0].nngp, ks[0].ntk
        for k in ks[1:]:
            if ntk is not None and k.ntk is not None:
                ntk = ntk * k.nngp + nngp * k.ntk
            nngp = nngp * k.nngp
        return ks[0].with_values(nngp, ntk)

    def apply(params, x, context):
        return reduce(mul, x)

    return layer_of(
        Rule("FanInProd()", _init_equal, apply, infer, block, mask=_all_masked, ops=4.0)
    )


def FanInConcat(axis: int = -1) -> Layer:
    """Several inputs side by side.

    Along the channels, C_i of each branch:  K' = sum_i C_i K_i / sum_i C_i, and so Theta'; a place
    is masked where it is in every branch. Along a spatial axis covariances stand in blocks on the
    diagonal, and zero between places of different branches; so do masks, without the blocks.

    Args:
      axis: of (batch, *space, channels), negative from the end.

    Raises:
      ValueError: axis is no int, or is the batch's: examples are never mixed. When used, also on
        inputs that have no such axis, or whose shapes differ in another one.
      NotImplementedError: when used, along a spatial axis of inputs that are not all Gaussian.
    """
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(f"axis must be an int, got {axis!r}")
    name = "FanInConcat()" if axis == -1 else f"FanInConcat({axis})"

    def place(rank: int) -> int:
        """The axis among (*space, channels)."""
        ndim = rank + 2
        if not -ndim <= axis < ndim or axis % ndim == 0:
            raise ValueError(
                f"axis of FanInConcat must be one of the {rank} spatial axes or of the channels of "
                f"inputs (batch, *space, channels), got {axis}"
            )
        return axis % ndim - 1

    def joined(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """(*space, channels) of the outputs."""
        first = tuple(shapes[0])
        at = place(len(first) - 1)
        for shape in shapes:
            rest = tuple(shape[:at]) + tuple(shape[at + 1 :])
            if len(shape) != len(first) or rest != first[:at] + first[at + 1 :]:
                raise ValueError(
                    f"inputs of {name} must have the same (*space, channels) but for the axis of "
                    f"concatenation, got {', '.join(str(tuple(s)) for s in shapes)}"
                )
        return (*first[:at], sum(shape[at] for shape in shapes), *first[at + 1 :])

    def init(rng, shapes):
        shapes = _tuple_of(name, shapes)
        return (shapes[0][0], *joined([shape[1:] for shape in shapes])), ()

    def infer(facts):
        parts = _tuple_of(name, facts)
        *space, channels = joined([(*part.space, part.channels) for part in parts])
        along_channels = place(len(space)) == len(space)
        if not along_channels:
            _check_gaussian(name, parts)
        return Facts(
            tuple(space),
            channels,
            gaussian=all(part.gaussian for part in parts) and not along_channels,
            is_input=_any_input(parts),
        )

    def block(ks, left, right, facts):
        ks = _same_layout(ks)
        rank = ks[0].rank
        at = place(rank)
        if at == rank:
            widths = [part.channels for part in facts]
            shares = [width / sum(widths) for width in widths]
            return _joined(ks, lambda values: reduce(add, map(mul, values, shares)))
        if ks[0].diagonal:
            return _joined(ks, lambda values: jnp.concatenate(values, at))
        return _joined(ks, lambda values: _block_diagonal(values, 2 * at))

    def mask(masks, facts):
        if place(len(facts[0].space)) == len(facts[0].space):
            return None if any(m is None for m in masks) else reduce(and_, masks)
        known = next(m for m in masks if m is not None)
        return jnp.concatenate(
            [
                jnp.zeros((known.shape[0], *part.space), bool) if m is None else m
                for m, part in zip(masks, facts, strict=True)
            ],
            place(len(facts[0].space)) + 1,
        )

    def apply(params, x, context):
        return jnp.concatenate(x, place(x[0].ndim - 2) + 1)

    return layer_of(Rule(name, init, apply, infer, block, mask=mask, ops=2.0))


def _tuple_of(name: str, parts: Any) -> tuple:
    if not isinstance(parts, tuple | list) or not parts or isinstance(parts[0], int):
        raise ValueError(f"{name} needs a tuple of inputs, got one input: put a FanOut before it")
    return tuple(parts)


def _same_shape(name: str, facts: Any) -> tuple[Facts, ...]:
    parts = _tuple_of(name, facts)
    shapes = [(*part.space, part.channels) for part in parts]
    if len(set(shapes)) > 1:
        raise ValueError(f"inputs of {name} must have one shape (*space, channels), got {shapes}")
    return parts


def _check_gaussian(name: str, parts: Sequence[Facts]) -> None:
    if len(parts) > 1 and not all(part.gaussian for part in parts):
        raise NotImplementedError(
            f"{name} needs inputs that are all Gaussian of mean zero: end every branch with a "
            f"Dense or Conv layer; got gaussian = {[part.gaussian for part in parts]}"
        )


def _any_input(parts: Sequence[Facts]) -> bool:
    return any(part.is_input for part in parts)


def _init_equal(rng: Any, shapes: Any) -> tuple[tuple[int, ...], tuple]:
    shapes = [tuple(shape) for shape in _tuple_of("a fan-in", shapes)]
    if len(set(shapes)) > 1:
        raise ValueError(f"inputs of a fan-in must have one shape, got {shapes}")
    return no_params(rng, shapes[0])


def _all_masked(masks: tuple[Array | None, ...], _: Any) -> Array:
    return reduce(and_, [mask for mask in masks if mask is not None])


def _same_layout(ks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Diagonal, all of them, where one is: then no more is wanted of any."""
    if any(k.diagonal for k in ks):
        return tuple(k.to_diagonal() for k in ks)
    return ks


def _joined(ks: tuple[Block, ...], f: Callable[[list[Array]], Array]) -> Block:
    """The block of f, linear, of all NNGPs and of all NTKs."""
    return replace(
        ks[0], values=tuple(f(list(v)) for v in zip(*(k.values for k in ks), strict=True))
    )


def _block_diagonal(values: list[Array], axis: int) -> Array:
    """Blocks on the diagonal of axes (axis, axis + 1), zero elsewhere."""
    sizes = [value.shape[axis] for value in values]
    rows = []
    for i, value in enumerate(values):
        pads = [(0, 0)] * value.ndim
        pads[axis + 1] = (sum(sizes[:i]), sum(sizes[i + 1 :]))
        rows.append(jnp.pad(value, pads))
    return jnp.concatenate(rows, axis)
