"""What a kernel will cost, layer by layer, before it runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from theory.stax import inputs, plan
from theory.stax.layer import IDENTITY, KernelFn
from theory.stax.rule import Facts, Rule
from theory.stax.run import walk

Tree = Any
LIVE_BLOCKS = (
    4.0  # blocks of the largest size that a step holds at once: its input, output, temporaries
)


@dataclass(frozen=True)
class LayerCost:
    """One layer's line.

    Attributes:
      name: the layer as a user would write it.
      shape: (*space, channels) of the finite layer's outputs; of several, joined by " + ".
      held: "all pairs" of places, "equal places", or "-" where there are no places.
      entries: covariances of its output, for one pair of examples.
      bytes: of these, for one pair of examples, nngp and ntk where both are asked for.
      operations: arithmetic, for all pairs of examples; a rough count.
    """

    name: str
    shape: str
    held: str
    entries: int
    bytes: int
    operations: float


@dataclass(frozen=True)
class Description:
    """The cost of a kernel; `print` shows it as a table.

    Attributes:
      layers: in the order they run; the first is the input.
      examples: (N1, N2).
      symmetric: whether x1 is x2.
      get: what is computed.
      dtype: of the result.
      tile: examples of x1 and x2 that are worked on together.
      tiles: how many such tiles there are.
      operations: of all layers and tiles, rough.
      output_bytes: of the result.
      tile_bytes: of the largest blocks at work at one time, estimated.
      compiled_bytes: (temporaries, output) by XLA's own account; None unless compiled.
    """

    layers: tuple[LayerCost, ...]
    examples: tuple[int, int]
    symmetric: bool
    get: tuple[str, ...]
    dtype: str
    tile: tuple[int, int]
    tiles: int
    operations: float
    output_bytes: int
    tile_bytes: int
    compiled_bytes: tuple[int, int] | None = None

    @property
    def peak_bytes(self) -> int:
        """Memory of the whole computation beside its inputs."""
        if self.compiled_bytes is not None:
            return sum(self.compiled_bytes)
        return self.output_bytes + self.tile_bytes

    def __str__(self) -> str:
        head = ("layer", "output", "held", "entries/pair", "bytes/pair", "operations")
        rows = [head] + [
            (
                layer.name,
                layer.shape,
                layer.held,
                f"{layer.entries:,}",
                bytes_text(layer.bytes),
                f"{layer.operations:.1e}",
            )
            for layer in self.layers
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = []
        for row in rows:
            left = [row[i].ljust(widths[i]) for i in range(3)]
            right = [row[i].rjust(widths[i]) for i in range(3, len(head))]
            lines.append("  ".join(left + right).rstrip())
        lines.insert(1, "  ".join("-" * width for width in widths))
        n1, n2 = self.examples
        pairs = f"{n1:,} x {n2:,} examples" + (", x1 is x2" if self.symmetric else "")
        work, source = self.tile_bytes, "estimated"
        if self.compiled_bytes is not None:
            work, source = self.compiled_bytes[0], "by XLA's account"
        tiles = f"{self.tiles:,} tile" + ("s" if self.tiles > 1 else "")
        return "\n".join(
            [
                *lines,
                "",
                f"{' and '.join(self.get)} of {pairs}, {self.dtype}: "
                + bytes_text(self.output_bytes),
                f"{tiles} of {self.tile[0]} x {self.tile[1]} examples, "
                f"{self.operations:.1e} operations in all",
                f"peak memory {bytes_text(self.peak_bytes)} ({source}), of which work space "
                f"{bytes_text(work)}",
            ]
        )


def describe(
    kernel_fn: Callable[..., Any],
    shape1: Tree,
    shape2: Tree = None,
    get: str | tuple[str, ...] = ("nngp", "ntk"),
    *,
    dtype: DTypeLike = jnp.float32,
    diagonal_spatial: bool | None = None,
    tile: int | tuple[int, int] | None = None,
    compiled: bool = False,
) -> Description:
    """The layers, operations and memory of kernel_fn(x1, x2, get), with nothing computed.

    A block of a layer has entries(layer) = P² covariances for a pair of examples where all pairs of
    its P places are held, P where equal places alone are, 1 where there are no places. A tile of
    T1 x T2 examples works on about `LIVE_BLOCKS` of the largest block at once, and so does a chunk
    of C examples that are run against themselves:

        tile_bytes = 4 max(T1 T2, C) max(entries) bytes a number (2 where both kernels are computed)

    The estimate is of what is proportional to pairs of examples. It leaves out inputs, and what is
    kept of every single example (variances, P numbers a layer).

    Args:
      kernel_fn: of `theory.stax`.
      shape1: (N1, *space, channels) of x1, or a tuple of shapes where the network takes several.
      shape2: of x2; None means that x2 is x1.
      get: "nngp", "ntk" or both.
      dtype: of the inputs.
      diagonal_spatial, tile: as kernel_fn takes them.
      compiled: whether to compile the kernel function for the memory that XLA accounts for, which
        takes as long as compiling does.

    Returns:
      A Description.

    Raises:
      TypeError: kernel_fn is not one of `theory.stax`.
      ValueError, NotImplementedError: as kernel_fn would raise for such inputs; get is something
        else.
    """
    if not isinstance(kernel_fn, KernelFn):
        raise TypeError(f"kernel_fn must be one of theory.stax, got {type(kernel_fn).__name__}")
    names = (get,) if isinstance(get, str) else tuple(get)
    if not names or any(name not in ("nngp", "ntk") for name in names):
        raise ValueError(f'get must be "nngp", "ntk" or both, got {get!r}')
    rule, both = kernel_fn.rule, "ntk" in names
    number = jnp.promote_types(jax.dtypes.canonicalize_dtype(dtype), jnp.float32)
    x1, x2 = _structs(shape1, number), _structs(shape2, number)
    facts = inputs.agreed_facts(x1, x2)
    after = rule.infer(facts)
    if rule.flattens_first:  # as kernel_fn does it
        x1, x2 = (None if x is None else jax.eval_shape(_flat, x) for x in (x1, x2))
        facts = inputs.agreed_facts(x1, x2)
    n1, n2 = inputs.batch_of(x1), inputs.batch_of(x1 if x2 is None else x2)
    out_full = not diagonal_spatial
    planned = plan.tiles(
        IDENTITY if rule.opaque else rule, facts, n1, n2, itemsize=number.itemsize, both=both,
        out_full=out_full, symmetric=x2 is None, tile=tile,
    )  # fmt: skip
    # whole Kernels pass through an opaque network
    sizes = (n1, n2) if rule.opaque else planned["tile"]
    at_once = max(math.prod(sizes), planned["chunk"])
    down, across = (-(-n // size) for n, size in zip((n1, n2), sizes, strict=True))
    count = down * (down + 1) // 2 if x2 is None else down * across
    worked = count * math.prod(sizes)
    each = number.itemsize * (2 if both else 1)
    layers = _layers(rule, facts, out_full, each, worked, 2 if both else 1)
    largest = max(layer.entries for layer in layers)
    results = [_entries(fact, out_full) for fact in _leaves(after)]
    return Description(
        layers=layers,
        examples=(n1, n2),
        symmetric=x2 is None,
        get=names,
        dtype=str(number),
        tile=sizes,
        tiles=count,
        operations=sum(layer.operations for layer in layers),
        output_bytes=n1 * n2 * sum(results) * number.itemsize * len(names),
        tile_bytes=int(LIVE_BLOCKS * at_once * largest * each),
        compiled_bytes=_compiled(kernel_fn, x1, x2, names, diagonal_spatial, tile)
        if compiled
        else None,
    )


def bytes_text(count: float) -> str:
    """A number of bytes in three digits: 1536 -> '1.5 KiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _layers(
    rule: Rule, facts: Tree, out_full: bool, each: int, pairs: int, kernels: int
) -> tuple[LayerCost, ...]:
    def line(name: str, fact: Tree, full: bool, ops: float) -> LayerCost:
        leaves = _leaves(fact)
        entries = sum(_entries(leaf, full) for leaf in leaves)
        spatial = any(leaf.space for leaf in leaves)
        return LayerCost(
            name=name,
            shape=" + ".join(
                str((*leaf.space, leaf.channels)).replace(",)", ")") for leaf in leaves
            ),
            held=("all pairs" if full else "equal places") if spatial else "-",
            entries=entries,
            bytes=entries * each,
            operations=ops * entries * pairs,
        )

    # the covariance of the inputs: a product and a sum a channel
    channels = sum(2.0 * leaf.channels for leaf in _leaves(facts))
    rows = [line("input", facts, rule.full(out_full), channels / len(_leaves(facts)))]
    for leaf, _, after, full in walk(rule, facts, out_full):
        rows.append(line(leaf.name, after, full, leaf.ops * kernels))
    return tuple(rows)


