"""What a design cannot tell: parameters that the runs do not separate, in words.

Two parameters are inseparable where their columns of the Jacobian d log f / d theta are parallel
over the runs. With every column scaled to unit length the smallest singular value measures that
without units. Coefficients enter as c (not log c), so that a term that has become zero still
counts unless the data push it there; its exponents do not.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from theory.scaling.basis import count_terms, exponents_of
from theory.scaling.form import Form, Positive, Scale
from theory.scaling.losses import Shape, pull
from theory.scaling.problem import Problem, linearize

SINGULAR = 1e-6  # a smaller singular value of the scaled Jacobian means inseparable
PUSH = 1e-6  # a gradient below this share of its absolute sum is none
EXACT = 1e-12  # log residuals below this are rounding, and so is their gradient
COLLINEAR = 1e-6  # relative distance of one log column from another, up to scale and shift


def active_params(
    problem: Problem, theta: Float[np.ndarray, "params"], shape: Shape
) -> Bool[np.ndarray, "params"]:
    """Parameters that matter at a minimum theta of the objective.

    Not the coefficients that the data push against zero, nor exponents that only switched-off
    terms use. A coefficient at zero without a push could as well be positive, and stays.
    """
    terms = count_terms(problem.structure)
    residual, slope = linearize(problem, theta)
    push = (problem.weights * pull(residual, shape))[:, None] * slope[:, :terms]
    pushed = -np.sum(push, axis=0) > PUSH * np.sum(np.abs(push), axis=0)
    exact = np.max(np.abs(residual[problem.weights > 0])) < EXACT
    active = np.zeros(theta.size, bool)
    active[:terms] = (theta[:terms] > 0) | ~pushed | exact
    for k in range(terms):
        for exponent in exponents_of(problem.structure, k):
            active[terms + exponent] |= theta[k] > 0
    return active


def degenerate(
    problem: Problem,
    theta: Float[np.ndarray, "params"],
    active: Bool[np.ndarray, "params"],
    weights: Float[np.ndarray, "replicates rows"],
) -> Bool[np.ndarray, "replicates"]:
    """Which weighted designs leave some active parameter undetermined, at theta."""
    slope = linearize(problem, theta)[1][:, active]
    count = slope.shape[1]
    products = (slope[:, :, None] * slope[:, None, :]).reshape(len(slope), -1)
    gram = (weights @ products).reshape(-1, count, count)
    size = np.sqrt(np.einsum("rii->ri", gram))
    largest = np.sqrt(np.max(np.einsum("nii->ni", products.reshape(-1, count, count)), axis=0))
    absent = np.any(size <= SINGULAR * largest, axis=1)
    unit = np.where(size > 0, size, 1.0)
    scaled = gram / unit[:, :, None] / unit[:, None]
    return absent | (np.linalg.eigvalsh(scaled)[:, 0] < SINGULAR**2)


def notes(
    form: Form,
    problem: Problem,
    theta: Float[np.ndarray, "params"],
    active: Bool[np.ndarray, "params"],
    columns: dict[str, np.ndarray],
    weights: Float[np.ndarray, "points"],
) -> tuple[str, ...]:
    """Sentences about what these runs cannot separate; empty if they separate everything.

    Args:
      form: the law.
      problem: the data in the units of the solver.
      theta: the fitted parameters in those units.
      active: from `active_params`.
      columns: the columns of the law as given.
      weights: of the runs; those of weight zero do not count.
    """
    kept = {name: column[weights > 0] for name, column in columns.items()}
    inseparable = _inseparable(form, problem, theta, active)
    constant = [n for n, x in kept.items() if np.ptp(np.log(x)) < COLLINEAR]
    if constant and not inseparable:  # what would be is at zero, but the design is what it is
        terms = [t for t in form.terms if not set(constant).isdisjoint(t.powers)]
        inseparable = [t.coefficient for t in terms]
        inseparable += [
            str(t.powers[n]).removeprefix("-") for t in terms for n in constant if n in t.powers
        ]
    out = []
    if inseparable:
        names = _list(list(dict.fromkeys(inseparable)))
        pairs = _collinear(kept)
        few = [n for n, x in kept.items() if len(np.unique(x)) == 2]
        if constant:
            shared = " and ".join(f"one {n} ({kept[n][0]:.6g})" for n in constant)
            out.append(f"all runs share {shared}: {names} cannot be separated")
        elif pairs:
            first, second = pairs[0]
            out.append(
                f"{second} is a fixed function of {first} in all runs: {names} cannot be separated"
            )
        elif few:
            out.append(f"the runs have only two values of {few[0]}: {names} cannot be separated")
        else:
            out.append(f"these runs cannot separate {names}")
    else:
        out.extend(
            f"{second} is a power of {first} in all runs: the terms of {first} and {second} "
            "can be exchanged without changing the fit"
            for first, second in _collinear(kept)
        )
    return tuple(out)


def bound_notes(
    form: Form, problem: Problem, theta: np.ndarray, active: np.ndarray
) -> tuple[str, ...]:
    """Sentences about parameters at the end of their range; empty if there are none."""
    out = []
    terms = count_terms(problem.structure)
    for p, name in enumerate(form.solved):
        if p < terms and theta[p] <= 0:
            lost = [
                form.word(form.exponents[j])
                for j in range(len(form.exponents))
                if j in exponents_of(problem.structure, p) and not active[terms + j]
            ]
            tail = f", so {_list(lost)} has no effect" if lost else ""
            out.append(f"{form.word(name)} is 0, the end of its range{tail}")
        elif p >= terms and active[p]:
            for side, end in (("low", problem.low[p]), ("high", problem.high[p])):
                if (theta[p] <= end) if side == "low" else (theta[p] >= end):
                    value = _published_end(form, problem, name, end)
                    out.append(f"{form.word(name)} is at the {side} end of its range, {value:.6g}")
                    break
    return tuple(out)


def _published_end(form: Form, problem: Problem, name: str, end: float) -> float:
    span = form.domain[name]
    if isinstance(span, Scale):
        return float(np.exp(end + problem.u_mean[form.columns.index(span.column)]))
    return float(np.exp(end)) if isinstance(span, Positive) else float(end)


def at_bound(
    problem: Problem, theta: Float[np.ndarray, "replicates params"]
) -> Bool[np.ndarray, "replicates"]:
    """Which fits have a parameter at the end of its range."""
    return np.any((theta <= problem.low) | (theta >= problem.high), axis=1)


def _inseparable(form: Form, problem: Problem, theta: np.ndarray, active: np.ndarray) -> list[str]:
    slope = np.sqrt(problem.weights)[:, None] * linearize(problem, theta)[1][:, active]
    size = np.linalg.norm(slope, axis=0)
    # An exponent whose column vanishes (all its inputs equal) stays a zero column.
    absent = size <= SINGULAR * np.max(size)
    scaled = np.where(absent, 0.0, slope / np.where(size > 0, size, 1.0))
    _, values, vectors = np.linalg.svd(scaled, full_matrices=True)
    null = vectors[values < SINGULAR * values[0]]
    involved = np.any(np.abs(null) > 1e-3, axis=0)
    names = np.array(form.solved)[active]
    return [form.word(str(n)) for n, i in zip(names, involved, strict=True) if i]


def _collinear(columns: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    logs = {name: np.log(x) - np.mean(np.log(x)) for name, x in columns.items()}
    logs = {name: x / np.linalg.norm(x) for name, x in logs.items() if np.ptp(x) >= COLLINEAR}
    names = list(logs)
    return [
        (a, b)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if np.linalg.norm(logs[b] - logs[a] * (logs[a] @ logs[b])) < COLLINEAR
    ]


def _list(names: list[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
