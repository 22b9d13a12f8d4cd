"""Neighborhood attention with its batch and heads split over a mesh, by `jax.shard_map`.

Samples and heads are independent, so every device runs `neighborhood_attention` on its own share
and the forward program has no collective. Backward, the gradients of operands that several devices
hold (bias over the batch's axis; keys and values of a head that several devices share) are summed
over them: shard_map's own transpose does it.

shard_map's check of which values vary over which axes (`check_vma`) is on for implementations in
plain JAX and off otherwise: a `pallas_call` has no rule for it and raises. Values and gradients are
the same either way.

For images and sequences split over devices see spatial.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from jax import Array, lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Bool, Float

from kernels_pallas.neighborhood_attention import api
from kernels_pallas.neighborhood_attention.call import Call, check_call

PLAIN = ("xla", "reference")  # implementations that shard_map can check
MeshAxes = str | tuple[str, ...] | None


def neighborhood_attention_sharded(
    q: Float[Array, "batch *space heads head_dim"],
    k: Float[Array, "batch *space kv_heads head_dim"],
    v: Float[Array, "batch *space kv_heads value_dim"],
    *,
    mesh: Mesh,
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
    """`neighborhood_attention` with the batch and the heads split over the axes of a mesh.

    q and the results are sharded over the batch by `batch_axis` and over the heads by `head_axis`;
    k, v and the additional keys and values likewise, mask over the batch, bias over the heads.
    Where there are more devices on the heads' axes than kv_heads, each key head is shared by
    several devices: keys and values are then replicated over those axes. Operands that lie
    otherwise are brought there first. Axes of the mesh that are not named hold replicas.

    Args:
      q, k, v, window, dilation, stride, causal, scale, additional_keys, additional_values, mask,
        bias, return_lse, implementation: as `neighborhood_attention`, whole arrays.
      mesh: the devices, for instance `jax.make_mesh((2, 4), ("data", "model"),
        axis_types=(jax.sharding.AxisType.Auto,) * 2)`.
      batch_axis: the axis of the mesh, or axes, that split the batch; None: not split.
      head_axis: the axis of the mesh, or axes, that split the heads; None: not split.

    Returns:
      out, or (out, lse), as `neighborhood_attention`, sharded as q.

    Raises:
      ValueError: an axis that the mesh has not, one named twice, a batch that the devices on its
        axes do not divide, or heads that they do not (they must divide heads, and either divide
        kv_heads or be a multiple of them); and whatever `neighborhood_attention` raises.
    """
    split = {"batch_axis": axes_of(batch_axis), "head_axis": axes_of(head_axis)}
    check_axes(mesh, split)
    options: dict[str, Any] = {
        "window": window,
        "dilation": dilation,
        "stride": stride,
        "causal": causal,
        "scale": scale,
    }
    call, operands = check_call(
        q, k, v, additional_keys, additional_values, mask, bias, **options, return_lse=return_lse
    )
    shared = check_shares(call, mesh, split)
    specs = specs_of(split["batch_axis"], (None,) * len(call.space), split["head_axis"], shared)

    def local(operands: dict[str, Array]) -> Any:
        operands = own_heads(operands, split["head_axis"], shared)
        return api.neighborhood_attention(
            **operands, **options, return_lse=return_lse, implementation=implementation
        )

    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=({name: specs[name] for name in operands},),
        out_specs=(specs["out"], specs["lse"]) if return_lse else specs["out"],
        check_vma=implementation in PLAIN,
    )(operands)


# What the two sharded forms share.

KEYS = ("k", "v", "additional_keys", "additional_values")


def axes_of(axis: MeshAxes) -> tuple[str, ...]:
    """The axes of a mesh as a tuple."""
    if axis is None:
        return ()
    return (axis,) if isinstance(axis, str) else tuple(axis)


def check_axes(mesh: Mesh, split: dict[str, tuple[str, ...]]) -> None:
    """Raise unless every axis belongs to the mesh and is named once."""
    named = [axis for axes in split.values() for axis in axes]
    for name, axes in split.items():
        for axis in axes:
            if axis not in mesh.axis_names:
                raise ValueError(f"{name} is {axis!r}; the mesh has the axes {mesh.axis_names}")
            if named.count(axis) > 1:
                raise ValueError(f"{name} is {axis!r}, which is named twice; accepted: once")


def check_shares(call: Call, mesh: Mesh, split: dict[str, tuple[str, ...]]) -> int:
    """How many devices share a key head; raise unless batch and heads fall into equal shares."""
    devices = math.prod(mesh.shape[axis] for axis in split["batch_axis"])
    if call.batch % devices:
        raise ValueError(
            f"q has batch {call.batch}, which the {devices} devices of batch_axis "
            f"{split['batch_axis']} do not divide; accepted: a multiple"
        )
    devices = math.prod(mesh.shape[axis] for axis in split["head_axis"])
    if call.heads % devices:
        raise ValueError(
            f"q has {call.heads} heads, which the {devices} devices of head_axis "
            f"{split['head_axis']} do not divide; accepted: a multiple"
        )
    if call.kv_heads % devices == 0:
        return 1
    if devices % call.kv_heads:
        raise ValueError(
            f"k has {call.kv_heads} heads for the {devices} devices of head_axis "
            f"{split['head_axis']}; accepted: a multiple or a divisor of the devices"
        )
    return devices // call.kv_heads


def specs_of(
    batch: tuple[str, ...], space: tuple[str | None, ...], heads: tuple[str, ...], shared: int
) -> dict[str, PartitionSpec]:
    """How every operand lies, by name, and out and lse."""
    key_heads = () if shared > 1 else heads
    keys = PartitionSpec(batch, *space, key_heads, None)
    additional = PartitionSpec(batch, None, key_heads, None)
    return {
        "q": PartitionSpec(batch, *space, heads, None),
        "k": keys,
        "v": keys,
        "additional_keys": additional,
        "additional_values": additional,
        "mask": PartitionSpec(batch, *space),
        "bias": PartitionSpec(heads),
        "out": PartitionSpec(batch, *space, heads, None),
        "lse": PartitionSpec(batch, *space, heads),
    }


def own_heads(
    operands: dict[str, Array], head_axis: tuple[str, ...], shared: int
) -> dict[str, Array]:
    """The operands with those key heads alone that this device's query heads attend."""
    if shared == 1:
        return operands
    head = lax.axis_index(head_axis) // shared
    own = partial(lax.dynamic_slice_in_dim, start_index=head, slice_size=1, axis=-2)
    return operands | {name: own(operands[name]) for name in KEYS if name in operands}


__all__ = ["neighborhood_attention_sharded"]
