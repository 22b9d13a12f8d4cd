"""A network as a list of operations: its jaxpr with inner programs put in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

INLINED = {
    "pjit": "jaxpr",
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}

Atom = int | Literal  # the number of a value, or a constant in place


class Op(NamedTuple):
    """One operation.

    Attributes:
      eqn: the equation that it was.
      ins: what it reads.
      outs: numbers of what it makes.
      run: values of its inputs that are no literals, each once -> its outputs.
      reads: the numbers of those values.
    """

    eqn: JaxprEqn
    ins: tuple[Atom, ...]
    outs: tuple[int, ...]
    run: Callable[..., Any]
    reads: tuple[int, ...]

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.eqn.primitive.name


class Graph(NamedTuple):
    """Operations in order; every value has a number of its own.

    Attributes:
      ops: the operations.
      ins: numbers of the arguments.
      outs: what is returned.
      consts: values that are known.
      shapes: shape and dtype of every value.
    """

    ops: tuple[Op, ...]
    ins: tuple[int, ...]
    outs: tuple[Atom, ...]
    consts: dict[int, Any]
    shapes: dict[int, Any]


def trace(fn: Callable[..., Any], *args: Any) -> Graph:
    """The graph of fn(*args), all of its flat arguments being numbered in order."""
    closed = jax.make_jaxpr(fn)(*args)
    ops: list[Op] = []
    consts: dict[int, Any] = {}
    shapes: dict[int, Any] = {}

    def number(aval: Any) -> int:
        shapes[len(shapes)] = aval
        return len(shapes) - 1

    def add(jaxpr: Jaxpr, values: tuple[Any, ...], arguments: tuple[Atom, ...]) -> list[Atom]:
        atoms: dict[Any, Atom] = dict(zip(jaxpr.invars, arguments, strict=True))
        for var, value in zip(jaxpr.constvars, values, strict=True):
            atoms[var] = number(var.aval)
            consts[len(shapes) - 1] = value

        def read(var: Any) -> Atom:
            return var if isinstance(var, Literal) else atoms[var]

        for eqn in jaxpr.eqns:
            ins = tuple(read(var) for var in eqn.invars)
            inner = _inner(eqn)
            if inner is not None:
                for var, atom in zip(eqn.outvars, add(*inner, ins), strict=True):
                    atoms[var] = atom
                continue
            outs = tuple(number(var.aval) for var in eqn.outvars)
            atoms.update(zip(eqn.outvars, outs, strict=True))
            ops.append(_op(jaxpr, eqn, ins, outs))
        return [read(var) for var in jaxpr.outvars]

    ins = tuple(number(var.aval) for var in closed.jaxpr.invars)
    outs = tuple(add(closed.jaxpr, tuple(closed.consts), ins))
    return Graph(tuple(ops), ins, outs, consts, shapes)


def _inner(eqn: JaxprEqn) -> tuple[Jaxpr, tuple[Any, ...]] | None:
    """The program of an operation that only calls it: (jaxpr, constants)."""
    key = INLINED.get(eqn.primitive.name)
    inner = eqn.params.get(key) if key else None
    if isinstance(inner, ClosedJaxpr) and hasattr(inner, "jaxpr"):
        jaxpr, consts = inner.jaxpr, tuple(inner.consts)
    elif isinstance(inner, Jaxpr):
        jaxpr, consts = inner, tuple(getattr(inner, "consts", ()) or ())
    else:
        return None
    return (jaxpr, consts) if len(jaxpr.constvars) == len(consts) else None


def _op(jaxpr: Jaxpr, eqn: JaxprEqn, ins: tuple[Atom, ...], outs: tuple[int, ...]) -> Op:
    pairs = zip(eqn.invars, ins, strict=True)
    # one variable may stand for literals of the caller, or for values given twice
    variables = {var: atom for var, atom in pairs if not isinstance(var, Literal)}
    free = {var: atom for var, atom in variables.items() if not isinstance(atom, Literal)}
    alone = jaxpr.replace(
        constvars=[], invars=list(variables), outvars=list(eqn.outvars), eqns=[eqn]
    )
    call = jaxpr_as_fun(ClosedJaxpr(alone, []))
    if len(free) == len(variables):
        run = call
    else:
        fixed = {i: a.val for i, a in enumerate(variables.values()) if isinstance(a, Literal)}

        def run(*values: Any) -> Any:
            given = iter(values)
            full = [fixed[i] if i in fixed else next(given) for i in range(len(variables))]
            return call(*full)

    return Op(eqn, ins, outs, run, tuple(a for a in free.values() if not isinstance(a, Literal)))


def evaluate(
    graph: Graph, arguments: tuple[Array, ...], shifts: Mapping[int, Array]
) -> tuple[list[Any], dict[int, Any]]:
    """(outputs, all values), with `shifts` added to the values of their numbers."""
    values: dict[int, Any] = dict(graph.consts)

    def write(number: int, value: Any) -> None:
        values[number] = value + shifts[number] if number in shifts else value

    for number, value in zip(graph.ins, arguments, strict=True):
        write(number, value)
    for op in graph.ops:
        for number, value in zip(op.outs, op.run(*(values[i] for i in op.reads)), strict=True):
            write(number, value)
    return [value_of(atom, values) for atom in graph.outs], values


def value_of(atom: Atom, values: Mapping[int, Any]) -> Any:
    """The value of an atom."""
    return atom.val if isinstance(atom, Literal) else values[atom]
