"""A layer of a sparse deep kernel machine, and how layers are put together."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Value = Any  # inputs, then a Gram, then an Output
Visit = Callable[[str, "Layer", Value, Value], None]


class Layer(NamedTuple):
    """A pair of pure functions.

    Attributes:
      name: as a user would write it.
      init: (key, value) -> params. What a layer starts from depends on what it is given: the first
        batch's inputs, or their covariances.
      apply: (params, value, *, key=None, train=False) -> (value, kl). `kl` is what the layer takes
        from the objective, its nu included, in nats; 0 where it takes nothing. `key` is for layers
        that draw noise in training.
      kind: "leaf"; "serial" and "sum" have children.
      children: of a combination.
    """

    name: str
    init: Callable[[Array, Value], Any]
    apply: Callable[..., tuple[Value, Array]]
    kind: Literal["leaf", "serial", "sum"] = "leaf"
    children: tuple[Layer, ...] = ()


def leaf(
    name: str,
    init: Callable[[Array, Value], Any],
    apply: Callable[[Any, Value, Array | None, bool], tuple[Value, Array]],
) -> Layer:
    """A layer of its own functions; `apply` takes (params, value, key, train)."""

    def call(params, value, *, key=None, train=False):
        return apply(params, value, key, train)

    return Layer(name, init, call)


def whole(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int.

    Raises:
      ValueError: not a whole number, or below `least`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return operator.index(value)


def floating(name: str, value: Array) -> None:
    """Raise a ValueError where an array holds whole numbers: parameters take its dtype."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"{name} must be floating-point numbers, got {value.dtype}")


def stateless(name: str, f: Callable[[Value], Value]) -> Layer:
    """A layer without parameters that takes nothing from the objective."""
    return leaf(
        name, lambda key, value: (), lambda params, value, key, train: (f(value), zero(value))
    )


def zero(value: Value) -> Array:
    """0 of the value's dtype: the KL of a layer that has none."""
    return jnp.zeros((), jax.tree.leaves(value)[0].dtype)


def serial(*layers: Layer) -> Layer:
    """One layer after another; KLs add up.

    Args:
      layers: at least one.
    """
    _check("serial", layers)

    def init(key, value):
        params = []
        for layer, own in zip(layers, jax.random.split(key, len(layers)), strict=True):
            params.append(layer.init(own, value))
            value, _ = layer.apply(params[-1], value)
        return params

    return _combined("serial", layers, init)


def residual(*branches: Layer) -> Layer:
    """The sum of what branches make of one value, weighted by a learned softmax.

        G = sum_b w_b G_b,  w = softmax(logits),  equal at the start

    The features of a sum of kernels are those of the branches side by side, so that w keeps
    variances where the branches have them. `identity()` is the branch that skips.

    Args:
      branches: at least two, whose results have the same shapes.

    Reference: Milsom, Anson, Aitchison 2024, Convolutional deep kernel machines.
    """
    _check("residual", branches)

    def init(key, value):
        keys = jax.random.split(key, len(branches))
        params = [layer.init(own, value) for layer, own in zip(branches, keys, strict=True)]
        return {"logits": jnp.zeros(len(branches), zero(value).dtype), "branches": params}

    return _combined("residual", branches, init, kind="sum")


def identity() -> Layer:
    """What comes in."""
    return stateless("identity()", lambda value: value)


def _check(name: str, layers: tuple[Layer, ...]) -> None:
    least = 1 if name == "serial" else 2
    wrong = [type(layer).__name__ for layer in layers if not isinstance(layer, Layer)]
    if wrong:
        raise TypeError(f"{name} takes layers of theory.dkm, got {', '.join(wrong)}")
    if len(layers) < least:
        raise ValueError(f"{name} needs at least {least} layers, got {len(layers)}")


def _combined(name: str, layers: tuple[Layer, ...], init, kind: Any = "serial") -> Layer:
    written = f"{name}({', '.join(layer.name for layer in layers)})"
    layer = Layer(written, init, lambda *_, **__: (None, jnp.zeros(())), kind, layers)
    return layer._replace(apply=partial(_call, layer))


def _call(
    layer: Layer, params: Any, value: Value, *, key: Array | None = None, train: bool = False
):
    return run(layer, params, value, key, train)


def run(
    layer: Layer,
    params: Any,
    value: Value,
    key: Array | None,
    train: bool,
    visit: Visit | None = None,
    path: str = "",
) -> tuple[Value, Array]:
    """A layer's `apply`, with a look at every leaf on the way.

    Args:
      layer: any.
      params: its parameters.
      value: its input.
      key: for layers that draw noise, or None.
      train: whether this is training.
      visit: called with (path, leaf, value before, value after).
      path: what `layer` is called.
    """
    if layer.kind == "leaf":
        out, kl = layer.apply(params, value, key=key, train=train)
        if visit is not None:
            visit(path or layer.name, layer, value, out)
        return out, kl
    children = layer.children
    keys = [None] * len(children) if key is None else list(jax.random.split(key, len(children)))
    total = zero(value)
    if layer.kind == "serial":
        for i, (child, own, k) in enumerate(zip(children, params, keys, strict=True)):
            value, kl = run(child, own, value, k, train, visit, _below(path, i, child))
            total = total + kl
        return value, total
    weights = jax.nn.softmax(params["logits"])
    parts = []
    for i, (child, own, k) in enumerate(zip(children, params["branches"], keys, strict=True)):
        part, kl = run(child, own, value, k, train, visit, _below(path, i, child))
        parts.append(part)
        total = total + kl
    shapes = {tuple(leaf.shape for leaf in jax.tree.leaves(part)) for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"branches of residual must give the same shapes, got {sorted(shapes)}")
    return jax.tree.map(
        lambda *xs: sum(w * x for w, x in zip(weights, xs, strict=True)), *parts
    ), total


def _below(path: str, i: int, child: Layer) -> str:
    own = f"{i}:{child.name}" if child.kind == "leaf" else str(i)
    return f"{path}/{own}" if path else own
