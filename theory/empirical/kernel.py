"""Both empirical kernels, and products of the neural tangent kernel with vectors."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax

from theory.empirical.arguments import split_kwargs
from theory.empirical.implementation import NtkImplementation
from theory.empirical.nngp import empirical_nngp_fn
from theory.empirical.ntk import MEMORY, empirical_ntk_fn

Tree = Any
NAMES = ("nngp", "ntk")


def empirical_kernel_fn(
    f: Callable[..., Tree],
    trace_axes: int | Sequence[int] = (-1,),
    diagonal_axes: int | Sequence[int] = (),
    vmap_axes: Any = None,
    implementation: NtkImplementation | int = NtkImplementation.AUTO,
    *,
    memory: int = MEMORY,
) -> Callable[..., Tree]:
    """The covariance and the neural tangent kernel of a finite network.

    Args:
      f, trace_axes, diagonal_axes: as of `empirical_nngp_fn`.
      vmap_axes, implementation, memory: as of `empirical_ntk_fn`.

    Returns:
      kernel_fn(x1, x2, get, params, **kwargs). `get` is "nngp" or "ntk", which give an array, a
      tuple of them, which gives a named tuple with these fields, or None for both. Where f has
      several outputs, the result is of their structure.

    Raises:
      ValueError: `get` is something else; as of `empirical_ntk_fn`.
    """
    kernel_fns = {
        "nngp": empirical_nngp_fn(f, trace_axes, diagonal_axes),
        "ntk": empirical_ntk_fn(
            f, trace_axes, diagonal_axes, vmap_axes, implementation, memory=memory
        ),
    }

    def kernel_fn(
        x1: Tree,
        x2: Tree | None,
        get: str | Sequence[str] | None,
        params: Tree,
        **apply_fn_kwargs,
    ) -> Tree:
        names = canonical_get(get, NAMES)
        found = [kernel_fns[name](x1, x2, params, **apply_fn_kwargs) for name in names]
        if isinstance(get, str):
            return found[0]
        result = named_tuple("EmpiricalKernel", names)
        return jax.tree.map(lambda *parts: result(*parts), *found)

    return kernel_fn


def canonical_get(get: str | Sequence[str] | None, accepted: Sequence[str]) -> tuple[str, ...]:
    """The names that `get` asks for; None means "nngp" and "ntk".

    Raises:
      ValueError: a name is unknown, or none is given.
    """
    names = NAMES if get is None else (get,) if isinstance(get, str) else tuple(get)
    if not names or not all(name in accepted for name in names):
        raise ValueError(f"get must be one of {', '.join(accepted)}, a tuple or None; got {get!r}")
    return names


@lru_cache
def named_tuple(title: str, names: tuple[str, ...]) -> type:
    """A named tuple of these fields; one class for each."""
    return namedtuple(title, names)  # type: ignore[misc]


def empirical_ntk_vp_fn(
    f: Callable[..., Tree],
    x1: Tree,
    x2: Tree | None,
    params: Tree,
    **apply_fn_kwargs,
) -> Callable[[Tree], Tree]:
    """Products of the neural tangent kernel with vectors; the kernel is not formed.

        v -> J(x1) (J(x2)' v)

    Args:
      f: (params, x, **kwargs) -> a pytree of arrays.
      x1, x2: inputs; x2 None means x1.
      params: a pytree of parameters.
      **apply_fn_kwargs: go to f: a tuple of two gives one to each side, a PRNG key `rng` is split
        where x1 and x2 differ.

    Returns:
      ntk_vp_fn(cotangents), of the structure and shapes of f(params, x2), giving those of
      f(params, x1). The cost is that of one reverse and one forward pass.

    Reference: Novak, Sohl-Dickstein, Schoenholz 2022, Fast Finite Width Neural Tangent Kernel,
    appendix L.
    """
    x2 = None if x2 is x1 else x2
    kwargs1, kwargs2 = split_kwargs(apply_fn_kwargs, x1, x2)

    def f1(p: Tree) -> Tree:
        return f(p, x1, **kwargs1)

    def f2(p: Tree) -> Tree:
        return f1(p) if x2 is None else f(p, x2, **kwargs2)

    def ntk_vp_fn(cotangents: Tree) -> Tree:
        _, pull = jax.vjp(f2, params)
        return jax.jvp(f1, (params,), pull(cotangents))[1]

    return ntk_vp_fn
