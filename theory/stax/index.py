"""Indexing, as of a NumPy array."""

from __future__ import annotations

from dataclasses import replace
from types import EllipsisType
from typing import Any

from theory.stax.affine import check_axes
from theory.stax.layer import Layer, layer_of, rule_of
from theory.stax.rule import Rule

Item = int | slice | EllipsisType


class _Slice:
    """Gives back what it is indexed by."""

    def __getitem__(self, idx: Item | tuple[Item, ...]) -> Item | tuple[Item, ...]:
        return idx


Slice = _Slice()
"""Writes an index: Slice[:, 1:3, ::-1] is (slice(None), slice(1, 3), slice(None, None, -1))."""


def Index(
    idx: Item | tuple[Item, ...],
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    """y = x[idx]; K' and Theta' are K and Theta at the pairs of places that are kept.

    An int removes its spatial axis.

    Args:
      idx: ints, slices and at most one `...`, for (batch, *space, channels); `Slice[..]` writes
        one. The batch must be kept whole, by `:`, and for a limit to exist the channels, too.
      batch_axis, channel_axis: 0 and -1; others are refused.

    Raises:
      ValueError: idx is not of the kind described, or, when used, does not fit the inputs, or
        keeps nothing of an axis.
      NotImplementedError: `kernel_fn` with an index into the channels.
    """
    check_axes(batch_axis, channel_axis)
    items = idx if isinstance(idx, tuple) else (idx,)
    name = f"Index({', '.join(_written(item) for item in items)})"
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | slice | EllipsisType):
            raise ValueError(
                f"idx must hold ints, slices and at most one ..., got {item!r} in {idx!r}"
            )
    if sum(item is ... for item in items) > 1:
        raise ValueError(f"idx must hold at most one ..., got {idx!r}")

    def whole(ndim: int) -> tuple[int | slice, ...]:
        """One item for every axis of (batch, *space, channels)."""
        given: list[Any] = list(items) if ... in items else [*items, ...]
        at = given.index(...)
        missing = ndim - (len(given) - 1)
        if missing < 0:
            raise ValueError(f"{name} has more items than the inputs have axes ({ndim})")
        full = (*given[:at], *[slice(None)] * missing, *given[at + 1 :])
        if full[0] != slice(None):
            raise ValueError(f"{name} must keep the batch whole, by ':', got {full[0]!r} for it")
        return full

    def taken(sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Sizes of (*space, channels) after indexing."""
        out = []
        for item, size in zip(whole(len(sizes) + 1)[1:], sizes, strict=True):
            if isinstance(item, slice):
                out.append(len(range(size)[item]))
            elif not -size <= item < size:
                raise ValueError(f"{name}: {item} is out of range for an axis of size {size}")
        if 0 in out:
            raise ValueError(f"{name} keeps nothing of (*space, channels) = {sizes}")
        return tuple(out)

    def init(rng, shape):
        kept = taken(tuple(shape[1:]))
        if isinstance(whole(len(shape))[-1], int):
            raise ValueError(f"{name} would remove the channels; index them by a slice")
        return (shape[0], *kept), ()

    def apply(params, x, context):
        return x[whole(x.ndim)]

    def infer(facts):
        if whole(len(facts.space) + 2)[-1] != slice(None):
            raise NotImplementedError(f"{name} indexes the channels, which has no limit")
        *space, channels = taken((*facts.space, facts.channels))
        return facts.replace(space=tuple(space), channels=channels)

    def block(k, left, right, facts):
        items = whole(k.rank + 2)[1:-1]
        rank = sum(isinstance(item, slice) for item in items)
        at = items if k.diagonal else tuple(item for item in items for _ in range(2))
        return k.linear(lambda value: value[at], rank=rank)

    def mask(masks, facts):
        return masks[whole(masks.ndim + 1)[:-1]]

    return layer_of(Rule(name, init, apply, infer, block, mask=mask, ops=0.0))


def LastPosition() -> Layer:
    """The last position of a sequence, the readout of causal models.

        y = x_L,   K' = K[L, L],   Theta' = Theta[L, L]

    Raises:
      ValueError: when used, inputs with another number of spatial axes than one.
    """
    index = rule_of(Index(Slice[:, -1]))

    def one_axis(rank: int) -> None:
        if rank != 1:
            raise ValueError(f"LastPosition() needs inputs with one spatial axis, got {rank}")

    def init(rng, shape):
        one_axis(len(shape) - 2)
        return index.init(rng, shape)

    def infer(facts):
        one_axis(len(facts.space))
        return index.infer(facts)

    return layer_of(replace(index, name="LastPosition()", init=init, infer=infer))


def _written(item: Any) -> str:
    if item is ...:
        return "..."
    if not isinstance(item, slice):
        return repr(item)
    parts = ["" if part is None else str(part) for part in (item.start, item.stop, item.step)]
    return ":".join(parts if item.step is not None else parts[:2])
