"""A fit in the units of the solver: logarithms, centred, rows in a canonical order.

With u = log x - mean(log x) and v = log y - mean(log y), the law keeps its form and its exponents;
only the coefficients change, log c_k = log c'_k + mean(log y) - sum_j s_kj e_kj mean(log x_j). So a
change of units changes nothing that the solver sees beyond rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from theory.scaling.form import Form, Structure

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
    u = np.zeros((len(log_x), rows))
    u[:, :points] = log_x - u_mean[:, None]
    constant = np.ptp(log_x, axis=1) <= CONSTANT * np.max(np.abs(log_x), axis=1)
    u[constant] = 0.0  # rather than a column of rounding errors
    v = np.zeros(rows)
    v[:points] = log_y - v_mean
    padded = np.zeros(rows)
    padded[:points] = weights
    terms = len(form.terms)
    domain = [form.domain[name] for name in form.exponents]
    return Problem(
        structure=form.structure,
        u=u,
        v=v,
        weights=padded,
        low=np.array([0.0] * terms + [low for low, _ in domain]),
        high=np.array([np.inf] * terms + [high for _, high in domain]),
        u_mean=u_mean,
        v_mean=v_mean,
    )


def to_user_units(
    problem: Problem, theta: Float[np.ndarray, "batch params"]
) -> Float[np.ndarray, "batch params"]:
    """Coefficients in the units of the data; exponents are the same in both."""
    terms = len(problem.structure)
    out = np.array(theta, dtype=np.float64)
    for k, factors in enumerate(problem.structure):
        shift = np.full(len(out), problem.v_mean)
        for column, exponent, sign in factors:
            shift = shift - sign * theta[:, terms + exponent] * problem.u_mean[column]
        out[:, k] = theta[:, k] * np.exp(shift)
    return out


def linearize(
    problem: Problem, theta: Float[np.ndarray, "*batch params"]
) -> tuple[Float[np.ndarray, "*batch rows"], Float[np.ndarray, "*batch rows params"]]:
    """Residuals v - log f and the Jacobian d log f / d theta at every row."""
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
