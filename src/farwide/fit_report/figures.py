"""Which figures a fit has, and why one is missing. Imports plotly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import plotly.io

from farwide.fit_report import facts
from farwide.fitting import SavedFit, log_errors
from farwide.fitting.best_split import can_split
from farwide.plotting import interactive
from farwide.plotting.interactive import Rows
from farwide.tables import Table
from theory import scaling


@dataclass(frozen=True)
class Panel:
    """One figure of the page, or the sentence that stands in its place."""

    name: str
    caption: str
    figure: go.Figure | None
    missing: str = ""

    @property
    def title(self) -> str:
        """The figure's title, which the page prints as a heading."""
        assert self.figure is not None
        return str(self.figure.layout.title.text)  # pyright: ignore

    @property
    def json(self) -> str:
        """The figure without its title, as JSON that can stand inside a script element."""
        assert self.figure is not None
        bare = go.Figure(self.figure)
        bare.layout.title = None  # pyright: ignore
        text = plotly.io.to_json(bare, engine="json", validate=False)
        assert text is not None
        return text.replace("<", "\\u003c")

    @property
    def height(self) -> int:
        """Pixels on a wide screen."""
        assert self.figure is not None
        return int(self.figure.layout.height)  # pyright: ignore


def rows_of(fit: scaling.Fit, table: Table, residuals: np.ndarray, unit: str) -> Rows:
    """The rows of a table as the figures take them."""
    law, known = fit.law, table.columns
    named = law.columns
    if {"N", "D"} <= set(known) and can_split(law):
        named = tuple(dict.fromkeys(("N", "D", *law.columns)))
    columns = {name: known[name] for name in named}
    return Rows(
        facts.labels(table), columns, known[law.target], residuals, law.columns, law.target, unit
    )


def panels(saved: SavedFit) -> list[Panel]:
    """The figures in the order of the page."""
    found, level = saved.runs_fit, saved.level
    fit, noise = found.fit, found.noise
    counted = (found.parameters or "").replace("_", "-")
    unit = "nats per byte" if found.parameters else "as logged"
    rows = rows_of(fit, found.table, fit.residuals, unit)
    held = None
    if found.held is not None:
        held = rows_of(fit, found.held, log_errors(fit, found.held), unit)
    ends = f"{level:.0%}"
    one = {"noise": noise.sd, "noise_df": noise.df, "level": level}
    out: list[Panel] = []

    def add(name: str, caption: str, drawn: go.Figure | str) -> None:
        if isinstance(drawn, str):
            out.append(Panel(name, "", None, drawn))
        else:
            out.append(Panel(name, caption, drawn))

    colours = "Colour is the size N; point at a dot to see its run."
    held_text = " Orange diamonds were held out of the fit." if held is not None else ""
    if rows.sized and can_split(fit.law):
        add(
            "loss_against_compute",
            f"{colours} The dashed line is the lowest {rows.target} that the law allows at each "
            f"compute, C = 6ND, with its {ends} bootstrap band; it goes on to ten times the "
            f"largest compute.{held_text}",
            interactive.loss_against_compute(fit, rows, held, counted=counted, level=level),
        )
        bowls = interactive.parabolas(rows)
        stars = (
            ""
            if bowls is None
            else (" Stars are the lowest points of IsoFLOP parabolas, with 95% bars.")
        )
        add(
            "isoflop",
            _bowl_caption(bowls),
            interactive.isoflop(fit, rows, counted=counted),
        )
        add(
            "best_size",
            f"The size N that minimises the law at C = 6ND, with its {ends} bootstrap band, and "
            f"the sizes that were trained.{stars}{held_text}",
            interactive.best_size(fit, rows, held, counted=counted, level=level),
        )
        add(
            "tokens_per_parameter",
            "The best D/N at each compute. The dotted line at 20 is Chinchilla's: a reference, "
            "not a target. It depends on what N counts and on what a token is.",
            interactive.tokens_per_parameter(fit, rows, held, level=level),
        )
    if len(fit.law.columns) == 1:
        add(
            "curve",
            f"The fitted law, the {ends} bootstrap band of the law itself, and the wider one in "
            "which one more run falls (the noise of a run on top). Beyond the fitted points the "
            f"ground is shaded.{held_text}",
            interactive.curve(fit, rows, held, **one),
        )
    else:
        add(
            "extrapolation",
            "Left: a run on the line is predicted exactly. Right: by how many percent each run "
            f"misses; the bars are the {ends} interval for one run at its point (the law's "
            f"bootstrap and the noise of a run).{held_text} RMSLE: root mean square of log "
            "observed − log predicted.",
            interactive.extrapolation(fit, rows, held, **one),
        )
    add(
        "residuals",
        "log observed − log predicted, in percent. A law that fits leaves no pattern. A drift is "
        "named above when its slope differs from 0 at p < 0.05, after Bonferroni's correction for "
        f"the number of panels.{held_text}",
        interactive.residuals(rows, held, counted=counted),
    )
    add(
        "bootstrap",
        "Each dot is the law fitted to a resample; the cross and the lines are the fit to all "
        "points. A narrow diagonal says that two parameters can trade places without a worse fit: "
        "their intervals are wide, the predictions that they share need not be. At most 400 dots "
        "a panel; the histograms hold all. The axes hold the central 98%.",
        interactive.corner(fit),
    )
    return out


def _bowl_caption(bowls: scaling.IsoFLOP | None) -> str:
    if bowls is None:
        return (
            "Each curve is the fitted law along N at one budget C = 6ND, the star its minimum; "
            "dots are runs within 25% of that budget. The runs do not lie at common budgets on "
            "both sides of a minimum, so no parabola is fitted."
        )
    left = f" Left out: {'; '.join(bowls.left_out)}." if bowls.left_out else ""
    return (
        "Dots are the runs of a budget, dotted the parabola of log loss in log N through them, the "
        "star its lowest point (approach 2); the line is the fitted law at that budget. Approach 2 "
        f"is biased: {bowls.caveat.split(';')[0]}.{left}"
    )
