"""The cost of a program from its jaxpr: operations and memory traffic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

# Costs in multiply-adds of a matrix product.
ENTRY = 16.0  # an array's entry that is written or read by anything but a matrix product
CONVOLUTION = 4.0  # a multiply-add of a convolution
MOVES = {"reshape", "broadcast_in_dim", "squeeze", "expand_dims", "copy", "convert_element_type"}


def cost(fn: Callable[..., Any], *args: Any) -> float:
    """The estimated cost of fn(*args), in multiply-adds of a matrix product; nothing is run.

    A loop counts as often as its body runs where that is known, a `while` once, of branches the
    costliest. What XLA will fuse is not known here: every entry that is made counts.
    """
    return _jaxpr(jax.make_jaxpr(fn)(*args))


def _jaxpr(program: Any) -> float:
    jaxpr = (
        program.jaxpr if isinstance(program, ClosedJaxpr) and hasattr(program, "jaxpr") else program
    )
    return sum(_equation(eqn) for eqn in jaxpr.eqns)


def _equation(eqn: JaxprEqn) -> float:
    name, params = eqn.primitive.name, eqn.params
    made = sum(math.prod(_shape(var)) for var in eqn.outvars)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = _shape(eqn.invars[0])
        read = sum(math.prod(_shape(var)) for var in eqn.invars)
        return made * math.prod(shape[a] for a in contracted) + ENTRY * (made + read)
    if name == "conv_general_dilated":
        numbers = params["dimension_numbers"]
        w = _shape(eqn.invars[1])
        taps = math.prod(w) // max(1, w[numbers.rhs_spec[0]])
        return CONVOLUTION * made * taps / max(1, params["batch_group_count"]) + ENTRY * made
    inner = [
        _jaxpr(part)
        for value in params.values()
        for part in (value if isinstance(value, tuple | list) else (value,))
        if isinstance(part, ClosedJaxpr | Jaxpr)
    ]
    if inner:
        if name == "cond":
            return max(inner)
        return sum(inner) * (params["length"] if name == "scan" else 1)
    return 0.0 if name in MOVES else ENTRY * made


def _shape(var: Any) -> tuple[int, ...]:
    return getattr(var.aval, "shape", ())
