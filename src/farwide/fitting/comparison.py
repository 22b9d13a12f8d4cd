"""Several laws on the same results: which one predicts what it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from farwide.fitting.fits import RunsFit, known_form, with_derived
from farwide.fitting.hold_out import joined
from theory import scaling

SHARE = 0.25  # of the rows, held out where no rule says which


def with_comparison(fitted: RunsFit, forms: Sequence[str]) -> RunsFit:
    """The fit with `comparison` filled in: its own law and `forms`, scored by extrapolation.

    Each is fitted to the rows that the fit was fitted to and scored on those that were held out;
    where none were, the quarter of the rows of largest compute is held out for this alone.

    Raises ValueError: a form is unknown, predicts another column, or reads one that is not there.
    """
    own = fitted.fit
    names = list(dict.fromkeys([own.form, *forms]))
    laws = [known_form(name) for name in names]
    for law in laws:
        if law.target != own.law.target:
            raise ValueError(
                f"form {law.name} predicts {law.target}, and {own.form} {own.law.target}"
            )
    table = fitted.table if fitted.held is None else joined(fitted.table, fitted.held)
    for law in laws:
        table = with_derived(table, law)
        if missing := [name for name in law.columns if name not in table.columns]:
            raise ValueError(f"form {law.name} reads {missing[0]}, which the results do not have")
    held = np.arange(len(table)) >= len(fitted.table)
    wanted = {name for law in laws for name in (*law.columns, law.target)} | {"run", "weight"}
    wanted |= {"N", "D"} & set(table.columns)
    data = {name: column for name, column in table.columns.items() if name in wanted}
    rows = scaling.compare(
        laws,
        data,
        holdout=held if fitted.held is not None else SHARE,
        loss=own.loss,
        delta=1e-3 if own.delta is None else own.delta,
        tau=0.25 if own.tau is None else own.tau,
    )
    return replace(fitted, comparison=tuple(rows))


def comparison_cells(fitted: RunsFit) -> tuple[str, list[tuple[str, ...]]]:
    """A sentence on what was held out, and a row a law: form, parameters, AICc, RMSLEs, status."""
    rows = []
    for row in fitted.comparison:
        scores = [
            "-" if not np.isfinite(value) else text.format(value)
            for value, text in (
                (row.rmsle_held_out, "{:.3%}"),
                (row.rmsle_fit, "{:.3%}"),
                (row.aicc, "{:.1f}"),
            )
        ]
        note = f": {row.notes[0]}" if row.notes else ""
        rows.append((row.form, str(row.parameters), *scores, f"{row.status}{note}"))
    what = fitted.hold_out or f"the {SHARE:.0%} of the rows of largest size"
    reach = max((row.reach for row in fitted.comparison), default=1.0)
    title = (
        f"Laws by their error on what was held out: {what}, up to {reach:.3g} times the largest "
        "size fitted"
    )
    return title, rows


HEADER = ("law", "parameters", "RMSLE held out", "RMSLE fitted", "AICc, all points", "status")
