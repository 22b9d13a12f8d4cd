"""`fit`: from columns to a fitted law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from theory.scaling import bootstrap as resampling
from theory.scaling import columns, descent, identify, losses, problem, solve
from theory.scaling.form import Form
from theory.scaling.intervals import Solution
from theory.scaling.laws import resolve
from theory.scaling.precision import float64_on_host
from theory.scaling.result import Fit, Status

EFFORT = solve.Effort(starts=64, hops=64, patience=3)  # of the fit itself
EFFORT_GENERAL = solve.Effort(starts=24, hops=24, patience=2)  # of a law that is no power sum
HOP_SEED = 20221  # the search is deterministic: the user's seed moves the replicates alone


def fit(
    form: str | Form,
    data: Mapping[str, Any],
    *,
    loss: str = "huber",
    delta: float = 1e-3,
    tau: float = 0.25,
    bootstrap: int = 0,
    seed: int = 0,
) -> Fit:
    """Fit a scaling law by minimizing a robust loss of log residuals.

        minimize over theta:  sum_i weight_i rho(log y_i - log f(x_i; theta))

    with the coefficients of f at or above zero and its exponents in the range of the form. The
    global minimum is sought from the best nodes of a grid over the exponents, each polished by
    Newton's method with the exact Hessian in float64 (see `screen` and `newton`).

    Args:
      form: a name in `scaling.forms` ("chinchilla", "bnsl", ...) or a `Form`.
      data: column name -> values, (points,): the columns of the form and its target (chinchilla: N,
        D, loss; m1 to m4, bnsl: x, y), positive, in any unit; optionally "run", labels of what the
        bootstrap resamples together, and "weight", nonnegative.
      loss: "huber" (r^2/2 up to delta, then delta (|r| - delta/2)), "squared" (r^2/2), "l1" (|r|)
        or "asymmetric" (huber times 2 tau above the law, 2 (1 - tau) below), of log residuals,
        summed.
      delta: of the Huber loss, in log y; "squared" and "l1" do not read it.
      tau: of the asymmetric loss, between 0 and 1: small to let runs lie above the law.
      bootstrap: replicates to draw and fit; 0 for none.
      seed: of the bootstrap.

    Returns:
      A `Fit`. Its status says how the fit ended; a status other than "converged" comes with notes.

    Raises:
      ValueError: the form, loss or a column is unknown; a column is missing, of another length, or
        holds a value that is not finite and positive; there are fewer points than parameters + 1;
        delta or bootstrap is out of range; a bootstrap over fewer than two runs.

    Reference: Hoffmann et al. (2022), section 3.3; Besiroglu et al. (2024) on its optimum.
    """
    law = resolve(form)
    chosen = losses.resolve(loss, delta, tau)
    table = columns.read_table(law, data)
    if isinstance(bootstrap, bool) or not isinstance(bootstrap, int | np.integer) or bootstrap < 0:
        raise ValueError(f"bootstrap = {bootstrap!r}; accepted are whole numbers at or above 0")
    groups, run_groups = _groups(table, bool(bootstrap))
    order = problem.canonical_order(table.columns, table.target, table.weight, groups)
    ordered = {name: column[order] for name, column in table.columns.items()}
    weight = table.weight[order]

    with float64_on_host():
        task = problem.build(law, ordered, table.target[order], weight)
        starts = solve.prepare(law, task, chosen)
        warm = _own_starts(law, task, task.weights[None], _effort(law).starts)
        hops = np.random.default_rng(HOP_SEED)
        best = solve.search(task, chosen, starts, task.weights[None], _effort(law), hops, warm=warm)
        theta = best.theta[0]
        active = identify.active_params(task, theta, chosen.shape)
        notes = identify.notes(law, task, theta, active, ordered, weight)
        bound = bool(identify.at_bound(task, best.theta)[0])
        status = _status(bool(best.converged[0]), bool(notes), bound)
        replicates, counts, redrawn = None, None, 0
        if bootstrap:
            grouped = np.arange(len(weight)) if run_groups is None else run_groups[order]
            replicates, counts, redrawn = _bootstrap(
                law,
                task,
                chosen,
                starts,
                theta,
                active,
                bool(notes),
                weight,
                grouped,
                int(bootstrap),
                seed,
            )

    params = dict(
        zip(law.params, problem.to_user_units(law, task, best.theta)[0].tolist(), strict=True)
    )
    residuals = np.log(table.target) - np.log(law.predict(params, table.columns))
    if status is Status.FAILED:
        notes += (f"the iteration did not settle within {descent.MAX_STEPS} steps",)
    return Fit(
        form=law.name,
        law=law,
        params=params,
        objective=losses.objective(residuals, table.weight, chosen),
        status=status,
        notes=notes + identify.bound_notes(law, task, theta, active),
        loss=loss,
        delta=float(delta) if loss in ("huber", "asymmetric") else None,
        tau=float(tau) if loss == "asymmetric" else None,
        solution=Solution(task, theta, chosen.shape, problem.clusters(run_groups, order)),
        n_points=int(np.sum(table.weight > 0)),
        data=table.as_given(law),
        residuals=residuals,
        bootstrap=replicates,
        bootstrap_status=counts,
        bootstrap_redrawn=redrawn,
        seed=seed,
    )


def _effort(law: Form) -> solve.Effort:
    return EFFORT if isinstance(law.structure, tuple) else EFFORT_GENERAL


def _own_starts(
    law: Form, task: problem.Problem, weights: Float[np.ndarray, "replicates rows"], count: int
) -> Float[np.ndarray, "replicates starts params"] | None:
    """Starts that the law itself proposes, for every replicate; None if it proposes none."""
    if law.starts is None:
        return None
    out = []
    for w in weights:
        seen = w > 0
        columns = {name: u[seen] for name, u in zip(law.columns, task.u, strict=True)}
        found = law.starts(columns, task.v[seen], w[seen], count)
        out.append(np.stack([found[name] for name in law.solved], axis=1))
    return np.clip(np.stack(out), task.low, task.high)


def replicate_effort(points: int) -> solve.Effort:
    """How hard to search for each bootstrap replicate.

    Kinks, and with them local minima, matter more the fewer the points; and the fewer the points
    the cheaper a start.
    """
    return solve.Effort(starts=3, hops=int(np.clip(480 // points, 3, 20)), patience=1)


def _status(converged: bool, inseparable: bool, bound: bool) -> Status:
    if inseparable:  # first: along a continuum of minima an iteration need not settle
        return Status.UNIDENTIFIABLE
    if not converged:
        return Status.FAILED
    return Status.AT_BOUND if bound else Status.CONVERGED


def _groups(
    table: columns.Table, resampled: bool
) -> tuple[Int[np.ndarray, "points"], Int[np.ndarray, "points"] | None]:
    """Run numbers of the rows for sorting (zeros without a run column), and for resampling."""
    if table.run is None:
        return np.zeros(len(table.target), int), None
    labels, groups = np.unique(table.run, return_inverse=True)
    if resampled and len(labels) < 2:
        raise ValueError(
            f"column 'run' holds one label, {labels.tolist()[0]!r}: the bootstrap resamples runs "
            "and needs at least two; without the column it resamples rows"
        )
    return groups, groups


def _bootstrap(
    law: Form,
    task: problem.Problem,
    loss: losses.Loss,
    starts: solve.Starts,
    theta: Float[np.ndarray, "params"],
    active: Bool[np.ndarray, "params"],
    inseparable: bool,
    weight: Float[np.ndarray, "points"],
    groups: Int[np.ndarray, "points"],
    replicates: int,
    seed: int,
) -> tuple[dict[str, np.ndarray], dict[str, int], int]:
    """Parameters of the replicates that did not fail, how many ended how, and draws replaced."""

    def padded(weights: np.ndarray) -> np.ndarray:
        return np.pad(weights, ((0, 0), (0, task.v.size - weights.shape[1])))

    def degenerate(weights: np.ndarray) -> np.ndarray:
        if inseparable:  # no draw can be better than all the data
            return np.zeros(len(weights), bool)
        return identify.degenerate(task, theta, active, padded(weights))

    rng = np.random.default_rng([seed, 0])
    drawn = resampling.draw(rng, replicates, weight, groups, degenerate)
    weights = padded(drawn.weights)
    hops = np.random.default_rng(HOP_SEED)
    effort = replicate_effort(len(weight))
    warm = np.broadcast_to(theta, (replicates, 1, theta.size))
    own = _own_starts(law, task, weights, effort.starts)
    warm = warm if own is None else np.concatenate([warm, own], axis=1)
    ends = solve.search(task, loss, starts, weights, effort, hops, warm=warm)
    bound = identify.at_bound(task, ends.theta)
    statuses = [
        _status(bool(c), bool(d) or inseparable, bool(b))
        for c, d, b in zip(ends.converged, drawn.degenerate, bound, strict=True)
    ]
    kept = np.array([s is not Status.FAILED for s in statuses])
    params = problem.to_user_units(law, task, ends.theta[kept])
    counts = {str(status): statuses.count(status) for status in Status}
    return dict(zip(law.params, params.T, strict=True)), counts, drawn.redrawn
