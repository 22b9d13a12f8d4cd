"""From runs to a fitted law, with everything that was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from farwide.fitting.hold_out import HoldOut, joined, split
from farwide.fitting.noise import NoiseEstimate, noise_of
from farwide.runlog import Run
from farwide.tables import LeftOut, Table, runs_table
from farwide.tables.runs import Parameters
from theory import scaling
from theory.scaling.columns import derive


class Certainty(NamedTuple):
    """What the likelihood says of the parameters, beside the bootstrap."""

    profile: Mapping[str, tuple[float, float]]  # intervals; 0 or infinite where there is no end
    condition: float  # of the design; 1 is best
    sentences: tuple[str, ...]  # what the design cannot tell, or hardly


@dataclass(frozen=True)
class RunsFit:
    """A law fitted to runs, one row of `table` a point."""

    fit: scaling.Fit
    table: Table
    noise: NoiseEstimate
    left_out: tuple[LeftOut, ...]  # runs, rows and files that were not used, and why
    held_out: tuple[str, ...] = ()  # runs kept out on purpose, to be predicted
    parameters: Parameters | None = None  # what N counts; None where the table decides
    held: Table | None = None  # rows that were measured and not fitted, to score the law on
    hold_out: str = ""  # which those are, in words
    certainty: Certainty | None = None
    comparison: tuple[scaling.Comparison, ...] = ()  # laws, best at the held-out rows first


def fit_runs(
    runs: Iterable[Run],
    *,
    parameters: Parameters = "non_embedding",
    bootstrap: int = 1000,
    seed: int = 0,
    form: str | scaling.Form = "chinchilla",
    loss: str = "huber",
    delta: float = 1e-3,
    tau: float = 0.25,
    unread: Sequence[LeftOut] = (),
    hold_out: HoldOut | None = None,
) -> RunsFit:
    """Fit a law to the finished runs of roles "fit" and "seed"; held-out runs are never used.

    Arguments: `runs`, from `runlog.read_runs`, in any order; `parameters`, what N counts:
    "non_embedding" or "total"; `bootstrap`, the number of bootstrap replicates, which intervals
    need; `seed` of the bootstrap; `form`, `loss`, `delta`, `tau` as `theory.scaling.fit` takes
    them; `unread`, what could not be read, to be listed with what is left out; `hold_out`, runs to
    keep out beside those of the role "held_out".
    The loss of a run is its validation loss at its last step.

    Raises ValueError when too few runs are finished, with the reasons.
    """
    runs = list(runs)
    held_out = tuple(run.run for run in runs if run.role == "held_out")
    table = runs_table(runs, parameters=parameters)
    names = {str(run.path): run.run for run in runs}
    left_out = tuple(unread) + tuple(
        LeftOut(names[removal.where], removal.reason)
        for removal in table.removed
        if names[removal.where] not in held_out
    )
    fitted = fit_table(
        table, form=form, bootstrap=bootstrap, seed=seed, loss=loss, delta=delta, tau=tau,
        left_out=left_out, hold_out=hold_out,
    )  # fmt: skip
    ended = runs_table(runs, parameters=parameters, roles=("held_out",))
    held, words = fitted.held, fitted.hold_out
    if len(ended):
        held = ended if held is None else joined(held, ended)
        held = with_derived(held, fitted.fit.law)
        words = "; ".join([*([words] if words else []), "runs of the role held_out"])
    return replace(fitted, held_out=held_out, parameters=parameters, held=held, hold_out=words)


def fit_table(
    table: Table,
    *,
    form: str | scaling.Form = "chinchilla",
    bootstrap: int = 1000,
    seed: int = 0,
    loss: str = "huber",
    delta: float = 1e-3,
    tau: float = 0.25,
    left_out: Sequence[LeftOut] | None = None,
    hold_out: HoldOut | None = None,
) -> RunsFit:
    """Fit a law to a table; `left_out` defaults to what the table had removed.

    Rows that `hold_out` names are not fitted and are returned as `held`.
    Raises ValueError when the table has too few rows for the law, with what was left out, and when
    `hold_out` leaves nothing on one side.
    """
    law = form if isinstance(form, scaling.Form) else known_form(form)
    if left_out is None:
        left_out = [LeftOut(removal.where, removal.reason) for removal in table.removed]
    table = with_derived(table, law)
    held, words = None, ""
    if hold_out is not None and len(table):
        table, held, words = split(table, hold_out, law)
    least = len(law.params) + 1
    if len(table) < least:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out[:5])
        more = f"; and {len(left_out) - 5} more" if left_out[5:] else ""
        raise ValueError(
            f"{len(table)} usable points{' that are not held out' if held else ''}; a fit of "
            f"{law.name} needs at least {least}"
            + (f" (left out: {reasons}{more})" if left_out else "")
        )
    inputs = (*law.columns, law.target, "run", "weight")
    data: dict[str, np.ndarray] = {n: table.columns[n] for n in inputs if n in table.columns}
    fit = scaling.fit(law, data, loss=loss, delta=delta, tau=tau, bootstrap=bootstrap, seed=seed)
    noise = noise_of(fit.residuals, data, law.columns, law.target, len(law.params))
    return RunsFit(fit, table, noise, tuple(left_out), held=held, hold_out=words)


def with_derived(table: Table, law: scaling.Form) -> Table:
    """The table with C = 6 N D and M = D / N where a law reads them and the table has N and D."""
    found = derive(law, table.columns)
    new = {name: column for name, column in found.items() if name not in table.columns}
    return replace(table, columns={**table.columns, **new}) if new else table


def certainty(fit: scaling.Fit, level: float = 0.95) -> Certainty:
    """Profile-likelihood intervals of the parameters, and what the design cannot tell."""
    found = fit.identifiability
    return Certainty(fit.profile(level=level), float(found.condition), found.sentences)


def known_form(name: str) -> scaling.Form:
    """The form of a name; ValueError lists those that there are."""
    if name not in scaling.forms:
        raise ValueError(f"form is {name!r}; accepted are {', '.join(scaling.forms)}")
    return scaling.forms[name]
