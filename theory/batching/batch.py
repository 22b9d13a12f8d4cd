"""A kernel function that works batch by batch, on one device or several."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from theory.batching import arguments, merge
from theory.batching.cuts import Side, side_of, tiles_of
from theory.batching.program import Form, devices_of, outputs, program_of, ranks_of, shapes_of
from theory.kernel import GETTABLE

MATRICES = ("nngp", "ntk")


def batch(
    kernel_fn: Callable[..., Any],
    batch_size: int = 0,
    device_count: int = -1,
    store_on_device: bool = True,
) -> Callable[..., Any]:
    """The same kernel function, computed in tiles of batch_size by batch_size examples.

    Any numbers of examples will do: tiles are as equal as they can be, and the last one overlaps
    its neighbour where they do not divide (see `theory.batching.cuts`). Where x2 is None, tiles
    above the diagonal are mirrored if the result is known to be symmetric: that of a kernel
    function of `theory.stax`, or a matrix (N1, N2) of any function. Kernel functions of
    `theory.stax` tile themselves; `batch` adds devices, results in host memory, and tiles for any
    other function.

    Args:
      kernel_fn: (x1, x2, *args, **kwargs) -> an array (N1, N2, ..), a named tuple with fields of
        `theory.Kernel`, a Kernel, or a tree of them; compiled here, so it must be traceable.
        Keyword arguments that are a pair of arrays belong to x1 and x2 and are cut with them
        (`pattern`); `rng` becomes a key of its own for each tile; `params` and other arrays are
        passed whole.
      batch_size: largest number of examples of a tile; 0: whole arguments, or one share a device.
      device_count: devices of this process that tiles run on, through shard_map: -1 all, 0 the
        default one alone.
      store_on_device: whether the result is an array on the first device; otherwise it is a NumPy
        array, and a device holds no more than its tile.

    Returns:
      A function with the signature of kernel_fn. It also takes a Kernel as x1.

    Raises:
      ValueError: an argument outside of what is described, sizes that do not agree.
      TypeError: kernel_fn returns something else.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 0:
        raise ValueError(f"batch_size must be an int >= 0, got {batch_size!r}")
    program = program_of(kernel_fn, devices_of(device_count))

    @functools.wraps(kernel_fn, updated=())
    def batched(x1: Any, x2: Any = None, *args: Any, **kwargs: Any) -> Any:
        name, args, kwargs = _as_tuple(args, kwargs)
        arrays, static = arguments.split(x1, x2, args, kwargs)
        n1, n2 = arguments.counts_of(arrays.x1, arrays.x2)
        symmetric = arguments.symmetric(arrays)
        sides = _sides(n1, n2, batch_size, len(program.devices), symmetric)
        form = Form((sides[0].size, sides[1].size), symmetric)
        shapes, skeleton = shapes_of(program, arrays, static, form)
        pairs = merge.spatial_pairs(shapes, ranks_of(kernel_fn, arrays.x1)) if symmetric else None
        tiles = tiles_of(*sides, symmetric=symmetric, mirrored=pairs is not None)
        whole = merge.blank(shapes, sides, host=not store_on_device)
        for group, out, _ in outputs(program, arrays, static, tiles, sides):
            if not store_on_device:
                out = jax.tree.map(np.asarray, out)
            for i, tile in enumerate(group):
                part = {key: _placed(value[i], program.devices[0]) for key, value in out.items()}
                whole = merge.put(whole, part, tile, sides, symmetric=symmetric, pairs=pairs)
        result = merge.put_together(whole, skeleton, n1, n2)
        return result if name is None else getattr(result, name)

    return batched


def _sides(n1: int, n2: int, batch_size: int, devices: int, symmetric: bool) -> tuple[Side, Side]:
    if batch_size:
        return side_of(n1, batch_size), side_of(n2, batch_size)
    if devices == 1:
        return side_of(n1, n1), side_of(n2, n2)
    if symmetric:  # 2 devices a side: each has as many tiles of the triangle as any other
        size = -(-n1 // (2 * devices))
        return side_of(n1, size), side_of(n2, size)
    return side_of(n1, -(-n1 // devices)), side_of(n2, n2)


def _placed(value: Any, device: Any) -> Any:
    return value if isinstance(value, np.ndarray) else jax.device_put(value, device)


def _as_tuple(args: tuple, kwargs: dict[str, Any]) -> tuple[str | None, tuple, dict[str, Any]]:
    """A `get` that names one fact of a side is asked for in a tuple, which says what it is."""
    get = kwargs.get("get", args[0] if args else None)
    if not isinstance(get, str) or get in MATRICES or get not in GETTABLE:
        return None, args, kwargs
    if "get" in kwargs:
        return get, args, {**kwargs, "get": (get,)}
    return get, ((get,), *args[1:]), kwargs
