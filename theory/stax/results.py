"""Blocks and Kernels: what the passes compute, in the public layout, and back."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theory.kernel import Kernel
from theory.stax import inputs
from theory.stax.block import make, spatial_diagonal
from theory.stax.rule import Facts, Rule
from theory.stax.run import cross_pass, self_pass
from theory.stax.tiles import Result, parts_of, with_own

Tree = Any


def kernels(result: Result, facts: Tree, n1: int, n2: int) -> Tree:
    """The outputs as Kernels, one for each of the tree `facts`."""
    symmetric = result.cov2 is None

    def of(fact: Facts, path: tuple[int, ...]) -> Kernel:
        nngp, ntk, cov1, cov2, mask1, mask2 = (_at(part, path) for part in result)
        rank = len(fact.space)
        return Kernel(
            nngp=inputs.public(nngp, 2),
            ntk=None if ntk is None else inputs.public(ntk, 2),
            cov1=inputs.public(cov1, 1),
            cov2=None if symmetric else inputs.public(cov2, 1),
            mask1=None if mask1 is None else mask1[..., None],
            mask2=None if mask2 is None else mask2[..., None],
            x1_is_x2=symmetric,
            is_gaussian=fact.gaussian,
            is_input=fact.is_input,
            diagonal_spatial=rank > 0 and nngp.ndim - 2 == rank,
            shape1=(n1, *fact.space, fact.channels),
            shape2=(n2, *fact.space, fact.channels),
            channel_axis=rank + 1,
        )

    return map_facts(of, facts)


def map_facts(f, facts: Tree, path: tuple[int, ...] = ()) -> Tree:
    """f(fact, path) of every Facts of a tree of tuples."""
    if isinstance(facts, Facts):
        return f(facts, path)
    return tuple(map_facts(f, part, (*path, i)) for i, part in enumerate(facts))


def _at(tree: Tree, path: tuple[int, ...]) -> Any:
    for i in path:
        if tree is None:
            return None
        tree = tree[i]
    return tree


def facts_of(kernel: Kernel) -> Facts:
    """The facts of a Kernel's activations."""
    assert kernel.shape1 is not None
    return Facts(kernel.shape1[1:-1], kernel.shape1[-1], kernel.is_gaussian, kernel.is_input)


def run_kernel(rule: Rule, kernel: Tree, pattern: tuple[Array | None, Array | None]) -> Tree:
    """A network on whole Kernels: what its blocks do, with no tiles.

    Args:
      rule: the network; parts of kind "opaque" map Kernels themselves.
      kernel: a Kernel, or a tuple of them.
      pattern: graphs of both sides.
    """
    if rule.kind == "opaque":
        assert rule.kernel is not None
        return rule.kernel(kernel, pattern=pattern)
    if rule.opaque and rule.kind == "parallel":
        pairs = zip(rule.children, kernel, strict=True)
        return tuple(run_kernel(child, part, pattern) for child, part in pairs)
    if rule.opaque:
        for child in rule.children * rule.repeats:
            kernel = run_kernel(child, kernel, pattern)
        return kernel
    return _run_blocks(rule, kernel, pattern)


@partial(jax.jit, static_argnums=0)
def _run_blocks(rule: Rule, kernel: Tree, pattern: tuple[Array | None, Array | None]) -> Tree:
    """`run_kernel` of a network that is not opaque."""
    leaves, tree = jax.tree.flatten(kernel, is_leaf=lambda leaf: isinstance(leaf, Kernel))
    some = leaves[0]
    facts = tree.unflatten([facts_of(leaf) for leaf in leaves])
    parts = [_blocks(leaf) for leaf in leaves]
    cross, own1, own2, mask1, mask2 = (tree.unflatten(part) for part in zip(*parts, strict=True))
    side1 = self_pass(rule, own1, mask1, facts, pattern[0])
    side2 = side1 if some.x1_is_x2 else self_pass(rule, own2, mask2, facts, pattern[1])
    left = jax.tree.map(lambda t: t[..., :, None], side1.tape)
    right = jax.tree.map(lambda t: t[..., None, :], side2.tape)
    out = cross_pass(rule, cross, facts, left, right)
    assert some.shape1 is not None
    assert some.shape2 is not None
    pairs = parts_of(out)
    if some.x1_is_x2:
        pairs = with_own(pairs, side1.blocks, jnp.int32(0), jnp.int32(0))
    cov2 = None if some.x1_is_x2 else parts_of(side2.blocks)[0]
    masks2 = None if some.x1_is_x2 else side2.masks
    result = Result(*pairs, parts_of(side1.blocks)[0], cov2, side1.masks, masks2)
    return kernels(result, rule.infer(facts), some.shape1[0], some.shape2[0])


def narrowed(kernel: Tree) -> Tree:
    """Kernels cut to equal places."""

    def cut(k: Kernel) -> Kernel:
        assert k.shape1 is not None
        rank = len(k.shape1) - 2
        if k.diagonal_spatial or not rank:
            return k

        def of(value, batch_axes):
            if value is None:
                return None
            return inputs.public(
                spatial_diagonal(inputs.private(value, batch_axes), rank), batch_axes
            )

        return k.replace(
            nngp=of(k.nngp, 2),
            ntk=of(k.ntk, 2),
            cov1=of(k.cov1, 1),
            cov2=of(k.cov2, 1),
            diagonal_spatial=True,
        )

    return jax.tree.map(cut, kernel, is_leaf=lambda leaf: isinstance(leaf, Kernel))


def _blocks(kernel: Kernel) -> list:
    """[cross block, self block of x1, of x2 or None, masks (N, *space) of both]."""
    assert kernel.shape1 is not None
    rank = len(kernel.shape1) - 2
    diagonal = kernel.diagonal_spatial

    def block(nngp, ntk, batch_axes):
        made = make(
            inputs.private(nngp, batch_axes),
            both=False,
            rank=rank,
            diagonal=diagonal,
            itself=batch_axes == 1,
        )
        return made if ntk is None else made.with_values(made.nngp, inputs.private(ntk, batch_axes))

    own = None
    if kernel.x1_is_x2 and kernel.ntk is not None:
        at = np.arange(kernel.ntk.shape[0])
        own = kernel.ntk[at, at]
    masks = [None if m is None else m[..., 0] for m in (kernel.mask1, kernel.mask2)]
    cov2 = None if kernel.cov2 is None else block(kernel.cov2, None, 1)
    return [block(kernel.nngp, kernel.ntk, 2), block(kernel.cov1, own, 1), cov2, *masks]
