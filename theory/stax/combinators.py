"""Layers one after another, side by side, and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax

from theory.stax.layer import Layer, layer_of, rule_of
from theory.stax.rule import Rule


def serial(*layers: Sequence) -> Layer:
    """Layers one after another.

    Args:
      layers: triples (init_fn, apply_fn, kernel_fn); none gives the identity.
    """
    rules = tuple(rule_of(layer) for layer in layers)

    def init(rng, shape):
        params = []
        for rule, key in zip(rules, jax.random.split(rng, max(1, len(rules))), strict=False):
            shape, own = rule.init(key, shape)
            params.append(own)
        return shape, tuple(params)

    def infer(facts):
        for rule in rules:
            facts = rule.infer(facts)
        return facts

    def full(wanted):
        for rule in reversed(rules):
            wanted = rule.full(wanted)
        return wanted

    return layer_of(_combined("serial", rules, init, infer, full))


def parallel(*layers: Sequence) -> Layer:
    """Layers side by side: a tuple of inputs to a tuple of outputs (see FanOut and FanInSum).

    Args:
      layers: triples (init_fn, apply_fn, kernel_fn), one for each input.
    """
    rules = tuple(rule_of(layer) for layer in layers)

    def matched(parts):
        if not isinstance(parts, tuple | list) or isinstance(parts[0], int):
            raise ValueError(
                f"parallel of {len(rules)} layers needs a tuple of inputs, got one input"
            )
        if len(parts) != len(rules):
            raise ValueError(f"parallel of {len(rules)} layers got {len(parts)} inputs")
        return tuple(parts)

    def init(rng, shapes):
        keys = jax.random.split(rng, max(1, len(rules)))
        pairs = zip(rules, keys, matched(shapes), strict=False)
        made = [rule.init(key, shape) for rule, key, shape in pairs]
        return tuple(shape for shape, _ in made), tuple(params for _, params in made)

    def infer(facts):
        return tuple(rule.infer(part) for rule, part in zip(rules, matched(facts), strict=True))

    def full(wanted):
        return any(rule.full(wanted) for rule in rules)

    return layer_of(_combined("parallel", rules, init, infer, full))


def repeat(layer: Sequence, n: int) -> Layer:
    """One layer n times, with parameters of its own each time, compiled once.

    The same as serial(*([layer] * n)), which may be used where the layer changes shapes.

    Args:
      layer: a triple whose outputs have the shape of its inputs.
      n: repetitions, at least 0. The parameters have a leading axis of this size.

    Raises:
      ValueError: n is no such int, or, when it is used, the layer changes what it repeats on.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"n must be an int >= 0, got {n!r}")
    rule = rule_of(layer)

    def init(rng, shape):
        after = rule.init(rng, shape)[0]
        if tuple(after) != tuple(shape):
            raise ValueError(f"repeat needs a layer that keeps the shape, got {shape} -> {after}")
        return shape, jax.vmap(lambda key: rule.init(key, shape)[1])(jax.random.split(rng, n))

    def infer(facts):
        for _ in range(min(n, 2)):
            after = rule.infer(facts)
            if after.space != facts.space or after.channels != facts.channels:
                raise ValueError(
                    f"repeat needs a layer that keeps the shape, got {facts} -> {after}"
                )
            facts = after
        return facts

    def full(wanted):
        return rule.full(wanted) if n else wanted

    combined = _combined("repeat", (rule,), init, infer, full)
    return layer_of(replace(combined, name=f"repeat({rule.name}, {n})", repeats=n))


def _combined(kind: str, rules: tuple[Rule, ...], init, infer, full) -> Rule:
    name = f"{kind}({', '.join(rule.name for rule in rules)})"
    return Rule(
        name=name, init=init, apply=_never, infer=infer, full=full, kind=kind, children=rules
    )


def _never(*_):
    raise AssertionError("run_finite walks the children of a combinator")
