"""Which law to believe: the one that predicts runs larger than those it was fitted to.

A fit inside the range of the data says little about where it leads; so each law is fitted to the
smaller runs and scored on the larger ones by

    RMSLE = sqrt(mean (log y - log f)^2),

beside the corrected information criterion of Gaussian log residuals on all the data,

    AICc = n log(S / n) + 2 k + 2 k (k + 1) / (n - k - 1),  k = parameters + 1, S = sum of squares.

Reference: Alabdulmohsin et al. (2022), section 4; Hurvich and Tsai (1989).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from theory.scaling.api import fit
from theory.scaling.columns import read_table
from theory.scaling.form import Form
from theory.scaling.laws import resolve
from theory.scaling.result import Status


class Comparison(NamedTuple):
    """One law among others."""

    form: str
    parameters: int
    aicc: float  # of a fit to all runs; infinite with too few
    rmsle_fit: float  # of the smaller runs, which were fitted
    rmsle_held_out: float  # of the larger runs, which were not
    reach: float  # largest held-out size over the largest fitted one
    status: Status  # of the fit to the smaller runs
    notes: tuple[str, ...]


def compare(
    forms: Sequence[str | Form],
    data: Mapping[str, Any],
    *,
    holdout: float | Bool[np.ndarray, "points"] = 0.25,
    by: str | None = None,
    loss: str = "huber",
    delta: float = 1e-3,
    tau: float = 0.25,
) -> list[Comparison]:
    """Laws in the order in which they predict the held-out runs, best first.

    Args:
      forms: names or declarations, all with one target.
      data: columns as `fit` takes them.
      holdout: the share of runs with the largest size to hold out, or which rows to hold out.
      by: the column that says what is large; default C = 6 N D where the data have N and D, else
        the first column of the law.
      loss, delta, tau: of the fits, as `fit` takes them.

    Returns:
      One `Comparison` a law. A law that cannot be fitted (too few points) has status "failed", no
      scores, and says why; it comes last.

    Raises:
      ValueError: no law, laws of different targets, a share outside 0 to 1, or too few rows on one
        side.
    """
    laws = [resolve(form) for form in forms]
    if not laws:
        raise ValueError("forms is empty; give at least one law")
    targets = {law.target for law in laws}
    if len(targets) > 1:
        raise ValueError(f"the laws predict different columns: {sorted(targets)}")
    table = read_table(laws[0], _for(laws[0], data))
    size = _size(laws[0], table.columns, data, by)
    held = _held(holdout, size)
    rows = [
        _score(law, data, held, size, {"loss": loss, "delta": delta, "tau": tau}) for law in laws
    ]
    return sorted(rows, key=lambda row: (not np.isfinite(row.rmsle_held_out), row.rmsle_held_out))


def split(size: np.ndarray, holdout: float) -> Bool[np.ndarray, "points"]:
    """Which rows are held out: the largest `holdout` of them, rows of one size together."""
    count = max(1, round(holdout * len(size)))
    least = np.sort(size)[-count]
    return size >= least * (1 - 1e-12)


def _held(holdout: float | np.ndarray, size: np.ndarray) -> Bool[np.ndarray, "points"]:
    if np.ndim(holdout) == 0:
        share = float(np.asarray(holdout))
        if not 0.0 < share < 1.0:
            raise ValueError(f"holdout = {share}; accepted are shares between 0 and 1, or rows")
        held = split(size, share)
    else:
        held = np.asarray(holdout)
        if held.shape != size.shape or held.dtype != bool:
            raise ValueError(f"holdout has shape {held.shape} and dtype {held.dtype}; accepted is "
                             f"a boolean for each of the {len(size)} rows")  # fmt: skip
    if not 0 < np.sum(held) < len(held):
        raise ValueError(
            f"{int(np.sum(held))} of {len(held)} rows are held out; both sides need one"
        )
    return held


def _size(
    law: Form, columns: Mapping[str, np.ndarray], data: Mapping[str, Any], by: str | None
) -> np.ndarray:
    if by is not None:
        if by not in data:
            raise ValueError(f"by = {by!r} is no column; the data have {list(data)}")
        return np.asarray(data[by], dtype=np.float64)
    if "C" in columns:
        return columns["C"]
    if {"N", "D"} <= set(columns):
        return 6.0 * columns["N"] * columns["D"]
    return columns[law.columns[0]]


def _for(law: Form, data: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a law takes: what others of the comparison read is left to them."""
    wanted = {*law.columns, law.target, "run", "weight"}
    if {"C", "M"} & set(law.columns) - set(data):
        wanted |= {"N", "D"}
    return {name: data[name] for name in data if name in wanted}


def _score(
    law: Form,
    data: Mapping[str, Any],
    held: np.ndarray,
    size: np.ndarray,
    loss: Mapping[str, Any],
) -> Comparison:
    reach = float(np.max(size[held]) / np.max(size[~held]))
    own = {name: np.asarray(column) for name, column in _for(law, data).items()}
    try:
        small = fit(law, {n: c[~held] for n, c in own.items()}, **loss)
        whole = fit(law, own, **loss)
    except ValueError as error:
        nan = float("nan")
        return Comparison(
            law.name, len(law.params), nan, nan, nan, reach, Status.FAILED, (str(error),)
        )
    inputs = {n: c[held] for n, c in own.items() if n not in ("run", "weight", law.target)}
    miss = np.log(own[law.target][held].astype(float)) - np.log(small.predict(inputs))
    return Comparison(
        law.name,
        len(law.params),
        aicc(whole.residuals, len(law.params)),
        float(np.sqrt(np.mean(small.residuals**2))),
        float(np.sqrt(np.mean(miss**2))),
        reach,
        small.status,
        small.notes,
    )


def aicc(residuals: np.ndarray, parameters: int) -> float:
    """The corrected Akaike criterion of Gaussian residuals of unknown variance."""
    n, k = len(residuals), parameters + 1
    if n - k - 1 <= 0:
        return float("inf")
    squares = max(float(np.sum(residuals**2)), 1e-300)
    return float(n * np.log(squares / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1))
