"""A fit in the units of the solver: logarithms, centred, rows in a canonical order.

With u = log x - mean(log x) and v = log y - mean(log y), the law keeps its form and its exponents;
only the coefficients change, log c_k = log c'_k + mean(log y) - sum_j s_kj e_kj mean(log x_j). So a
change of units changes nothing that the solver sees beyond rounding. Other parameters in the unit
of a column are solved as logarithms, relative to the same means, and the coefficients change by
log phi_k at the means in the units of the data.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.scaling.basis import (
    Basis,
    Structure,
    count_terms,
    log_phi,
)
from theory.scaling.basis import linearize as linearize_basis
from theory.scaling.form import Centre, Form, Positive, Range, Scale
from theory.scaling.precision import float64_on_host

ROW_MULTIPLE = 32  # rows are padded to a multiple of this, so that few shapes are ever compiled

CONSTANT = 1e-13  # relative spread of a log column that counts as none


class Problem(NamedTuple):
    """Centred logarithms of the data, padded with rows of weight zero."""

    structure: Structure
    u: Float[np.ndarray, "columns rows"]
    v: Float[np.ndarray, "rows"]
    weights: Float[np.ndarray, "rows"]
    low: Float[np.ndarray, "params"]  # box of (coefficients, exponents)
    high: Float[np.ndarray, "params"]
    u_mean: Float[np.ndarray, "columns"]
    v_mean: float


def canonical_order(
    columns: dict[str, np.ndarray], target: np.ndarray, weights: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """An order of the rows that does not depend on the order in which they came."""
    return np.lexsort((groups, weights, target, *columns.values()))


def clusters(
    groups: Int[np.ndarray, "points"] | None, order: Int[np.ndarray, "points"]
) -> Int[np.ndarray, "points"] | None:
    """Runs of the rows in the order of the solver, or None where every row is a run of its own."""
    if groups is None or len(np.unique(groups)) in (1, len(groups)):
        return None
    return groups[order]


def build(
    form: Form, columns: dict[str, np.ndarray], target: np.ndarray, weights: np.ndarray
) -> Problem:
    """Centre the logarithms and pad.

    Args:
      form: the law.
      columns: its columns, positive, each (points,).
      target: y, positive, (points,).
      weights: nonnegative, not all zero, (points,).
    """
    points = len(target)
    rows = -(-points // ROW_MULTIPLE) * ROW_MULTIPLE
    share = weights / np.sum(weights)
    log_x = np.log(np.stack([columns[name] for name in form.columns]))
    log_y = np.log(target)
    u_mean, v_mean = log_x @ share, float(log_y @ share)
    for group in form.same_unit:
        index = [form.columns.index(name) for name in group]
        u_mean[index] = u_mean[index[0]]
    u = np.zeros((len(log_x), rows))
    u[:, :points] = log_x - u_mean[:, None]
    constant = np.ptp(log_x, axis=1) <= CONSTANT * np.max(np.abs(log_x), axis=1)
    shared = [form.columns.index(name) for group in form.same_unit for name in group]
    constant[shared] = False
    u[constant] = 0.0  # rather than a column of rounding errors
    v = np.zeros(rows)
    v[:points] = log_y - v_mean
    padded = np.zeros(rows)
    padded[:points] = weights
    nothing = np.zeros(0)
    task = Problem(form.structure, u, v, padded, nothing, nothing, u_mean, v_mean)
    low, high = box(form, task)
    return task._replace(low=low, high=high)


def box(
    form: Form, problem: Problem
) -> tuple[Float[np.ndarray, "params"], Float[np.ndarray, "params"]]:
    """Lowest and highest values of (coefficients, exponents) as the solver has them."""
    seen = problem.u[:, problem.weights > 0]
    spans = [_span(form, form.domain[name], seen) for name in form.exponents]
    low = [0.0] * len(form.terms) + [low for low, _ in spans]
    high = [np.inf] * len(form.terms) + [high for _, high in spans]
    return np.array(low), np.array(high)


def _span(form: Form, span: Range, u: Float[np.ndarray, "columns points"]) -> tuple[float, float]:
    """The range of a nonlinear parameter as the solver has it."""
    if isinstance(span, Scale):
        x = u[form.columns.index(span.column)]
        low, high = float(np.min(x)), float(np.max(x))
        room = span.margin * max(high - low, 1.0)
        return low - room, high + room
    if isinstance(span, Positive):
        return float(np.log(span.low)), float(np.log(span.high))
    assert not isinstance(span, Centre)
    return float(span[0]), float(span[1])


def to_user_units(
    form: Form, problem: Problem, theta: Float[np.ndarray, "batch params"]
) -> Float[np.ndarray, "batch params"]:
    """The published parameters in the units of the data."""
    theta = np.asarray(theta, dtype=np.float64)
    if form.report is None and not isinstance(problem.structure, Basis):
        return _solved(form, problem, theta)
    with float64_on_host():
        return np.asarray(published(form, jnp.asarray(theta.T), problem.u_mean, problem.v_mean)).T


def _solved(
    form: Form, problem: Problem, theta: Float[np.ndarray, "batch params"]
) -> Float[np.ndarray, "batch params"]:
    """The parameters of a sum of power laws, in the units of the data."""
    assert not isinstance(problem.structure, Basis)
    terms = len(problem.structure)
    out = np.array(theta)
    for k, factors in enumerate(problem.structure):
        shift = np.full(len(out), problem.v_mean)
        for column, exponent, sign in factors:
            shift = shift - sign * theta[:, terms + exponent] * problem.u_mean[column]
        out[:, k] = theta[:, k] * np.exp(shift)
    return out


def published(
    form: Form,
    theta: Float[Array, "params *batch"],
    u_mean: Float[Array | np.ndarray, "columns"],
    v_mean: Float[Array, ""] | float,
) -> Float[Array, "published *batch"]:
    """`to_user_units` in jax.numpy and transposed, to be differentiated. Call it in float64."""
    terms = count_terms(form.structure)
    basis = form.basis
    batch = theta.shape[1:]
    eta, raw = theta[terms:], []
    for j, name in enumerate(form.exponents):
        span = form.domain[name]
        scale = u_mean[form.columns.index(span.column)] if isinstance(span, Scale) else 0.0
        raw.append(eta[j] + scale)
    centre = {
        name: u_mean[form.columns.index(span.column)]
        for name, span in form.domain.items()
        if isinstance(span, Centre)
    }
    columns = len(form.columns)
    here = jnp.broadcast_to(
        jnp.asarray(u_mean).reshape(columns, *(1 for _ in batch)), (columns, *batch)
    )
    there = log_phi(basis, raw, here, centre)
    phi = log_phi(basis, list(eta), jnp.zeros_like(here))
    solved: dict[str, Array] = {
        name: theta[k] * jnp.exp(v_mean + phi[k] - there[k])
        for k, name in enumerate(form.coefficients)
    }
    for name, value in zip(form.exponents, raw, strict=True):
        logged = isinstance(form.domain[name], Scale | Positive)
        solved[name] = jnp.exp(value) if logged else value
    solved |= {name: jnp.exp(value) for name, value in centre.items()}
    named = solved if form.report is None else form.report.of(solved)
    return jnp.stack([jnp.broadcast_to(named[name], batch) for name in form.params])


def linearize(
    problem: Problem, theta: Float[np.ndarray, "*batch params"]
) -> tuple[Float[np.ndarray, "*batch rows"], Float[np.ndarray, "*batch rows params"]]:
    """Residuals v - log f and the Jacobian d log f / d theta at every row."""
    if isinstance(problem.structure, Basis):
        flat = np.asarray(theta).reshape(-1, theta.shape[-1])
        with float64_on_host():
            log_f, slope = (
                np.asarray(part) for part in linearize_basis(problem.structure, flat, problem.u)
            )
        shape = theta.shape[:-1]
        slope = slope.reshape(*shape, *slope.shape[1:])
        return problem.v - log_f.reshape(*shape, -1), slope
    terms = len(problem.structure)
    rows, exponents = problem.v.size, theta.shape[-1] - terms
    share, phi = [], []
    design = np.zeros((terms, exponents, rows))
    for k, factors in enumerate(problem.structure):
        for column, exponent, sign in factors:
            design[k, exponent] += sign * problem.u[column]
        phi.append(np.exp(theta[..., terms:] @ design[k]))
        share.append(theta[..., k, None] * phi[k])
    total = np.sum(share, axis=0)
    slopes = [p / total for p in phi]
    slopes += [sum(share[k] * design[k, j] for k in range(terms)) / total for j in range(exponents)]
    return problem.v - np.log(total), np.stack(slopes, axis=-1)
