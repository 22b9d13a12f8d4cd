"""Which axes of a parameter grow with the width, and what that makes of it.

Nothing here knows a model: the shapes of two sizes of a family are compared, without computing
anything (`jax.eval_shape`). An axis whose size differs grows. A growing axis is summed over when
the parameter is used (fan-in), or indexes the features that come out of it (fan-out):

    role      growing axes               for example
    input     fan-out alone              embedding, bias, norm, taps of a channel, first layer
    hidden    fan-in and fan-out         a matrix between two layers
    output    fan-in alone               readout
    scalar    none                       a temperature

Shapes tell which axes grow, not which of them is summed over. Three conventions settle that, and
`rules` override them:

- a leaf named "kernel" (what Linen calls the weights of Dense, DenseGeneral and Conv), or a leaf
  without a name (lists and tuples) of two or more axes, is (..., in, out): fan-out is the last
  axis, or from two growing axes the later one, fan-in the rest;
- another leaf with one growing axis has an entry for each feature: fan-out, wherever that axis is
  (an embedding (vocabulary, features), taps (channels, length));
- another leaf with two growing axes is (in, out).

A leaf with three growing axes, such as heads and head size that both grow, needs a rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax

from farwide.models import Model

Kind = Literal["input", "hidden", "output", "scalar"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Role:
    """What one parameter is, and how much larger than at the base width.

    Attributes:
      kind: input, hidden, output or scalar, as above.
      fan_in, fan_out: sizes of the growing axes over their sizes at the base width, multiplied up;
        1 where none grows.
      shape: of the parameter.
      grows: its growing axes.
    """

    kind: Kind
    fan_in: float
    fan_out: float
    shape: tuple[int, ...]
    grows: tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """An override for parameters whose path matches.

    Attributes:
      pattern: regular expression, searched in the path ("blocks_0/mixer/filters_0/weights").
      fan_in: axes that are summed over, negative ones from the end; the other axes that grow are
        fan-out. An axis that does not grow has no effect.
    """

    pattern: str
    fan_in: tuple[int, ...]


def path_of(path: tuple[Any, ...]) -> str:
    """A path of `jax.tree_util` as text, its entries joined by "/"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def infer_roles(
    make: Callable[[int], Model],
    width: int,
    base_width: int,
    *,
    probe_width: int | None = None,
    rules: Sequence[Rule] = (),
) -> Any:
    """The role of every parameter of `make(width)`, relative to `make(base_width)`.

    Args:
      make: width -> a model. Everything but the width is the same for all of them.
      width: of the model that is trained.
      base_width: the width at which muP and the standard parametrisation are the same model.
      probe_width: another width that `make` takes, to see what grows; None: twice `base_width`.
      rules: overrides, the first that matches counts.

    Returns:
      A tree of `Role` in the structure of the parameters.

    Raises:
      ValueError: the three widths give different trees or numbers of axes; no axis grows; a
        parameter has three growing axes and no rule; a rule matches nothing or names an axis that
        a parameter does not have; probe_width equals base_width.
    """
    probe_width = 2 * base_width if probe_width is None else probe_width
    if probe_width == base_width:
        raise ValueError(f"probe_width is {probe_width}; accepted: another width than base_width")
    base, probe, own = (_shapes(make, each) for each in (base_width, probe_width, width))
    for other, at in ((probe, probe_width), (own, width)):
        if base.keys() != other.keys() or any(len(base[p]) != len(other[p]) for p in base):
            raise ValueError(
                f"make({base_width}) and make({at}) have parameters of different names or ranks; "
                "a family differs in sizes alone"
            )
    if base == probe:
        raise ValueError(f"make({base_width}) and make({probe_width}) have the same shapes")
    used: set[str] = set()
    found = []
    for name, shape in own.items():
        grows = tuple(
            i for i, (a, b) in enumerate(zip(base[name], probe[name], strict=True)) if a != b
        )
        rule = next((rule for rule in rules if re.search(rule.pattern, name)), None)
        if rule is not None:
            used.add(rule.pattern)
        summed = _fan_in(name, len(shape), grows, rule)
        found.append(_role(shape, base[name], grows, summed))
    idle = [rule.pattern for rule in rules if rule.pattern not in used]
    if idle:
        raise ValueError(f"rules {idle} match no parameter; there are {', '.join(own)}")
    structure = jax.tree.structure(jax.eval_shape(make(width).init, jax.random.key(0)))
    return jax.tree.unflatten(structure, found)


def _shapes(make: Callable[[int], Model], width: int) -> dict[str, tuple[int, ...]]:
    tree = jax.eval_shape(make(width).init, jax.random.key(0))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_of(path): tuple(leaf.shape) for path, leaf in leaves}


def _fan_in(name: str, rank: int, grows: tuple[int, ...], rule: Rule | None) -> tuple[int, ...]:
    """The growing axes that are summed over."""
    if rule is not None:
        if any(not -rank <= axis < rank for axis in rule.fan_in):
            raise ValueError(f"rule {rule.pattern!r} names axes {rule.fan_in}; {name} has {rank}")
        return tuple(sorted({axis % rank for axis in rule.fan_in} & set(grows)))
    if len(grows) > 2:
        raise ValueError(
            f"{name} grows along axes {grows}; which of them are summed over needs a rule, "
            f"Rule({name!r}, fan_in=(...))"
        )
    if len(grows) == 2:
        return grows[:1]
    last = name.rsplit("/", 1)[-1]
    kernel = last == "kernel" or last.isdigit()
    return grows if kernel and rank > 1 and grows != (rank - 1,) else ()


def _role(
    shape: tuple[int, ...], base: tuple[int, ...], grows: tuple[int, ...], summed: tuple[int, ...]
) -> Role:
    others = tuple(axis for axis in grows if axis not in summed)
    kind: Kind = (
        "hidden" if summed and others else "output" if summed else "input" if others else "scalar"
    )
    fans = [math.prod(shape[axis] / base[axis] for axis in axes) for axes in (summed, others)]
    return Role(kind, fans[0], fans[1], shape, grows)
