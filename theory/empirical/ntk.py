"""The empirical neural tangent kernel of any function of parameters and inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax

from theory.empirical import jacobian, structured, vector_products
from theory.empirical.arguments import Call, Leaves, both_sides, split_axes, split_params
from theory.empirical.cost import cost
from theory.empirical.implementation import NtkImplementation
from theory.empirical.setup import Setup, setup

Tree = Any

MEMORY = 1 << 30  # bytes of Jacobians and products that are worked on together
KERNELS = {
    NtkImplementation.JACOBIAN_CONTRACTION: jacobian.kernel,
    NtkImplementation.NTK_VECTOR_PRODUCTS: vector_products.kernel,
    NtkImplementation.STRUCTURED_DERIVATIVES: structured.kernel,
}


def empirical_ntk_fn(
    f: Callable[..., Tree],
    trace_axes: int | Sequence[int] = (-1,),
    diagonal_axes: int | Sequence[int] = (),
    vmap_axes: Any = None,
    implementation: NtkImplementation | int = NtkImplementation.AUTO,
    *,
    memory: int = MEMORY,
) -> Callable[..., Tree]:
    """The neural tangent kernel of a finite network.

        Theta = sum over parameters w of (df(x1)/dw) (df(x2)/dw)' / (size of the traced axes)

    Args:
      f: (params, x, **kwargs) -> an array, or a pytree of them; of several outputs each has a
        kernel of its own. Any function that jax.jit and reverse mode take; integer parameters are
        constants.
      trace_axes: axes of f(x) over which pairs are averaged.
      diagonal_axes: axes of which equal places alone are kept.
      vmap_axes: (axes of x, axes of f(x), {keyword: axis}) along which f maps over examples that
        do not meet; one value stands for both of the first two. Each is an int, None, or a pytree
        of them. None: examples may meet, as in batch normalisation, which costs N times as much.
      implementation: an NtkImplementation, or its number; AUTO chooses while a call is traced.
      memory: bytes that Jacobians and their products may take together; examples are worked on in
        tiles where all do not fit. With `vmap_axes` None there are no tiles but those of vector
        products.

    Returns:
      ntk_fn(x1, x2, params, **kwargs), x2 None meaning x1; compiled, one program for each shape.
      Its result has the axes of f(x1) and f(x2) in pairs, (N1, N2, ...); traced pairs are absent,
      diagonal ones are there once. Keyword arguments go to f: a tuple of two gives one to each
      side, a PRNG key `rng` is split where x1 and x2 differ; what is no array is a constant.

    Raises:
      ValueError: axes are out of range, overlap or disagree with x1, x2 and f; `implementation` or
        `memory` is unknown or not positive.
      TypeError: inputs are no arrays, outputs are not floating.

    Reference: Novak, Sohl-Dickstein, Schoenholz 2022, Fast Finite Width Neural Tangent Kernel.
    """
    try:
        chosen = NtkImplementation(implementation)
    except ValueError:
        names = ", ".join(f"{i.value} ({i.name})" for i in NtkImplementation)
        raise ValueError(f"implementation must be one of {names}, got {implementation!r}") from None
    if memory <= 0:
        raise ValueError(f"memory must be a positive number of bytes, got {memory!r}")
    x_axes, out_axes, kwargs_axes = split_axes(vmap_axes)

    @partial(jax.jit, static_argnums=0)
    def program(call: Call, params: Tree, leaves1: Leaves, leaves2: Leaves) -> Tree:
        own, join = split_params(params)
        if call.tree2 is None:
            leaves2 = leaves1
        problem, treedef = setup(
            f, join, own, call, leaves1, leaves2,
            out_axes=out_axes, trace_axes=trace_axes, diagonal_axes=diagonal_axes, memory=memory,
        )  # fmt: skip
        which = chosen
        if which is NtkImplementation.AUTO:
            which = choose(problem, tuple(own), leaves1, leaves2)
        return treedef.unflatten(KERNELS[which](problem, tuple(own), leaves1, leaves2))

    def ntk_fn(x1: Tree, x2: Tree | None, params: Tree, **apply_fn_kwargs) -> Tree:
        call, leaves1, leaves2 = both_sides(x1, x2, apply_fn_kwargs, x_axes, kwargs_axes)
        return program(call, params, leaves1, leaves2)

    return ntk_fn


def choose(problem: Setup, params: Leaves, leaves1: Leaves, leaves2: Leaves) -> NtkImplementation:
    """The implementation whose program is estimated to be the cheapest.

    One that cannot be traced is left out, such as vector products of a `jax.custom_vjp` function.

    Raises:
      TypeError: none can be.
    """
    costs, failures = {}, []
    for which, kernel in KERNELS.items():
        try:
            costs[which] = cost(partial(kernel, problem), params, leaves1, leaves2)
        except (TypeError, ValueError, NotImplementedError) as error:
            failures.append(f"{which.name}: {error}")
    if not costs:
        raise TypeError("no implementation can differentiate f: " + "; ".join(failures))
    return min(costs, key=lambda which: costs[which])
