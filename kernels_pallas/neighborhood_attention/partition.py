"""Partition a kernel backend over batch and heads inside an auto-sharded jit.

A `pallas_call` is opaque to XLA's partitioner, which would gather its operands or refuse. Here a
backend's pair (kernel.py: `attend`, `adjoint`) is wrapped in `custom_partitioning`. Each device
runs the backend on its share of the batch and of the heads, with no communication. Heads are split
only where the devices divide the kv heads, so that a query head and its kv head stay together;
head sizes are brought together; a space axis that is split is an error, which names
`neighborhood_attention_spatial`.

`custom_partitioning` has no batching rule, so the wrapped pair brings its own: a mapped axis is
folded into the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec


@lru_cache(maxsize=32)
def partitioned(
    attend: Callable[..., tuple[Array, Array]], adjoint: Callable[..., tuple[Array, Array, Array]]
) -> tuple[Callable[..., tuple[Array, Array]], Callable[..., tuple[Array, Array, Array]]]:
    """The pair, each partitioned over batch and heads; the same pair for the same functions.

    Args:
      attend: a backend's `attend(static, q, k, v, mask)`.
      adjoint: its `adjoint(static, q, k, v, mask, lse, delta, do)`.

    Returns:
      Functions of the same arguments. What the originals are called with inside a partitioned
      program is one device's share, with `static.batch`, `heads` and `kv_heads` to match.

    Raises:
      jax.errors.JaxRuntimeError: when a program is compiled in which a space axis is split over
        devices, or operands lie on devices that form no mesh; it carries the reason.
    """
    return _wrapped(attend), _wrapped(adjoint)


def _wrapped(function: Callable) -> Callable:
    """`function` behind custom_vmap and custom_partitioning, compiled when called by itself."""
    # The inner jit keeps the kernel's constant tables to itself: custom_partitioning takes none.
    inner = jax.jit(function, static_argnums=0)

    def whole(static, *operands):
        return inner(static, *operands)

    split = custom_partitioning(whole, static_argnums=(0,))
    split.def_partition(partition=partial(_partition, inner), sharding_rule=_sharding_rule)

    @partial(jax.jit, static_argnums=0)
    def call(static, *operands):
        def rule(size: int, mapped: list, *operands):
            return _mapped(call, static, size, mapped, operands)

        # custom_partitioning needs devices to lower; a mesh of one, which a program may be lowered
        # for without any, has nothing to partition, and inside shard_map it has been done.
        mesh = jax.sharding.get_abstract_mesh()
        alone = mesh.size == 1 or (bool(mesh.axis_names) and mesh.are_all_axes_manual)
        one = custom_vmap(partial(inner if alone else split, static))
        one.def_vmap(rule)
        return one(*operands)

    return call


def _sharding_rule(static, mesh, value_types, result_types) -> str:
    """The Shardy rule: which dimensions of operands and results are the same.

    Query and kv heads are one factor where they are as many, and two otherwise; `_partition` then
    makes them agree. Head sizes are factors of no other dimension.
    """
    del mesh
    rank = len(static.space)
    fresh = iter(range(1000))

    def dimensions(t: Any) -> str:
        names = ["b", *(f"x{axis}" for axis in range(rank))][: len(t.shape)]
        if len(t.shape) > 1 + rank:
            names.append("h" if t.shape[1 + rank] == static.heads else "g")
        if len(t.shape) > 2 + rank:
            names.append(f"d{next(fresh)}")
        return " ".join(names)

    return " -> ".join(", ".join(map(dimensions, types)) for types in (value_types, result_types))


def _partition(function: Callable, static, mesh, operands: tuple, results: Any):
    """What one device computes, and how operands and results are laid out."""
    q = operands[0]
    if not isinstance(q.sharding, NamedSharding):
        raise ValueError(
            f"q has sharding {q.sharding}; a kernel is partitioned over the axes of a mesh: give "
            "arrays a NamedSharding, or call neighborhood_attention inside jax.shard_map"
        )
    mesh, rank = q.sharding.mesh, len(static.space)
    for a in jax.tree.leaves((operands, results)):
        for dimension in range(1, 1 + rank):
            if _axes(a, dimension):
                raise ValueError(
                    f"space axis {dimension - 1} of an operand (shape {a.shape}) is split over the "
                    f"mesh axes {_axes(a, dimension)} ({a.sharding.spec}); this implementation "
                    "takes whole axes: call neighborhood_attention_spatial, or reshard over batch "
                    "and heads"
                )
    batch = _divide(q, 0, static.batch)
    heads = _divide(q, 1 + rank, static.kv_heads)
    spec = (batch, *(None,) * rank, heads, None)

    def place(a: Any) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*spec[: a.ndim]))

    def local(*operands):
        share = static._replace(
            batch=operands[0].shape[0],
            heads=operands[0].shape[1 + rank],
            kv_heads=operands[1].shape[1 + rank],
        )
        return function(share, *operands)

    return mesh, local, jax.tree.map(place, results), jax.tree.map(place, operands)


def _axes(a: Any, dimension: int) -> tuple[str, ...]:
    """The mesh axes that split a dimension."""
    spec = a.sharding.spec
    axes = spec[dimension] if dimension < len(spec) else None
    if axes is None:
        return ()
    return (axes,) if isinstance(axes, str) else tuple(axes)


def _divide(a: Any, dimension: int, size: int) -> tuple[str, ...] | None:
    """The axes that split a dimension, where they divide `size`; else None: it is whole."""
    axes = _axes(a, dimension)
    devices = 1
    for axis in axes:
        devices *= a.sharding.mesh.shape[axis]
    return axes if axes and size % devices == 0 else None


def _mapped(call: Callable, static, size: int, mapped, operands: tuple):
    """The batching rule: `call` on operands whose mapped axis is folded into the batch."""
    flags = [bool(m) for m in jax.tree.leaves(mapped)]
    leaves, tree = jax.tree.flatten(operands)

    def fold(a: Array, flag: bool) -> Array:
        if not flag:
            a = jnp.broadcast_to(a, (size, *a.shape))
        return a.reshape(size * a.shape[1], *a.shape[2:])

    folded = [fold(a, flag) for a, flag in zip(leaves, flags, strict=True)]
    out = call(static._replace(batch=size * static.batch), *jax.tree.unflatten(tree, folded))
    out = jax.tree.map(lambda a: a.reshape(size, static.batch, *a.shape[1:]), out)
    return out, jax.tree.map(lambda _: True, out)


__all__ = ["partitioned"]
