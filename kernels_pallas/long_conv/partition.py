"""Partition a kernel backend over batch and channels inside an auto-sharded jit.

A `pallas_call` is opaque to XLA's partitioner, which would gather its operands or refuse. Here a
backend's pair (kernel.py: `convolve`, `adjoint`) is wrapped in `custom_partitioning`, with the rule

    convolve   b c l, c f, c f, c, b c l, b c l         ->  b c l
    adjoint    b c l, c f, c f, c, b c l, b c l, b c l  ->  b c l, c f, c f, c, b c l, b c l

(operands that are absent drop out). Each device runs the backend on its share of b and c with no
communication; the adjoint's sums over the batch, ds and dskip, are added over the devices of b by
one psum. The spectrum's frequencies f are brought together; a length l that is split is an error,
which names `long_conv_sequence_parallel`.

`custom_partitioning` has no batching rule, so the wrapped pair brings its own: a mapped axis is
folded into the channels (into the batch, for `convolve`, where the filter is not mapped).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

FACTORS = {1: "c", 2: "c f", 3: "b c l"}  # by rank: skip; the spectrum; signals


@lru_cache(maxsize=32)
def partitioned(
    convolve: Callable[..., Array], adjoint: Callable[..., tuple[Array | None, ...]]
) -> tuple[Callable[..., Array], Callable[..., tuple[Array | None, ...]]]:
    """The pair, each partitioned over batch and channels; the same pair for the same functions.

    Args:
      convolve: a backend's `convolve(static, u, s_re, s_im, skip, pre_gate, post_gate)`.
      adjoint: its `adjoint(static, u, s_re, s_im, skip, pre_gate, post_gate, g)`.

    Returns:
      Functions of the same arguments. What the originals are called with inside a partitioned
      program is one device's share, with `static.batch` and `static.channels` to match.

    Raises:
      jax.errors.JaxRuntimeError: when a program is compiled in which a signal's length is split
        over devices, or operands lie on devices that form no mesh; it carries the reason.
    """
    return _wrapped(convolve, may_fold_batch=True), _wrapped(adjoint, may_fold_batch=False)


def _wrapped(function: Callable, may_fold_batch: bool) -> Callable:
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
            return _mapped(call, may_fold_batch, static, size, mapped, operands)

        # custom_partitioning needs devices to lower; a mesh of one, which a program may be lowered
        # for without any, has nothing to partition, and inside shard_map it has been done.
        mesh = jax.sharding.get_abstract_mesh()
        alone = mesh.size == 1 or (bool(mesh.axis_names) and mesh.are_all_axes_manual)
        one = custom_vmap(partial(inner if alone else split, static))
        one.def_vmap(rule)
        return one(*operands)

    return call


def _sharding_rule(static, mesh, value_types, result_types) -> str:
    """The Shardy rule: which dimensions of operands and results are the same."""
    del static, mesh
    return " -> ".join(
        ", ".join(FACTORS[len(t.shape)] for t in types) for types in (value_types, result_types)
    )


def _partition(function: Callable, static, mesh, operands: tuple, results: Any):
    """What one device computes, and how operands and results are laid out."""
    u = operands[0]
    if not isinstance(u.sharding, NamedSharding):
        raise ValueError(
            f"u has sharding {u.sharding}; a kernel is partitioned over the axes of a mesh: give "
            "arrays a NamedSharding, or call long_conv inside jax.shard_map"
        )
    mesh = u.sharding.mesh
    for a in jax.tree.leaves((operands, results)):
        if a.ndim == 3 and _axes(a, 2):
            raise ValueError(
                f"the length of a signal (shape {a.shape}) is split over the mesh axes "
                f"{_axes(a, 2)} ({a.sharding.spec}); this implementation takes whole lengths: call "
                "long_conv_sequence_parallel inside jax.shard_map, or reshard over batch and "
                "channels"
            )
    batch, channels = (_divide(u, axis) for axis in (0, 1))
    specs = {1: (channels,), 2: (channels, None), 3: (batch, channels, None)}

    def place(a: Any) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*specs[a.ndim]))

    def local(*operands):
        share = operands[0].shape
        made = function(static._replace(batch=share[0], channels=share[1]), *operands)
        if batch is None:
            return made
        # Results with no batch are sums over it: ds and dskip.
        return jax.tree.map(lambda a: a if a.ndim == 3 else lax.psum(a, batch), made)

    return mesh, local, jax.tree.map(place, results), jax.tree.map(place, operands)


def _axes(a: Any, dimension: int) -> tuple[str, ...]:
    """The mesh axes that split a dimension."""
    spec = a.sharding.spec
    axes = spec[dimension] if dimension < len(spec) else None
    if axes is None:
        return ()
    return (axes,) if isinstance(axes, str) else tuple(axes)


def _divide(a: Any, dimension: int) -> tuple[str, ...] | None:
    """The axes that split a dimension evenly; None where it would be padded, or is whole."""
    axes = _axes(a, dimension)
    devices = 1
    for axis in axes:
        devices *= a.sharding.mesh.shape[axis]
    return axes if axes and a.shape[dimension] % devices == 0 else None


def _mapped(call: Callable, may_fold_batch: bool, static, size: int, mapped, operands: tuple):
    """The batching rule: `call` on operands whose mapped axis is folded into one of theirs."""
    flags = [bool(m) for m in jax.tree.leaves(mapped)]
    leaves, tree = jax.tree.flatten(operands)
    of_filter = [a.ndim - flag < 3 for a, flag in zip(leaves, flags, strict=True)]
    into_batch = may_fold_batch and not any(
        f and flag for f, flag in zip(of_filter, flags, strict=True)
    )

    def fold(a: Array, flag: bool) -> Array:
        if into_batch and a.ndim - flag < 3:
            return a
        if not flag:
            a = jnp.broadcast_to(a, (size, *a.shape))
        if into_batch:
            return a.reshape(size * a.shape[1], *a.shape[2:])
        if a.ndim == 4:
            return a.swapaxes(0, 1).reshape(a.shape[1], size * a.shape[2], a.shape[3])
        return a.reshape(size * a.shape[1], *a.shape[2:])

    def unfold(a: Array) -> Array:
        if into_batch:
            return a.reshape(size, a.shape[0] // size, *a.shape[1:])
        if a.ndim == 3:
            parts = (a.shape[0], size, a.shape[1] // size, a.shape[2])
            return a.reshape(parts).swapaxes(0, 1)
        return a.reshape(size, a.shape[0] // size, *a.shape[1:])

    if into_batch:
        static = static._replace(batch=size * static.batch)
    else:
        static = static._replace(channels=size * static.channels)
    folded = [fold(a, flag) for a, flag in zip(leaves, flags, strict=True)]
    out = jax.tree.map(unfold, call(static, *jax.tree.unflatten(tree, folded)))
    return out, jax.tree.map(lambda _: True, out)


__all__ = ["partitioned"]
