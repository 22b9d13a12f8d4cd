"""Which keys a query attends, and which queries attend a key: pure integer functions of one axis.

An axis of `length` L with dilation d falls into d groups. Query i is at place p = i // d of group
g = i mod d, which has n = ceil((L - g) / d) places; everything below counts places within a group.
With window w and stride s, query p attends the keys start <= t < end of its own group:

    not causal  lead = min((p // s) s + s // 2, n - 1)     start = clip(lead - w // 2, 0, n - w)
                                                           end   = start + w
    causal      lead = min((p // s) s + s - 1, n - 1)      start = max(lead - (w - 1), 0)
                                                           end   = p + 1

start and end never decrease with p, so the queries that attend key t are an interval as well,
inverse_start <= p < inverse_end, and so is whatever a run of queries attends. A neighbourhood is
the product over axes.

Every function takes Python ints, NumPy arrays or traced JAX integers for places and group lengths;
window, stride and causal are static.

Reference: Hassani et al. 2023, "Neighborhood Attention Transformer"; Hassani et al. 2025,
"Generalized Neighborhood Attention" (stride).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Integer = Any  # int, NumPy integers, or a JAX integer array


class Axis(NamedTuple):
    """The static facts of one axis of a neighbourhood."""

    length: int
    window: int
    dilation: int = 1
    stride: int = 1
    causal: bool = False


def axes_of(facts: Any) -> tuple[Axis, ...]:
    """The axes of whatever record has space, window, dilation, stride and causal, one an axis."""
    columns = facts.space, facts.window, facts.dilation, facts.stride, facts.causal
    return tuple(Axis(*axis) for axis in zip(*columns, strict=True))


def _minimum(a: Integer, b: Integer) -> Integer:
    return jnp.minimum(a, b) if _traced(a, b) else np.minimum(a, b)


def _maximum(a: Integer, b: Integer) -> Integer:
    return jnp.maximum(a, b) if _traced(a, b) else np.maximum(a, b)


def _where(condition: Any, a: Integer, b: Integer) -> Integer:
    return jnp.where(condition, a, b) if _traced(condition, a, b) else np.where(condition, a, b)


def _traced(*values: Any) -> bool:
    return any(isinstance(value, Array) for value in values)


def _divide(a: Integer, by: int) -> Integer:
    """a // by for a >= 0, without the sign handling that a kernel would carry."""
    if by == 1:
        return a
    return lax.div(a, jnp.full_like(a, by)) if _traced(a) else a // by


def group_length(length: int, dilation: int, group: Integer) -> Integer:
    """n, the places of a dilation group: ceil((length - group) / dilation)."""
    return _divide(length - group + dilation - 1, dilation)


def start(place: Integer, n: Integer, window: int, stride: int, causal: bool) -> Integer:
    """The first key that the query at `place` attends, 0 <= place < n."""
    group = _divide(place, stride) * stride
    if causal:
        lead = _minimum(group + (stride - 1), n - 1)
        return _maximum(lead - (window - 1), 0)
    lead = _minimum(group + stride // 2, n - 1)
    return _minimum(_maximum(lead - window // 2, 0), n - window)


def end(place: Integer, n: Integer, window: int, stride: int, causal: bool) -> Integer:
    """One past the last key that the query at `place` attends."""
    return place + 1 if causal else start(place, n, window, stride, causal) + window


def inverse_start(key: Integer, n: Integer, window: int, stride: int, causal: bool) -> Integer:
    """The first query that attends `key`, 0 <= key < n."""
    if causal:
        return key
    shift = window // 2 - stride // 2
    # The first stride group whose lead - w // 2 > key - w, 0 while the window is still clipped.
    group = _divide(_maximum(key - window + 1 + shift, 0) + (stride - 1), stride)
    last = _divide(n - 1, stride)
    return _where(key < window, 0, _minimum(group, last) * stride)


def inverse_end(key: Integer, n: Integer, window: int, stride: int, causal: bool) -> Integer:
    """One past the last query that attends `key`."""
    if causal:
        stop = _divide(key + window, stride) * stride
        return _where(key + window >= n, n, _minimum(n, stop))
    shift = window // 2 - stride // 2
    stop = (_divide(_maximum(key + shift, 0), stride) + 1) * stride
    return _where((key >= n - window) | (key + window // 2 >= n - 1), n, _minimum(n, stop))
