"""A fit again from what was written down of it, without fitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from theory.scaling import columns, losses, problem
from theory.scaling.form import Form
from theory.scaling.intervals import Solution
from theory.scaling.laws import resolve
from theory.scaling.result import Fit, Status


def restore(
    form: str | Form,
    data: Mapping[str, Any],
    theta: Sequence[float],
    *,
    loss: str,
    status: str,
    delta: float | None = None,
    tau: float | None = None,
    notes: Sequence[str] = (),
    bootstrap: Mapping[str, Any] | None = None,
    bootstrap_status: Mapping[str, int] | None = None,
    bootstrap_redrawn: int = 0,
    seed: int = 0,
) -> Fit:
    """The `Fit` whose solver ended at `theta` on these data.

    Parameters, residuals and the objective are computed from theta; nothing is minimized.

    Args:
      form: as given to `fit`.
      data: the columns of the fit, as `Fit.data` holds them.
      theta: `Fit.solution.theta`.
      loss, delta, tau, status, notes, bootstrap, bootstrap_status, bootstrap_redrawn, seed: as
        `Fit` holds them.

    Raises:
      ValueError: as `fit`; or theta or the bootstrap has another number of parameters.
    """
    law = resolve(form)
    chosen = losses.resolve(loss, 1e-3 if delta is None else delta, 0.25 if tau is None else tau)
    table = columns.read_table(law, data)
    at = np.asarray(theta, dtype=np.float64)
    if at.shape != (len(law.solved),) or not np.all(np.isfinite(at)):
        raise ValueError(
            f"theta = {list(theta)}; form {law.name!r} has {len(law.solved)} finite numbers there"
        )
    if bootstrap is not None and set(bootstrap) != set(law.params):
        raise ValueError(f"bootstrap has {sorted(bootstrap)}; {law.name!r} has {list(law.params)}")
    groups = None
    if table.run is not None:
        groups = np.unique(table.run, return_inverse=True)[1]
    sorted_by = np.zeros(len(table.target), int) if groups is None else groups
    order = problem.canonical_order(table.columns, table.target, table.weight, sorted_by)
    ordered = {name: column[order] for name, column in table.columns.items()}
    task = problem.build(law, ordered, table.target[order], table.weight[order])
    values = problem.to_user_units(law, task, at[None])[0]
    params = dict(zip(law.params, values.tolist(), strict=True))
    residuals = np.log(table.target) - np.log(law.predict(params, table.columns))
    return Fit(
        form=law.name,
        law=law,
        params=params,
        objective=losses.objective(residuals, table.weight, chosen),
        status=Status(status),
        notes=tuple(notes),
        loss=loss,
        delta=float(chosen.delta) if loss in ("huber", "asymmetric") else None,
        tau=None if tau is None else float(tau),
        solution=Solution(task, at, chosen.shape, problem.clusters(groups, order)),
        n_points=int(np.sum(table.weight > 0)),
        data=table.as_given(law),
        residuals=residuals,
        bootstrap=None
        if bootstrap is None
        else {n: np.asarray(bootstrap[n], dtype=np.float64) for n in law.params},
        bootstrap_status=None if bootstrap_status is None else dict(bootstrap_status),
        bootstrap_redrawn=int(bootstrap_redrawn),
        seed=int(seed),
    )
