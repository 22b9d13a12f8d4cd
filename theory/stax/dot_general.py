"""Any fixed linear map of the spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory.stax.affine import check_axes, written
from theory.stax.layer import IDENTITY, Layer, layer_of
from theory.stax.rule import Rule
from theory.stax.windows import need_pairs

Axes = Sequence[int]


class _Roles(NamedTuple):
    """What the axes do; axes of inputs count from the batch, those of the factor from 0.

    Attributes:
      contracted, shared: of the inputs, summed over and multiplied place by place.
      factor_contracted, factor_shared: the same of the factor, in the same order.
      kept: spatial axes of the inputs that are neither.
      new: axes of the factor that are neither.
    """

    contracted: tuple[int, ...]
    shared: tuple[int, ...]
    factor_contracted: tuple[int, ...]
    factor_shared: tuple[int, ...]
    kept: tuple[int, ...]
    new: tuple[int, ...]


def DotGeneral(
    *,
    lhs: Array | np.ndarray | float | None = None,
    rhs: Array | np.ndarray | float | None = None,
    dimension_numbers: tuple[tuple[Axes, Axes], tuple[Axes, Axes]] = (((), ()), ((), ())),
    precision: Any = None,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    """lax.dot_general of the inputs with a fixed factor A: `lhs` or `rhs`, whichever is given.

        y_p = sum_i A[p, i] x_i,   K'[p, q] = sum_{i, j} A[p, i] A[q, j] K[i, j]

    and Theta' as K'. Neither given: the identity. The batch then goes first and channels last; the
    spatial axes keep the order of lax.dot_general: those shared with the factor, then the factor's
    own and the inputs' other ones, the left operand's first.

    Args:
      lhs, rhs: the factor, on the left or on the right of the inputs; not both.
      dimension_numbers: ((contracted axes of the left, of the right), (shared axes of both)), as
        lax.dot_general, axes of inputs (batch, *space, channels); spatial axes alone.
      precision: of the finite layer's product, as lax.dot_general.
      batch_axis, channel_axis: 0 and -1; others are refused.

    An output is masked where no place that is not enters it with a factor other than zero.

    Raises:
      ValueError: both factors, axes that do not match, the batch or channels among them.
    """
    check_axes(batch_axis, channel_axis)
    if lhs is not None and rhs is not None:
        raise ValueError("lhs and rhs must not both be given: the other factor is the inputs")
    if lhs is None and rhs is None:
        return layer_of(IDENTITY)
    is_left = lhs is not None
    factor = np.asarray(lhs if is_left else rhs)
    (contracted, shared) = dimension_numbers
    side = slice(None, None, -1 if is_left else 1)  # the inputs' axes first
    in_contracted, of_contracted = (tuple(axes) for axes in tuple(contracted)[side])
    in_shared, of_shared = (tuple(axes) for axes in tuple(shared)[side])

    def roles(space) -> _Roles:
        ndim = len(space) + 2
        found = _Roles(
            _positive(in_contracted, ndim, "inputs"),
            _positive(in_shared, ndim, "inputs"),
            _positive(of_contracted, factor.ndim, "the factor"),
            _positive(of_shared, factor.ndim, "the factor"),
            (),
            (),
        )
        mine = found.contracted + found.shared
        its = found.factor_contracted + found.factor_shared
        if len(mine) != len(its) or not all(0 < axis < ndim - 1 for axis in mine):
            raise ValueError(
                "dimension_numbers must pair spatial axes of the inputs (not the batch, 0, nor "
                f"channels, {ndim - 1}) with axes of the factor, got {dimension_numbers}"
            )
        for axis, at in zip(mine, its, strict=True):
            if space[axis - 1] != factor.shape[at]:
                raise ValueError(
                    f"axis {axis} of the inputs, of size {space[axis - 1]}, must have the size of "
                    f"axis {at} of the factor, {factor.shape[at]}"
                )
        kept = tuple(axis for axis in range(1, ndim - 1) if axis not in mine)
        return found._replace(kept=kept, new=tuple(a for a in range(factor.ndim) if a not in its))

    def space_of(space) -> tuple[int, ...]:
        r = roles(space)
        own, new = tuple(space[a - 1] for a in r.kept), tuple(factor.shape[a] for a in r.new)
        parts = (new, own) if is_left else (own, new)
        return (*(space[a - 1] for a in r.shared), *parts[0], *parts[1])

    def dot(x: Array, by: np.ndarray, how: Any) -> Array:
        r = roles(x.shape[1:-1])
        mine, its = (r.contracted, r.shared), (r.factor_contracted, r.factor_shared)
        factor_of = jnp.asarray(by, x.dtype)
        if is_left:
            numbers = (its[0], mine[0]), (its[1], mine[1])
            out = lax.dot_general(factor_of, x, numbers, how)
        else:
            numbers = (mine[0], its[0]), (mine[1], its[1])
            out = lax.dot_general(x, factor_of, numbers, how)
        batch = len(r.shared) + (len(r.new) if is_left else 0)
        return jnp.moveaxis(out, (batch, batch + len(r.kept) + 1), (0, -1))

    def init(rng, shape):
        del rng
        return (shape[0], *space_of(shape[1:-1]), shape[-1]), ()

    def apply(params, x, context):
        return dot(x, factor, precision)

    def infer(facts):
        return facts.replace(space=space_of(facts.space))

    def block(k, left, right, facts):
        r = roles(facts.space)
        if r.contracted:
            need_pairs("DotGeneral", k)
        labels = _Labels(k.rank, factor.ndim, k.diagonal)
        sides = [0] if k.diagonal else [0, 1]
        inside = [labels.place(axis, half) for axis in range(1, k.rank + 1) for half in sides]
        out_axes = [*[("place", a) for a in r.shared]]
        own, new = [("place", a) for a in r.kept], [("factor", a) for a in r.new]
        out_axes += new + own if is_left else own + new
        outside = [
            labels.place(a, half) if kind == "place" else labels.factor(a, half)
            for kind, a in out_axes
            for half in sides
        ]
        partner = dict(
            zip(r.factor_contracted + r.factor_shared, r.contracted + r.shared, strict=True)
        )

        def of_factor(half):
            return [
                labels.place(partner[a], half) if a in partner else labels.factor(a, half)
                for a in range(factor.ndim)
            ]

        def of(value):
            by = jnp.asarray(factor, value.dtype)
            return jnp.einsum(
                by,
                of_factor(0),
                value,
                [*inside, ...],
                by,
                of_factor(1),
                [*outside, ...],
                precision="highest",
            )

        return k.linear(of, rank=len(out_axes))

    def mask(m, facts):
        seen = dot((~m)[..., None].astype(jnp.float32), factor != 0, "highest")
        return seen[..., 0] == 0

    return layer_of(
        Rule(
            written(
                "DotGeneral",
                f"{'lhs' if is_left else 'rhs'}=[{factor.shape}]",
                dimension_numbers=(dimension_numbers, (((), ()), ((), ()))),
            ),
            init,
            apply,
            infer,
            block,
            mask=mask,
            ops=2.0 * max(1, factor.size),
            full=lambda wanted: wanted or bool(in_contracted),
        )
    )


class _Labels(NamedTuple):
    """Numbers for the axes of an einsum; half 0 is p, half 1 is q, the same where diagonal."""

    rank: int
    factor_ndim: int
    diagonal: bool

    def place(self, axis: int, half: int) -> int:
        return 2 * axis + (0 if self.diagonal else half)

    def factor(self, axis: int, half: int) -> int:
        return 2 * (self.rank + 1 + axis) + (0 if self.diagonal else half)


def _positive(axes: Axes, ndim: int, of: str) -> tuple[int, ...]:
    """Axes counted from 0.

    Raises:
      ValueError: one is out of range, or named twice.
    """
    out = tuple(axis % ndim if -ndim <= axis < ndim else -1 for axis in axes)
    if -1 in out or len(set(out)) != len(out):
        raise ValueError(
            f"dimension_numbers must name axes of {of}, which has {ndim}, at most once each, "
            f"got {tuple(axes)}"
        )
    return out
