"""Random nested lists of digits and operators, many at once, with their values.

A node of depth d is an operator with probability 1/4 where d is less than the greatest depth, else
a digit. An operator has 2 to `arguments` arguments, which are nodes of depth d + 1. Recursion makes
one tree at a time; here all nodes of one depth, of all trees, are drawn together, since they are
independent given their parents. Sizes and values are summed from the leaves up, and the tokens
are laid out from the roots down.

Tokens: 0 is padding, 1 to 10 are the digits 0 to 9, 11 to 14 open MIN, MAX, MED and SM, 15 closes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PAD, DIGIT, OPEN, CLOSE = 0, 1, 11, 15
OPERATORS = ("MIN", "MAX", "MED", "SM")  # smallest, greatest, median rounded down, sum modulo 10
TOKENS = CLOSE + 1
OPERATOR_SHARE = 0.25


class Level(NamedTuple):
    """All nodes of one depth, in the order of their parents.

    Attributes:
      tree: (nodes,) which tree.
      digit: (nodes,) of a leaf; of an operator, its number below `OPERATORS`.
      children: (nodes,) arguments; 0 makes a leaf.
    """

    tree: np.ndarray
    digit: np.ndarray
    children: np.ndarray


class Trees(NamedTuple):
    """Token rows and what they come to.

    Attributes:
      tokens: (trees, length) int32, padded on the left.
      lengths: (trees,) tokens without padding.
      values: (trees,) int32, 0 to 9.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    values: np.ndarray


def random_trees(
    rng: np.random.Generator,
    count: int,
    *,
    shortest: int,
    longest: int,
    depth: int,
    arguments: int,
) -> Trees:
    """Those of `count` random trees that have `shortest` to `longest` tokens, in order.

    Args:
      rng: source of the draws.
      count: trees drawn.
      shortest: tokens at least, brackets counted.
      longest: tokens at most; the length of the rows.
      depth: greatest depth; the root has depth 1, and a node of the greatest depth is a digit.
      arguments: of an operator, at most.

    Returns:
      Trees, fewer than `count`, maybe none.
    """
    levels, lengths = _grow(rng, count, longest, depth, arguments)
    fits = (lengths >= shortest) & (lengths <= longest)
    place = np.cumsum(fits) - 1
    kept: list[Level] = []
    for level in levels:  # a node goes or stays with its whole tree, so parents keep their children
        stays = fits[level.tree]
        tree, digit, children = (column[stays] for column in level)
        kept.append(Level(place[tree], digit, children))
    lengths = lengths[fits]
    return Trees(_layout(kept, lengths, longest), lengths, _values(kept).astype(np.int32))


def _grow(
    rng: np.random.Generator, count: int, longest: int, depth: int, arguments: int
) -> tuple[list[Level], np.ndarray]:
    """Levels from the roots down, and tokens of each tree, at least: a tree stops growing as soon
    as it is longer than `longest`, since it is thrown away whatever more it would get."""
    tree = np.arange(count)
    lengths = np.zeros(count, np.int64)
    levels: list[Level] = []
    for d in range(1, depth + 1):
        nodes = len(tree)
        operator = (rng.random(nodes) < OPERATOR_SHARE) & (d < depth)
        digit = np.where(
            operator, rng.integers(0, len(OPERATORS), nodes), rng.integers(0, 10, nodes)
        )
        children = np.where(operator, rng.integers(2, arguments + 1, nodes), 0)
        lengths += np.bincount(tree, 1 + operator, count).astype(np.int64)
        coming = np.bincount(tree, children, count).astype(np.int64)  # each at least a token
        stopped = lengths + coming > longest
        lengths[stopped] += coming[stopped]
        children[stopped[tree]] = 0
        levels.append(Level(tree, digit, children))
        tree = np.repeat(tree, children)
    return levels, lengths


def _layout(levels: list[Level], lengths: np.ndarray, longest: int) -> np.ndarray:
    """(trees, longest) int32: each tree's tokens at the end of its row."""
    sizes = _sizes(levels)
    rows = np.full((len(lengths), longest), PAD, np.int32)
    start = longest - lengths
    for d, (tree, digit, children) in enumerate(levels):
        operator = children > 0
        rows[tree, start] = np.where(operator, OPEN, DIGIT) + digit
        rows[tree[operator], (start + sizes[d] - 1)[operator]] = CLOSE
        if d + 1 < len(levels):
            before = np.cumsum(sizes[d + 1]) - sizes[d + 1]  # tokens of the nodes to the left
            parent = np.repeat(np.arange(len(tree)), children)
            eldest = (np.cumsum(children) - children)[parent]
            start = start[parent] + 1 + before - before[eldest]
    return rows


def _sizes(levels: list[Level]) -> list[np.ndarray]:
    """Tokens below and at each node, level by level."""
    sizes = [np.zeros(0, np.int64)]
    for _, _, children in reversed(levels):
        below = np.zeros(len(children), np.int64)
        operator = children > 0
        if operator.any():
            below[operator] = 1 + np.add.reduceat(sizes[0], _eldest(children))
        sizes.insert(0, 1 + below)
    return sizes[:-1]


def _values(levels: list[Level]) -> np.ndarray:
    """What each root comes to, from the leaves up."""
    below = np.zeros(0, np.int64)
    for _, digit, children in reversed(levels):
        values = digit.astype(np.int64)
        operator = children > 0
        if operator.any():
            eldest, number = _eldest(children), children[operator]
            parent = np.repeat(np.arange(len(eldest)), number)
            ranked = below[np.lexsort((below, parent))]
            middle = ranked[eldest + (number - 1) // 2] + ranked[eldest + number // 2]
            results = (
                ranked[eldest], ranked[eldest + number - 1], middle // 2,
                np.add.reduceat(below, eldest) % 10,
            )  # fmt: skip
            values[operator] = np.choose(digit[operator], results)
        below = values
    return below


def _eldest(children: np.ndarray) -> np.ndarray:
    """Index in the next level of the first child of each operator."""
    return (np.cumsum(children) - children)[children > 0]
