"""One function of a batch, run on one device or on many, in three ways.

    body(carried, batch, shared, axis)

`carried` (a state, or parameters) and `shared` are the same everywhere, `batch` is split by rows.
With an `axis` the body sees its own rows and adds up over the axis by `psum`; without one it sees
all rows. What it returns is the same on every device.

- "jit": one device; with a mesh, the compiler splits the program by itself.
- "shard_map": the body runs on each device's rows.
- "pmap": likewise, by the older function, which JAX keeps in maintenance.

To be right under all three, a body marks parameters as varying before it differentiates by them
(`varying`), then sums gradients over the axis itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol

import jax
from jax.sharding import Mesh, PartitionSpec

from farwide.parallelism.mesh import DATA, global_batch, replicated

Run = Literal["jit", "pmap", "shard_map"]
RUNS: tuple[Run, ...] = ("jit", "pmap", "shard_map")


class Body(Protocol):
    """See the top of this file."""

    def __call__(self, carried: Any, batch: Any, shared: Any, /, axis: str | None) -> Any: ...


def data_parallel(
    body: Body,
    run: Run,
    mesh: Mesh | None,
    *,
    donate: bool = False,
    check_vma: bool = False,
    shardings: Any = None,
) -> Callable[[Any, Any, Any], Any]:
    """Compile `body` to a function (carried, batch, shared) of this process's rows.

    Args:
      body: see above.
      run: "jit", "pmap" or "shard_map".
      mesh: the devices; None only with "jit", for one device.
      donate: whether the buffers of `carried` may be overwritten (of no effect under pmap).
      check_vma: of `jax.shard_map`; a Pallas operator inside the body needs False.
      shardings: of the result, with "jit" and a mesh; None leaves them to the compiler.

    Raises:
      ValueError: an unknown `run`, or one that needs a mesh and has none.
    """
    if run not in RUNS:
        raise ValueError(f"run is {run!r}; accepted: {', '.join(RUNS)}")
    donated = (0,) if donate else ()
    if mesh is None:
        if run != "jit":
            raise ValueError(f"run is {run!r} and mesh None; accepted: a mesh, or run 'jit'")
        return jax.jit(partial(body, axis=None), donate_argnums=donated)
    _check_axes(run, mesh)
    if run == "pmap":
        return _pmap(body, mesh)
    if run == "jit":
        function = jax.jit(
            partial(body, axis=None), donate_argnums=donated, out_shardings=shardings
        )
    else:
        nowhere = PartitionSpec()
        function = jax.jit(
            jax.shard_map(
                partial(body, axis=DATA),
                mesh=mesh,
                in_specs=(nowhere, PartitionSpec(DATA), nowhere),
                out_specs=nowhere,
                check_vma=check_vma,
            ),
            donate_argnums=donated,
        )
    return lambda carried, batch, shared: function(carried, global_batch(batch, mesh), shared)


def varying(tree: Any, axis: str | None) -> Any:
    """The tree marked as differing over `axis`, so that gradients by it are not summed for us."""
    if axis is None:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.pcast(leaf, axis, to="varying"), tree)


def _check_axes(run: Run, mesh: Mesh) -> None:
    if DATA not in mesh.axis_names:
        raise ValueError(f"mesh has axes {mesh.axis_names}; accepted: one that has {DATA!r}")
    if run != "jit" and mesh.axis_names != (DATA,):
        raise ValueError(
            f"mesh has axes {mesh.axis_names} and run is {run!r}; accepted: the axis {DATA!r} "
            "alone, or run 'jit'"
        )


def _pmap(body: Body, mesh: Mesh) -> Callable[[Any, Any, Any], Any]:
    devices = list(mesh.devices.flat)
    local = sum(device.process_index == jax.process_index() for device in devices)
    function = jax.pmap(
        partial(body, axis=DATA),
        axis_name=DATA,
        in_axes=(None, 0, None),
        out_axes=None,  # pyright: ignore[reportArgumentType]
        devices=devices if jax.process_count() == 1 else None,
    )

    def run(carried: Any, batch: Any, shared: Any) -> Any:
        split = jax.tree.map(lambda x: x.reshape(local, len(x) // local, *x.shape[1:]), batch)
        result = function(carried, split, shared)
        return jax.tree.map(everywhere, result) if jax.process_count() > 1 else result

    def everywhere(leaf: jax.Array) -> jax.Array:
        """What lies on this process's devices, as an array that lies on all."""
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = everywhere(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        parts = [shard.data for shard in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(leaf.shape, replicated(mesh), parts)

    return run
