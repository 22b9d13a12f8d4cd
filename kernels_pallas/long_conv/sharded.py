"""The long convolution with its batch and channels split over a mesh, by `jax.shard_map`.

Signals and channels are independent, so every device runs `long_conv` on its own share and the
forward program has no collective. Backward, the gradients of k, k_future and skip are summed over
the batch's axis: shard_map's own transpose does it, since they enter replicated over that axis.

shard_map's check of which values vary over which axes (`check_vma`) is on for implementations in
plain JAX and off otherwise: a `pallas_call` has no rule for it and raises. Values and gradients are
the same either way.

For lengths split over devices see sequence_parallel.py.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
from jax import Array
from jax.lax import Precision
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Float

from kernels_pallas.long_conv.api import long_conv
from kernels_pallas.long_conv.spectrum import Spectrum

PLAIN = ("xla", "reference")  # implementations that shard_map can check


def long_conv_sharded(
    u: Float[Array, "batch channels length"] | Float[Array, "batch length channels"],
    k: Float[Array, "channels taps"] | Spectrum,
    *,
    mesh: Mesh,
    batch_axis: str | tuple[str, ...] | None = None,
    channel_axis: str | tuple[str, ...] | None = None,
    k_future: Float[Array, "channels future"] | None = None,
    skip: Float[Array, "channels"] | None = None,
    pre_gate: Float[Array, "batch _ _"] | None = None,
    post_gate: Float[Array, "batch _ _"] | None = None,
    mode: str = "causal",
    layout: str = "BCL",
    implementation: str | None = None,
    precision: str | Precision | None = None,
) -> Float[Array, "batch _ _"]:
    """`long_conv` with the batch and the channels split over the axes of a mesh.

    u, the gates and the result are sharded over the batch by `batch_axis` and over the channels by
    `channel_axis`; k, k_future, skip (or a `Spectrum`) over the channels by `channel_axis` and
    replicated over the batch's. Operands that lie otherwise are brought there first. Axes of the
    mesh that are not named hold replicas.

    Args:
      u, k, k_future, skip, pre_gate, post_gate, mode, layout, implementation, precision: as
        `long_conv`, whole arrays.
      mesh: the devices, for instance `jax.make_mesh((2, 4), ("data", "model"),
        axis_types=(jax.sharding.AxisType.Auto,) * 2)`.
      batch_axis: the axis of the mesh, or axes, that split the batch; None: not split.
      channel_axis: the axis of the mesh, or axes, that split the channels; None: not split.

    Returns:
      y, as `long_conv`, sharded as u.

    Raises:
      ValueError: an axis that the mesh has not, one named twice, or a batch or channels that the
        devices on their axes do not divide; and whatever `long_conv` raises.
    """
    batch_axes, channel_axes = _axes(batch_axis), _axes(channel_axis)
    _check_axes(mesh, batch_axes, channel_axes)
    options: dict[str, Any] = {"mode": mode, "layout": layout, "precision": precision}
    optional = {"k_future": k_future, "skip": skip, "pre_gate": pre_gate, "post_gate": post_gate}
    operands = {"u": u, "k": k}
    operands |= {name: value for name, value in optional.items() if value is not None}
    # Checks the whole call, so that messages speak of whole shapes; computes nothing.
    whole = jax.eval_shape(
        lambda a: long_conv(**a, **options, implementation="reference"),
        jax.tree.map(_shape, operands),
    )
    channel_dimension = 1 if layout == "BCL" else 2
    for name, dimension, axes in (
        ("batch", 0, batch_axes),
        ("channels", channel_dimension, channel_axes),
    ):
        devices = math.prod(mesh.shape[axis] for axis in axes)
        if whole.shape[dimension] % devices:
            raise ValueError(
                f"u has {name} {whole.shape[dimension]} (shape {whole.shape}, layout {layout!r}), "
                f"which the {devices} devices of {name.removesuffix('s')}_axis {axes} do not "
                "divide; accepted: a multiple"
            )
    taps = PartitionSpec(channel_axes)
    signal = (
        PartitionSpec(batch_axes, channel_axes, None)
        if layout == "BCL"
        else PartitionSpec(batch_axes, None, channel_axes)
    )
    specs = {name: taps if name in ("k", "k_future", "skip") else signal for name in operands}
    local = partial(_local, implementation=implementation, **options)
    return jax.shard_map(
        local, mesh=mesh, in_specs=(specs,), out_specs=signal, check_vma=implementation in PLAIN
    )(operands)


def _local(operands: dict[str, Any], **options: Any) -> Array:
    """One device's share."""
    return long_conv(**operands, **options)


def _shape(operand: Any) -> Any:
    """The shape and dtype of an array, without its sharding; anything else as it is."""
    if hasattr(operand, "shape") and hasattr(operand, "dtype"):
        return jax.ShapeDtypeStruct(operand.shape, operand.dtype)
    return operand


def _axes(axis: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The axes as a tuple."""
    if axis is None:
        return ()
    return (axis,) if isinstance(axis, str) else tuple(axis)


def _check_axes(mesh: Mesh, batch: tuple[str, ...], channel: tuple[str, ...]) -> None:
    """Raise unless every axis belongs to the mesh and is named once."""
    for name, axes in (("batch_axis", batch), ("channel_axis", channel)):
        for axis in axes:
            if axis not in mesh.axis_names:
                raise ValueError(f"{name} is {axis!r}; the mesh has the axes {mesh.axis_names}")
            if (batch + channel).count(axis) > 1:
                raise ValueError(f"{name} is {axis!r}, which is named twice")


__all__ = ["long_conv_sharded"]
