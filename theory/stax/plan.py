"""How many examples are worked on together, from the facts of a network."""

from __future__ import annotations

import math
from typing import Any

import jax

from theory.stax.rule import Facts, Rule
from theory.stax.run import walk

Tree = Any

# Bytes of covariances that one step works on. On a CPU it is what stays in a cache; an accelerator
# wants long loops.
TARGET_BYTES = {"cpu": 4 << 20, "gpu": 256 << 20, "tpu": 256 << 20}

# A mirrored tile is transposed: on a CPU its rows and columns should both stay in the cache.
MIRRORED = 200


def entries(facts: Tree, full: bool) -> int:
    """Entries of one pair of examples in the largest block of a tree of facts."""
    leaves = jax.tree.leaves(facts, is_leaf=lambda leaf: isinstance(leaf, Facts))
    return max(math.prod(leaf.space) ** (2 if full else 1) for leaf in leaves)


def peak_entries(rule: Rule, facts: Tree, out_full: bool) -> int:
    """Entries of one pair of examples in the largest block that a network makes or works on."""
    largest = entries(facts, rule.full(out_full))
    for leaf, before, after, full in walk(rule, facts, out_full):
        own = max(entries(before, leaf.full(full)), entries(after, full))
        largest = max(largest, int(own * leaf.held))
    return largest


def tiles(
    rule: Rule,
    facts: Tree,
    n1: int,
    n2: int,
    *,
    itemsize: int,
    both: bool,
    out_full: bool,
    symmetric: bool,
    tile: int | tuple[int, int] | None,
) -> dict[str, Any]:
    """The `tile` and `chunk` of a Request.

    Raises:
      ValueError: `tile` is not a positive int or a pair of them.
    """
    pair_bytes = peak_entries(rule, facts, out_full) * itemsize * (2 if both else 1)
    target = TARGET_BYTES.get(jax.default_backend(), TARGET_BYTES["cpu"])
    pairs = max(1, target // pair_bytes)
    if tile is not None:
        sizes = tile if isinstance(tile, tuple | list) else (tile, tile)
        if len(sizes) != 2 or not all(isinstance(t, int) and t >= 1 for t in sizes):
            raise ValueError(f"tile must be a positive int or a pair of them, got {tile!r}")
        rows, columns = min(sizes[0], n1), min(sizes[1], n2)
    elif n1 * n2 <= pairs:
        rows, columns = n1, n2
    elif symmetric or pairs < n2:
        columns = min(n2, max(1, math.isqrt(pairs)))
        if symmetric and jax.default_backend() == "cpu":
            columns = min(columns, MIRRORED)
        rows = min(n1, max(1, pairs // columns))
    else:
        rows, columns = pairs // n2, n2
    if symmetric:
        rows = columns = min(rows, columns)
    return {"tile": (rows, columns), "chunk": max(1, min(n1 if symmetric else n1 + n2, pairs))}
