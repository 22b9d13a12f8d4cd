"""Work that is done once and kept, outside of any trace where its inputs are known."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

T = TypeVar("T")


def is_traced(*trees: Any) -> bool:
    """Whether any leaf is a tracer: its value is not known yet."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def outside_traces() -> AbstractContextManager:
    """A context in which what is known is computed at once, even inside a jit."""
    inside = is_traced(jnp.add(0, 0))
    return jax.ensure_compile_time_eval() if inside else nullcontext()


def once(make: Callable[[], T]) -> Callable[[], T]:
    """A function that gives `make()`, which is run at the first call alone.

    Where everything that `make` uses is known it is computed there and then, even inside a jit, so
    that later calls find it. A result that depends on tracers is not kept: its trace will end.
    """
    kept: list[T] = []

    def get() -> T:
        if kept:
            return kept[0]
        with outside_traces():
            value = make()
        if not is_traced(value):
            kept.append(value)
        return value

    return get
