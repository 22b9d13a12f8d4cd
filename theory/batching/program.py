"""One compiled program for every tile of a kernel matrix, on one device or on several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from theory.batching import arguments, merge
from theory.batching.arguments import Arrays, Static
from theory.batching.cuts import Side, Tile
from theory.stax.inputs import agreed_facts
from theory.stax.layer import KernelFn
from theory.stax.masked import as_masked
from theory.stax.results import facts_of
from theory.stax.rule import Facts

Device = Any  # jax.Device


class Form(NamedTuple):
    """What a program is compiled for beside `Static`."""

    sizes: tuple[int, int]
    itself: bool


class Program(NamedTuple):
    """A kernel function, compiled a tile at a time.

    Attributes:
      run: (arrays, at (devices, 4) int, static, form) -> (arrays, each with a leading axis of
        devices, and their Skeleton).
      devices: a tile runs on each at a time.
    """

    run: Callable[..., tuple[merge.Arrays, merge.Skeleton]]
    devices: tuple[Device, ...]


def devices_of(count: int) -> tuple[Device, ...]:
    """Devices of this process: -1 all, 0 the default one, else so many.

    Raises:
      ValueError: there are not so many.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < -1:
        raise ValueError(
            f"device_count must be -1 (all), 0 (no parallelism) or positive, got {count!r}"
        )
    local = jax.local_devices()
    if count > len(local):
        raise ValueError(
            f"device_count must be at most the {len(local)} local devices, got {count}"
        )
    return tuple(local[:1] if count == 0 else local if count == -1 else local[:count])


def program_of(kernel_fn: Callable[..., Any], devices: Sequence[Device]) -> Program:
    """The program of kernel_fn on the given devices."""

    def tile(arrays: Arrays, at: Array, static: Static, form: Form):
        out = arguments.call(kernel_fn, arrays, static, at, form.sizes, form.itself)
        return merge.take_apart(out)

    def one(arrays: Arrays, at: Array, static: Static, form: Form):
        return jax.tree.map(lambda a: a[None], tile(arrays, at[0], static, form))

    if len(devices) == 1:
        return Program(jax.jit(one, static_argnums=(2, 3)), tuple(devices))
    mesh = Mesh(np.array(devices), ("tiles",))

    @partial(jax.jit, static_argnums=(2, 3))
    def all_devices(arrays, at, static, form):
        body = jax.shard_map(
            partial(one, static=static, form=form),
            mesh=mesh,
            in_specs=(P(), P("tiles")),
            out_specs=P("tiles"),
            check_vma=False,  # scans inside start from zeros, which are the same on all devices
        )
        return body(arrays, at)

    def run(arrays, at, static, form):
        return all_devices(jax.device_put(arrays, NamedSharding(mesh, P())), at, static, form)

    return Program(run, tuple(devices))


def shapes_of(program: Program, arrays: Arrays, static: Static, form: Form):
    """A tile's arrays as shapes and its Skeleton, with nothing computed."""
    at = np.zeros((len(program.devices), 4), np.int32)
    found = {}

    def abstract(arrays):
        out, found["skeleton"] = program.run(arrays, at, static, form)
        return out

    shapes = jax.eval_shape(abstract, arrays)
    tile = {k: jax.ShapeDtypeStruct(v.shape[1:], v.dtype) for k, v in shapes.items()}
    return tile, found["skeleton"]


def outputs(
    program: Program,
    arrays: Arrays,
    static: Static,
    tiles: Sequence[Tile],
    sides: tuple[Side, Side],
) -> Iterator[tuple[list[Tile], merge.Arrays, merge.Skeleton]]:
    """Runs tiles, as many at a time as there are devices; the next start before these are used.

    Tiles of examples with themselves are another program than the rest, and are not mixed with
    them.
    """
    before = None
    for itself in (True, False):
        alike = [tile for tile in tiles if tile.itself is itself]
        form = Form((sides[0].size, sides[1].size), itself)
        for first in range(0, len(alike), len(program.devices)):
            group = alike[first : first + len(program.devices)]
            filled = group + group[-1:] * (len(program.devices) - len(group))
            at = [
                (sides[0].start(t.row), sides[1].start(t.column), t.row, t.column) for t in filled
            ]
            out = program.run(arrays, np.array(at, np.int32), static, form)
            if before is not None:
                yield before
            before = (group, *out)
    if before is not None:
        yield before


def ranks_of(kernel_fn: Callable[..., Any], x1: Any) -> tuple[int, ...] | None:
    """Spatial axes of each output of a kernel function of `theory.stax`, else None."""
    if not isinstance(kernel_fn, KernelFn):
        return None
    if arguments.kernels_in(x1):
        facts = jax.tree.map(facts_of, x1, is_leaf=lambda k: hasattr(k, "nngp"))
    else:
        facts = agreed_facts(as_masked(x1, None)[0], None)
    after = kernel_fn.rule.infer(facts)
    leaves = jax.tree.leaves(after, is_leaf=lambda leaf: isinstance(leaf, Facts))
    return tuple(len(leaf.space) for leaf in leaves)
