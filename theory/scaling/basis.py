"""The terms of a law as the solver sees them, for laws that are no sum of power laws.

A sum of power laws needs only indices (column, exponent, sign), and `newton` has its derivatives by
hand. Any other law brings functions, and its derivatives come from here, by automatic
differentiation of log f(x; theta), theta = (c, eta).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.scaling.precision import float64_on_host

if TYPE_CHECKING:
    from theory.scaling.form import Form


REAL, POSITIVE, SCALE = "real", "positive", "scale"  # the solver has the last two as logarithms


class Factor(NamedTuple):
    """A power of one column: exponents[exponent] * sign, or just `sign` where exponent is -1."""

    column: int
    exponent: int
    sign: float


@dataclass(frozen=True)
class Basis:
    """A hashable description of the terms, for compiled code."""

    terms: tuple[Any, ...]  # of each term, its Factors or its function (p, x) -> log phi
    columns: tuple[str, ...]
    nonlinear: tuple[tuple[str, str], ...]  # name, and REAL, POSITIVE or SCALE
    centres: tuple[str, ...]
    reads: tuple[frozenset[int], ...]  # of each term, the nonlinear parameters it depends on


Structure = tuple[tuple[Factor, ...], ...] | Basis


def count_terms(structure: Structure) -> int:
    """How many terms, and so coefficients, there are."""
    return len(structure.terms) if isinstance(structure, Basis) else len(structure)


def exponents_of(structure: Structure, term: int) -> frozenset[int]:
    """Which nonlinear parameters a term depends on."""
    if isinstance(structure, Basis):
        return structure.reads[term]
    return frozenset(factor.exponent for factor in structure[term])


def log_phi(
    basis: Basis,
    eta: Sequence[Array] | Array,
    u: Float[Array, "columns rows"],
    centre: Mapping[str, Any] | None = None,
) -> list[Float[Array, "rows"]]:
    """log phi_k at every row, one array a term.

    Args:
      basis: the terms.
      eta: nonlinear parameters as the solver has them.
      u: logarithms of the columns.
      centre: logarithms of the `Centre`s; zeros by default, as in the units of the solver.
    """
    p = {
        name: jnp.exp(eta[j]) if kind == POSITIVE else eta[j]
        for j, (name, kind) in enumerate(basis.nonlinear)
    }
    p |= {name: 0.0 if centre is None else centre[name] for name in basis.centres}
    x = dict(zip(basis.columns, u, strict=True))
    out = []
    for term in basis.terms:
        if callable(term):
            value = term(p, x)
        else:
            value = sum(
                (f.sign if f.exponent < 0 else f.sign * eta[f.exponent]) * u[f.column] for f in term
            )
        out.append(jnp.broadcast_to(jnp.asarray(value, u.dtype), u.shape[1:]))
    return out


def log_sum(
    basis: Basis, theta: Float[Array, "params"], u: Float[Array, "columns rows"]
) -> Float[Array, "rows"]:
    """log f at every row, in the units of the solver."""
    terms = len(basis.terms)
    phi = log_phi(basis, theta[terms:], u)
    return jnp.log(sum(theta[k] * jnp.exp(phi[k]) for k in range(terms)))


@partial(jax.jit, static_argnames=("basis",))
def linearize(
    basis: Basis, theta: Float[Array, "batch params"], u: Float[Array, "columns rows"]
) -> tuple[Float[Array, "batch rows"], Float[Array, "batch rows params"]]:
    """log f and its Jacobian at every row."""

    def one(t: Array) -> tuple[Array, Array]:
        return log_sum(basis, t, u), jax.jacfwd(lambda s: log_sum(basis, s, u))(t)

    return jax.vmap(one)(theta)


def log_law(
    form: Form, solved: Mapping[str, Any], columns: Mapping[str, Any]
) -> Float[np.ndarray, "*shape"]:
    """Values of the law (not their logarithm) in the units of the data."""
    basis = form.structure
    assert isinstance(basis, Basis)
    names = [*form.coefficients, *form.exponents, *basis.centres]
    values = [np.asarray(solved[n], np.float64) for n in names]
    values += [np.asarray(columns[n], np.float64) for n in basis.columns]
    arrays = np.broadcast_arrays(*values)
    flat = np.stack([a.reshape(-1) for a in arrays])
    size = flat.shape[1]
    padded = np.ones((len(flat), 1 << max(0, size - 1).bit_length()))  # few shapes to compile for
    padded[:, :size] = flat
    with float64_on_host():
        out = np.asarray(_values(basis, jnp.asarray(padded)))
    return out[:size].reshape(arrays[0].shape)


@partial(jax.jit, static_argnames=("basis",))
def _values(basis: Basis, rows: Float[Array, "values rows"]) -> Float[Array, "rows"]:
    """f at columns of (coefficients, nonlinear parameters, centres, data), as published."""
    terms, last = len(basis.terms), len(basis.terms) + len(basis.nonlinear)
    first = last + len(basis.centres)
    eta = [
        rows[terms + j] if kind == REAL else jnp.log(rows[terms + j])
        for j, (_, kind) in enumerate(basis.nonlinear)
    ]
    centre = {name: jnp.log(rows[last + i]) for i, name in enumerate(basis.centres)}
    phi = log_phi(basis, eta, jnp.log(rows[first:]), centre)
    return sum((rows[k] * jnp.exp(phi[k]) for k in range(terms)), start=jnp.zeros(rows.shape[1]))
