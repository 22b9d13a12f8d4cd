"""The Jacobian of a parameter in factors, from the cotangents and activations of its uses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theory.empirical.contract import Factors, Feature, Formed, form
from theory.empirical.graph import value_of
from theory.empirical.uses import Label, Patches, Use


class Groups(NamedTuple):
    """Root axes of a parameter: in both factors, in X alone, in C alone."""

    both: tuple[Label, ...]
    inputs: tuple[Label, ...]
    outputs: tuple[Label, ...]


def feature(
    uses: list[Use],
    cotangents: Mapping[int, Array],
    values: Mapping[int, Any],
    root: tuple[int, ...],
    out_ndim: int,
) -> Feature:
    """The Jacobian of one parameter of one example.

    Args:
      uses: of the parameter, at least one.
      cotangents: (*output, *value) of every cut.
      values: of the network's graph.
      root: shape of the array that the uses' axes name.
      out_ndim: number of axes of the output.

    Returns:
      Factors where all uses have one form, their places side by side; else the Jacobian.
    """
    parts = [_factors(use, cotangents[use.cut], values, out_ndim) for use in uses]
    if len({groups for groups, _ in parts}) == 1:
        c = jnp.concatenate([f.c for _, f in parts], axis=-2)
        x = jnp.concatenate([f.x for _, f in parts], axis=-2)
        return Factors(c, x)
    first, *others = (_in_order(groups, form(f).j, root, out_ndim) for groups, f in parts)
    return Formed(sum(others, start=first))


def _in_order(groups: Groups, j: Array, root: tuple[int, ...], out_ndim: int) -> Array:
    """A formed Jacobian with the root's axes in order, flat again."""
    axes = groups.both + groups.inputs + groups.outputs
    full = j.reshape(*j.shape[:out_ndim], *(root[a] for a in axes))
    order = [*range(out_ndim), *(out_ndim + i for i in np.argsort(axes))]
    return full.transpose(order).reshape(j.shape)


def _factors(
    use: Use, c: Array, values: Mapping[int, Any], out_ndim: int
) -> tuple[Groups, Factors]:
    x, x_labels = jnp.ones((), c.dtype), use.x_labels
    if use.x is not None:
        x = jnp.asarray(value_of(use.x, values))
        if use.patches is not None:
            x = windows(x, use.patches)
    for factor, divides in use.scale:
        by = factor if isinstance(factor, float) else value_of(factor, values)
        x = x / by if divides else x * by
    shape = c.shape[out_ndim:]
    sizes = dict(zip(use.c_labels, shape, strict=True)) | dict(zip(x_labels, x.shape, strict=True))
    in_c, in_x = set(use.c_labels), set(x_labels)
    root = sorted(label for label in sizes if label >= 0)
    groups = Groups(
        tuple(a for a in root if a in in_c and a in in_x),
        tuple(a for a in root if a not in in_c),
        tuple(a for a in root if a not in in_x),
    )
    places = [label for label in use.c_labels if label < 0 and label in in_x]
    outputs = list(range(len(root) + 1000, len(root) + 1000 + out_ndim))

    def size(labels) -> int:
        return math.prod(sizes[label] for label in labels)

    c = jnp.einsum(c, [*outputs, *use.c_labels], [*outputs, *groups.both, *places, *groups.outputs])
    x = jnp.einsum(x, list(x_labels), [*groups.both, *places, *groups.inputs])
    m, b = size(places), size(groups.both)
    return groups, Factors(
        c.reshape(*c.shape[:out_ndim], b, m, size(groups.outputs)),
        x.reshape(b, m, size(groups.inputs)),
    )


def windows(x: Array, patches: Patches) -> Array:
    """The windows that a convolution sees: (batch, channels, *output places, *window)."""
    params, window = patches
    x = x.transpose(params["dimension_numbers"].lhs_spec)
    rank = len(window)
    spread = zip(params["padding"], params["lhs_dilation"], strict=True)
    x = lax.pad(
        x, jnp.zeros((), x.dtype), [(0, 0, 0)] * 2 + [(lo, hi, d - 1) for (lo, hi), d in spread]
    )
    for i, taps in enumerate(window):
        stride, dilation = params["window_strides"][i], params["rhs_dilation"][i]
        axis = 2 + i
        out = (x.shape[axis] - dilation * (taps - 1) - 1) // stride + 1
        at = stride * np.arange(out)[:, None] + dilation * np.arange(taps)
        if taps <= 16:
            slices = [
                lax.slice_in_dim(
                    x, t * dilation, t * dilation + stride * (out - 1) + 1, stride, axis
                )
                for t in range(taps)
            ]
            x = jnp.stack(slices, axis=x.ndim)
        else:
            x = jnp.moveaxis(jnp.take(x, at, axis=axis), axis + 1, -1)
    assert x.ndim == 2 + 2 * rank
    return x
