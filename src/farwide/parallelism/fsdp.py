"""Spread a state over the devices of a mesh by rules, so that no device holds all of it.

Parameters, optimiser state and moving average lie in parts on the devices along one mesh axis; the
compiler gathers a parameter where the model needs it and adds a gradient up where its part lies.
What is computed stays the same, but for rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from farwide.parallelism.mesh import DATA, replicated

Rule = tuple[str, PartitionSpec]
"""A regular expression, searched in the path of an array ("params/up/kernel"), and its layout."""


@dataclass(frozen=True)
class Fsdp:
    """Rules of where the arrays of a state lie.

    Attributes:
      rules: the first whose expression is found in an array's path decides. Paths of the optimiser
        state end with those of the parameters, so one rule serves both.
      axis: the mesh axis of the default rule, which splits the largest axis of an array that this
        one divides (the first of several) and replicates an array that has none.
      least: arrays of fewer elements are replicated by the default rule.
    """

    rules: Sequence[Rule] = ()
    axis: str = DATA
    least: int = 1024


class Placed(NamedTuple):
    """How one array is laid out."""

    path: str
    shape: tuple[int, ...]
    spec: PartitionSpec
    bytes: int
    bytes_per_device: int


def fsdp_shardings(tree: Any, mesh: Mesh, options: Fsdp | None = None) -> Any:
    """The sharding of each array of a tree.

    Args:
      tree: of arrays or their shapes, such as `trainer.shapes()`.
      mesh: with the axes that the rules name.
      options: the rules; None: the default rule alone.

    Returns:
      A tree of NamedSharding in the structure of `tree`.

    Raises:
      ValueError: the mesh lacks an axis, a rule does not fit an array that it matches, or it
        matches none.
    """
    options = options or Fsdp()
    if options.axis not in mesh.axis_names:
        raise ValueError(f"axis is {options.axis!r}; accepted: {', '.join(mesh.axis_names)}")
    used = set()

    def one(path: Any, leaf: Any) -> NamedSharding:
        name = path_name(path)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return replicated(mesh)
        for number, (expression, spec) in enumerate(options.rules):
            if re.search(expression, name):
                used.add(number)
                _check(name, leaf.shape, spec, mesh)
                return NamedSharding(mesh, spec)
        return NamedSharding(mesh, _default(leaf.shape, mesh.shape[options.axis], options))

    found = jax.tree_util.tree_map_with_path(one, tree)
    for number, (expression, _) in enumerate(options.rules):
        if number not in used:
            raise ValueError(
                f"the rule {expression!r} decides on no array; accepted: rules that do"
            )
    return found


def sharding_report(tree: Any, shardings: Any = None) -> list[Placed]:
    """How each array of a tree is laid out, the largest first.

    Args:
      tree: of arrays or their shapes.
      shardings: from `fsdp_shardings`; None: where the arrays lie.
    """
    if shardings is None:
        shardings = jax.tree.map(lambda leaf: leaf.sharding, tree)
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    rows = []
    for (path, leaf), sharding in zip(leaves, jax.tree.leaves(shardings), strict=True):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)
        size = leaf.dtype.itemsize
        part = math.prod(sharding.shard_shape(leaf.shape)) * size
        spec = getattr(sharding, "spec", PartitionSpec())
        rows.append(Placed(path_name(path), leaf.shape, spec, leaf.size * size, part))
    return sorted(rows, key=lambda row: (-row.bytes, row.path))


def report_text(rows: Sequence[Placed]) -> str:
    """The report as lines of text, with the sums at the end."""
    lines = [
        f"{row.path}  {'x'.join(map(str, row.shape)) or 'scalar'}  {row.spec}  "
        f"{row.bytes} B, {row.bytes_per_device} B a device"
        for row in rows
    ]
    total, part = sum(row.bytes for row in rows), sum(row.bytes_per_device for row in rows)
    return "\n".join([*lines, f"in all {total} B, {part} B a device"])


def path_name(path: Any) -> str:
    """The path of a leaf with slashes: "opt_state/mu/up/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _default(shape: tuple[int, ...], devices: int, options: Fsdp) -> PartitionSpec:
    fitting = [i for i, size in enumerate(shape) if size and size % devices == 0]
    if not fitting or math.prod(shape) < options.least:
        return PartitionSpec()
    split = max(fitting, key=lambda i: (shape[i], -i))
    return PartitionSpec(*(options.axis if i == split else None for i in range(split + 1)))


def _check(name: str, shape: tuple[int, ...], spec: PartitionSpec, mesh: Mesh) -> None:
    if len(spec) > len(shape):
        raise ValueError(f"the rule for {name} is {spec}; accepted: at most {len(shape)} axes")
    for size, entry in zip(shape, spec, strict=False):
        axes = () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)
        if unknown := [axis for axis in axes if axis not in mesh.axis_names]:
            raise ValueError(
                f"the rule for {name} names the axis {unknown[0]!r}; accepted: "
                f"{', '.join(mesh.axis_names)}"
            )
        parts = math.prod(mesh.shape[axis] for axis in axes)
        if size % parts:
            raise ValueError(
                f"the rule for {name} cuts an axis of {size} into {parts}; accepted: a divisor"
            )
