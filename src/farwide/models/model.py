"""The seam between Linen and the rest: a model is two pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

Params = Any  # a pytree of arrays


class Apply(Protocol):
    """`apply(params, inputs)` is deterministic; with `key` the random parts (dropout) are on."""

    def __call__(
        self, params: Params, inputs: jax.Array, key: jax.Array | None = None
    ) -> jax.Array: ...


class Model(NamedTuple):
    """`init(key) -> params` and `apply(params, inputs) -> logits`; nothing else is relied on."""

    init: Callable[[jax.Array], Params]
    apply: Apply


class ParameterCount(NamedTuple):
    """Sizes of a parameter tree: everything, and everything but the embedding table."""

    total: int
    non_embedding: int


def count_parameters(params: Params, *, embedding: str = "embedding") -> ParameterCount:
    """Count parameters; leaves below a key that is named `embedding` are the embedding.

    A tied embedding is also the output head and is counted once, as Kaplan et al. (2020) do.
    """
    total = table = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        total += leaf.size
        if any(getattr(entry, "key", None) == embedding for entry in path):
            table += leaf.size
    return ParameterCount(total, total - table)


def dense_kernels(params: Params) -> Params:
    """The tree of `params` with True at the kernels of dense layers and convolutions.

    They are what weight decay is for: taps, poles, time steps, gains and offsets have meanings of
    their own, which decay would pull to zero.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1], "key", None) == "kernel", params
    )
