"""Covariances through a network: each side against itself first, then one against the other.

The self pass carries the blocks of x = x' and records, layer by layer, what the layers must know
of one side: a tape. The cross pass then needs the tapes of both sides and nothing else, so that
x against x' may be cut into tiles, and no layer is written more than once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from theory.stax.block import Block
from theory.stax.rule import Facts, Rule

Tree = Any  # of Blocks, masks or Facts: one, or a tuple where branches run in parallel


class Record(NamedTuple):
    """One layer's entry of a tape; every array's last axis is the batch (N,).

    Attributes:
      side: what `rule.statistics` gave.
      mask: (*space, N) of the outputs, or None.
    """

    side: Any
    mask: Any


class SelfPass(NamedTuple):
    """What one side against itself gives: the outputs' blocks and masks (batch, *space), a tape."""

    blocks: Tree
    masks: Tree
    tape: Any


def self_pass(
    rule: Rule, blocks: Tree, masks: Tree, facts: Tree, pattern: Array | None
) -> SelfPass:
    """x against itself.

    Args:
      rule: the network.
      blocks: self blocks of the inputs, (.., N).
      masks: (N, *space) of each block, True = masked, or None.
      facts: of the inputs.
      pattern: (N, ..) graph of each example, or None.
    """
    if rule.kind == "serial":
        tape = []
        for child in rule.children:
            blocks, masks, record = self_pass(child, blocks, masks, facts, pattern)
            facts = child.infer(facts)
            tape.append(record)
        return SelfPass(blocks, masks, tuple(tape))
    if rule.kind == "parallel":
        parts = [
            self_pass(child, b, m, f, pattern)
            for child, b, m, f in zip(rule.children, blocks, masks, facts, strict=True)
        ]
        outs, out_masks, tapes = zip(*parts, strict=True)
        return SelfPass(outs, out_masks, tapes)
    if rule.kind == "repeat":
        (child,) = rule.children

        def step(carry, _):
            out = self_pass(child, carry[0], carry[1], facts, pattern)
            return (out.blocks, out.masks), out.tape

        blocks = blocks.stored()
        (blocks, masks), tape = lax.scan(step, (blocks, masks), None, length=rule.repeats)
        return SelfPass(blocks, masks, tape)
    assert rule.block is not None
    side = None
    if rule.statistics is not None:
        inner = jax.tree.map(last, masks)  # fan-ins see a tuple of masks
        side = rule.statistics(blocks, inner, pattern)
    blocks = rule.block(blocks, side, side, facts)
    if jax.tree.leaves(masks):
        masks = rule.mask(masks, facts)
    else:
        masks = jax.tree.map(lambda _: None, blocks, is_leaf=lambda leaf: isinstance(leaf, Block))
    record = Record(side, jax.tree.map(last, masks))
    return SelfPass(hide(blocks, record.mask, record.mask), masks, record)


def cross_pass(rule: Rule, blocks: Tree, facts: Tree, left: Any, right: Any) -> Tree:
    """x against x', with both sides' tapes, whose batch axes broadcast against the blocks'."""
    if rule.kind == "serial":
        for child, tape1, tape2 in zip(rule.children, left, right, strict=True):
            blocks = cross_pass(child, blocks, facts, tape1, tape2)
            facts = child.infer(facts)
        return blocks
    if rule.kind == "parallel":
        return tuple(
            cross_pass(child, block, fact, tape1, tape2)
            for child, block, fact, tape1, tape2 in zip(
                rule.children, blocks, facts, left, right, strict=True
            )
        )
    if rule.kind == "repeat":
        (child,) = rule.children

        def step(carry, tapes):
            return cross_pass(child, carry, facts, *tapes), None

        return lax.scan(step, blocks.stored(), (left, right), length=rule.repeats)[0]
    assert rule.block is not None
    blocks = rule.block(blocks, left.side, right.side, facts)
    return hide(blocks, left.mask, right.mask)


def hide(blocks: Tree, left: Tree, right: Tree) -> Tree:
    """Zero at masked places; masks (*space, *batch) or None, one for each block."""
    if isinstance(blocks, Block):
        return blocks.masked(left, right)
    return tuple(hide(*parts) for parts in zip(blocks, left, right, strict=True))


def last(array: Array) -> Array:
    """The first axis, the batch, moved to the end."""
    return jnp.moveaxis(array, 0, -1)


def walk(
    rule: Rule, facts: Tree, full: bool
) -> list[tuple[Rule, Facts | Tree, Facts | Tree, bool]]:
    """Every leaf in the order it runs: (rule, facts before, facts after, whether held in full).

    Args:
      rule: the network.
      facts: of its inputs.
      full: whether outputs for every pair of places are wanted.
    """
    if rule.kind == "serial":
        wanted = [full]
        for child in reversed(rule.children):
            wanted.append(child.full(wanted[-1]))
        rows = []
        for child, after in zip(rule.children, wanted[-2::-1], strict=True):
            rows += walk(child, facts, after)
            facts = child.infer(facts)
        return rows
    if rule.kind == "parallel":
        rows = []
        for child, part in zip(rule.children, facts, strict=True):
            rows += walk(child, part, full)
        return rows
    if rule.kind == "repeat":
        return walk(rule.children[0], facts, full) * rule.repeats
    return [(rule, facts, rule.infer(facts), full)]
