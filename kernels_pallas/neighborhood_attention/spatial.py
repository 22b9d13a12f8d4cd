"""Neighborhood attention over images and sequences that are split over devices: halo exchange.

A device that holds places o .. o+m-1 of an axis attends keys from start(o) to end(o+m-1) - 1 only
(windows.py, counted in places of a dilation group), so it needs a strip of its neighbours' keys on
either side, the halo, and nothing else. With P devices, m = L/P and j the device, in places of the
whole axis:

    left_j  = d max(0, jm/d - start(jm/d))
    right_j = d max(0, end((j+1)m/d - 1) - (j+1)m/d)

Inside the image that is about half a window on both sides. At the borders, where windows move
inside, it is up to a whole window on one side and nothing on the other; a causal axis has no right
halo. Axes are exchanged one after the other, each with the strips that came before, so corners are
there too. A halo wider than a shard comes in several hops. Each hop is one `ppermute` of k and one
of v (and of the mask), its strip as wide as its neediest receiver, sent to those devices alone that
need one; no key is gathered anywhere. Backward, `ppermute`'s transpose sends the strips' gradients
home.

Then every device runs the attention of the `xla` implementation on its own queries and the strip of
keys around them, told where both begin on the whole axis: windows are placed as on one device, and
results are those of one device but for the order of sums. Other implementations know whole problems
only; spatial_whole.py makes one of a share.

Reference: Hassani et al. 2023, "Neighborhood Attention Transformer" (the windows). The exchange is
that of stencil codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh
from jaxtyping import Bool, Float

from kernels_pallas import validate
from kernels_pallas.neighborhood_attention import windows, xla
from kernels_pallas.neighborhood_attention.api import IMPLEMENTATIONS
from kernels_pallas.neighborhood_attention.call import Call, check_call
from kernels_pallas.neighborhood_attention.sharded import (
    PLAIN,
    MeshAxes,
    axes_of,
    check_axes,
    check_shares,
    own_heads,
    specs_of,
)
from kernels_pallas.neighborhood_attention.spatial_whole import Strip, Strips, attend_as_whole
from kernels_pallas.varying import alike


def neighborhood_attention_spatial(
    q: Float[Array, "batch *space heads head_dim"],
    k: Float[Array, "batch *space kv_heads head_dim"],
    v: Float[Array, "batch *space kv_heads value_dim"],
    *,
    mesh: Mesh,
    space_axes: Sequence[str | None],
    batch_axis: MeshAxes = None,
    head_axis: MeshAxes = None,
    window: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    stride: int | Sequence[int] = 1,
    causal: bool | Sequence[bool] = False,
    scale: float | None = None,
    additional_keys: Float[Array, "batch additional kv_heads head_dim"] | None = None,
    additional_values: Float[Array, "batch additional kv_heads value_dim"] | None = None,
    mask: Bool[Array, "batch *space"] | None = None,
    bias: Float[Array, "heads *offsets"] | None = None,
    return_lse: bool = False,
    implementation: str | None = None,
) -> (
    Float[Array, "batch *space heads value_dim"]
    | tuple[Float[Array, "batch *space heads value_dim"], Float[Array, "batch *space heads"]]
):
    """`neighborhood_attention` with axes of space split over the axes of a mesh.

    q, k, v, mask and the results are sharded over each axis of space by its entry of `space_axes`,
    and over batch and heads as in `neighborhood_attention_sharded`; additional keys and values and
    the bias are replicated over the axes of space. Operands that lie otherwise are brought there
    first. Keys and values travel between neighbouring devices only, the strip that windows reach
    over (see the top of this file); the width per axis, in places, is the largest that any of the
    P devices of L / P places needs (`halo`):

        left   max_j d max(0, p_j - start(p_j)),        p_j = j L / (P d)
        right  max_j d max(0, end(p_(j+1) - 1) - p_(j+1))

    With stride 1 and not causal that is d max(w // 2, w - L / (P d)) on the left and
    d max((w - 1) // 2, w - L / (P d)) on the right; a causal axis has 0 on the right. P is > 1.

    Differentiable as the implementation is; the gradients of replicated operands are summed over
    the devices.

    Args:
      q, k, v, window, dilation, stride, causal, scale, additional_keys, additional_values, mask,
        bias, return_lse: as `neighborhood_attention`, whole arrays.
      mesh: the devices, for instance `jax.make_mesh((4,), ("rows",),
        axis_types=(jax.sharding.AxisType.Auto,))`.
      space_axes: for each axis of space the axis of the mesh that splits it, or None.
      batch_axis, head_axis: as `neighborhood_attention_sharded`.
      implementation: what each device runs; None is "xla", which computes its own queries alone.
        Any other, by name, also computes rows that are thrown away, on a split axis about as many
        as the halo is wide on both sides (spatial_whole.py).

    Returns:
      out, or (out, lse), as `neighborhood_attention`, sharded as q.

    Raises:
      ValueError: an axis that the mesh has not, one named twice, space_axes with another number of
        entries than axes of space, a length that the devices on its axis do not divide, a share
        that is no multiple of the dilation; batch or heads as in `neighborhood_attention_sharded`;
        and whatever `neighborhood_attention` raises.
    """
    validate.one_of("implementation", implementation, (None, *IMPLEMENTATIONS))
    call, operands = check_call(
        q,
        k,
        v,
        additional_keys,
        additional_values,
        mask,
        bias,
        window=window,
        dilation=dilation,
        stride=stride,
        causal=causal,
        scale=scale,
        return_lse=return_lse,
    )
    names = _check_space_axes(space_axes, len(call.space))
    split = {"batch_axis": axes_of(batch_axis), "head_axis": axes_of(head_axis)}
    check_axes(mesh, {"space_axes": tuple(name for name in names if name is not None)} | split)
    shared = check_shares(call, mesh, split)
    strips = _strips(call, mesh, names)
    specs = specs_of(split["batch_axis"], names, split["head_axis"], shared)
    plain = implementation in (None, "xla")

    def local(operands: dict[str, Array]) -> Any:
        operands = dict(zip(operands, alike(*operands.values()), strict=True))
        operands = own_heads(operands, split["head_axis"], shared)
        q = operands["q"]
        share = call._replace(batch=q.shape[0], heads=q.shape[-2], kv_heads=operands["k"].shape[-2])
        for i, strip in enumerate(strips):
            for name in ("k", "v", "mask"):
                if strip is not None and name in operands:
                    operands[name] = _extend(operands[name], strip, 1 + i)
        if plain:
            out, lse = _attend(share, strips, operands)
        else:
            out, lse = attend_as_whole(share, strips, operands, implementation)
        return (out, lse) if return_lse else out

    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=({name: specs[name] for name in operands},),
        out_specs=(specs["out"], specs["lse"]) if return_lse else specs["out"],
        check_vma=plain or implementation in PLAIN,
    )(operands)


def halo(axis: windows.Axis, devices: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The places that each device needs before its own share of an axis, and after.

    Args:
      axis: its length is a multiple of devices * dilation.
      devices: P, each with length / P consecutive places.

    Returns:
      (left, right): P widths each, in places of the whole axis, multiples of the dilation.
    """
    n = axis.length // axis.dilation  # the length of every dilation group
    first = n // devices * np.arange(devices)
    stop = first + n // devices
    rest = (n, axis.window, axis.stride, axis.causal)
    # start and end never decrease: the first query reaches furthest to the left, the last right.
    left = axis.dilation * np.maximum(first - windows.start(first, *rest), 0)
    right = axis.dilation * np.maximum(windows.end(stop - 1, *rest) - stop, 0)
    return tuple(map(int, left)), tuple(map(int, right))


def _attend(call: Call, strips: Strips, operands: dict[str, Array]) -> tuple[Array, Array]:
    """(out, lse) of this device's share of the queries, its keys being extended by the halo."""
    frame = []
    for strip in strips:
        if strip is None:
            frame.append((0, 0))
            continue
        origin = lax.axis_index(strip.mesh_axis) * strip.share
        frame.append((origin, origin - max(strip.left)))
    rest = ("additional_keys", "additional_values", "mask", "bias")
    return xla.attend_frame(
        call,
        frame,
        operands["q"],
        operands["k"],
        operands["v"],
        *(operands.get(name) for name in rest),
    )


def _extend(a: Array, strip: Strip, dimension: int) -> Array:
    """This device's share with the halo on both sides; zeros where nothing is needed."""
    pieces = [a]
    for needs, step in ((strip.left, 1), (strip.right, -1)):
        widest = max(needs)
        for hop in range(1, -(-widest // strip.share) + 1):
            before = (hop - 1) * strip.share  # what nearer devices have sent
            width = min(strip.share, widest - before)
            begin = strip.share - width if step > 0 else 0
            sent = lax.slice_in_dim(a, begin, begin + width, axis=dimension)
            receivers = [j for j, need in enumerate(needs) if need > before]
            pairs = [(j - step * hop, j) for j in receivers]
            came = lax.ppermute(sent, strip.mesh_axis, pairs)  # zeros where nobody sends
            pieces = [came, *pieces] if step > 0 else [*pieces, came]
    return jnp.concatenate(pieces, axis=dimension)


def _check_space_axes(space_axes: Any, rank: int) -> tuple[str | None, ...]:
    """One axis of the mesh, or None, for each axis of space."""
    fits = isinstance(space_axes, Sequence) and not isinstance(space_axes, str)
    if not fits or len(space_axes) != rank:
        raise ValueError(
            f"space_axes is {space_axes!r}; accepted: a sequence of {rank}, for each axis of space "
            "of q an axis of the mesh or None"
        )
    return tuple(space_axes)


def _strips(call: Call, mesh: Mesh, names: tuple[str | None, ...]) -> Strips:
    """The strip of each axis of space, None for one that a single device holds whole."""
    strips: list[Strip | None] = []
    for i, name in enumerate(names):
        devices = 1 if name is None else mesh.shape[name]
        if name is None or devices == 1:
            strips.append(None)
            continue
        axis = windows.axes_of(call)[i]
        if axis.length % (devices * axis.dilation):
            raise ValueError(
                f"q has length {axis.length} on axis {i} of space {call.space}, split over the "
                f"{devices} devices of {name!r} with dilation {axis.dilation}; accepted: a "
                f"multiple of devices times dilation, {devices * axis.dilation}"
            )
        strips.append(Strip(name, axis.length // devices, *halo(axis, devices)))
    return tuple(strips)


__all__ = ["halo", "neighborhood_attention_spatial"]