def _entries(fact: Facts, full: bool) -> int:
    return math.prod(fact.space) ** (2 if full else 1)


def _leaves(facts: Tree) -> list[Facts]:
    return jax.tree.leaves(facts, is_leaf=lambda leaf: isinstance(leaf, Facts))


def _structs(shape: Tree, dtype: np.dtype) -> Tree:
    """A shape, or a tuple of them, as abstract arrays.

    Raises:
      ValueError: it is none.
    """
    if shape is None:
        return None
    if isinstance(shape, tuple | list) and shape and not isinstance(shape[0], tuple | list):
        if len(shape) < 2 or not all(isinstance(n, int) and n >= 1 for n in shape):
            raise ValueError(
                f"a shape must be (batch, *space, channels), positive ints, got {shape}"
            )
        return jax.ShapeDtypeStruct(tuple(shape), dtype)
    if not isinstance(shape, tuple | list) or not shape:
        raise ValueError(
            f"a shape must be (batch, *space, channels) or a tuple of them, got {shape!r}"
        )
    return tuple(_structs(part, dtype) for part in shape)


def _flat(x: Array) -> Array:
    return inputs.flattened(x, None)[0]


def _compiled(
    kernel_fn: KernelFn,
    x1: Tree,
    x2: Tree,
    names: tuple[str, ...],
    diagonal_spatial: bool | None,
    tile: Any,
) -> tuple[int, int] | None:
    """Bytes of temporaries and outputs; None where the backend does not tell."""

    def run(x1, x2):
        out = kernel_fn(x1, x2, names, diagonal_spatial=diagonal_spatial, tile=tile)
        return tuple(out)

    analysis = jax.jit(run).lower(x1, x2).compile().memory_analysis()
    if analysis is None:
        return None
    return analysis.temp_size_in_bytes, analysis.output_size_in_bytes
