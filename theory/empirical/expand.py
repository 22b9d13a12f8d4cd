"""Taylor expansions of a network in its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax

Tree = Any
ApplyFn = Callable[..., Tree]


def linearize(f: ApplyFn, params: Tree) -> ApplyFn:
    """The first-order Taylor expansion of f in its parameters.

        f_lin(p, x) = f(params, x) + (df/dparams)(params, x) (p - params)

    Args:
      f: (params, *args, **kwargs) -> pytree of arrays.
      params: the point of expansion, a pytree.

    Returns:
      f_lin(p, *args, **kwargs), of the signature of f.

    Reference: Lee et al. 2019, Wide neural networks of any depth evolve as linear models under
    gradient descent, section 2.2.
    """
    return taylor_expand(f, params, 1)


def taylor_expand(f: ApplyFn, params: Tree, degree: int) -> ApplyFn:
    """The Taylor expansion of f in its parameters.

        f_tayl(p, x) = sum over k <= degree of (1/k!) (d/dt)^k f(params + t (p - params), x)

    with derivatives at t = 0.

    Args:
      f: (params, *args, **kwargs) -> pytree of arrays.
      params: the point of expansion, a pytree.
      degree: of the polynomial, at least 0; the cost grows as 2^degree passes.

    Returns:
      f_tayl(p, *args, **kwargs), of the signature of f.

    Raises:
      ValueError: degree is no int or is negative.

    Reference: Bai and Lee 2020, Beyond linearization: on quadratic and higher-order approximation
    of wide neural networks.
    """
    if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
        raise ValueError(f"degree must be an int >= 0, got {degree!r}")

    def f_tayl(p: Tree, *args, **kwargs) -> Tree:
        step = jax.tree.map(lambda new, old: new - old, p, params)

        def derivatives(order: int) -> Callable[[Tree], list[Tree]]:
            if order == 0:
                return lambda at: [f(at, *args, **kwargs)]
            lower = derivatives(order - 1)

            def up_to(at: Tree) -> list[Tree]:
                values, slopes = jax.jvp(lower, (at,), (step,))
                return [*values, slopes[-1]]

            return up_to

        terms = derivatives(degree)(params)
        total = terms[0]
        for k, term in enumerate(terms[1:], start=1):
            total = jax.tree.map(lambda s, t, k=k: s + t / math.factorial(k), total, term)
        return total

    return f_tayl
