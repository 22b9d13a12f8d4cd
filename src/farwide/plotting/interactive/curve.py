"""A law of one column: the curve, its band, and the points."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from farwide.plotting.interactive import points, style
from farwide.plotting.interactive.best import has_replicates
from farwide.plotting.interactive.extrapolation import score_title
from farwide.plotting.interactive.rows import Rows
from theory import scaling

BEYOND = 3.0  # the curve goes on to so many times the largest x


def curve(
    fit: scaling.Fit,
    rows: Rows,
    held: Rows | None = None,
    *,
    noise: float = 0.0,
    noise_df: int | None = None,
    level: float = 0.95,
) -> go.Figure:
    """y against x on logarithmic axes, with the law's band and that of one run.

    Args:
        fit: a law of one column.
        rows: the fitted points, black.
        held: points that were held out, orange.
        noise: standard deviation of one run's log y; with `noise_df` degrees of freedom.
        noise_df: for Student t noise; None for normal noise.
        level: of the bands.
    """
    (name,) = fit.law.columns
    every = np.concatenate([s.columns[name] for s in (rows, held) if s is not None])
    x = np.geomspace(every.min() / 1.3, every.max() * BEYOND, 120)
    y = fit.predict({name: x})
    drawn = style.figure(score_title(rows, held), height=470)
    shown = [*rows.observed, *y, *(held.observed if held is not None else [])]
    if has_replicates(fit):
        one = fit.interval(
            {name: x}, level=level, noise=noise, noise_df=noise_df if noise else None
        )
        law = fit.interval({name: x}, level=level)
        floor = min(shown) / 2
        for ends, colour, label in (
            (one, style.GREY_BAND, f"{level:.0%} interval of one run"),
            (law, style.BAND, f"{level:.0%} band of the law"),
        ):
            low = np.maximum(ends.low, floor)
            drawn.add_traces(style.band(x, low, ends.high, color=colour, name=label))
            shown += [*low, *np.minimum(ends.high, 2 * max(rows.observed))]
    drawn.add_scatter(
        x=style.plain(x), y=style.plain(y), mode="lines", name="law",
        line={"color": style.ACCENT, "width": 2},
        hovertemplate=f"{name} = %{{x:.4g}}<br>{rows.target} = %{{y:.4g}}<extra>law</extra>",
    )  # fmt: skip
    drawn.add_trace(points.black(rows, rows.columns[name], rows.observed))
    if held is not None:
        drawn.add_trace(points.orange(held, held.columns[name], held.observed))
    drawn.add_vrect(
        x0=float(rows.columns[name].max()), x1=float(x[-1]), fillcolor=style.GREY_BAND,
        opacity=0.35, line_width=0, layer="below",
    )  # fmt: skip
    drawn.update_xaxes(
        style.axis(rows.axis_title(name), log=True, range=style.decades([x[0], x[-1]])),
        **style.log_ticks(x),
    )
    drawn.update_yaxes(
        style.axis(rows.target_title, log=True, range=style.decades(shown)),
        **style.loss_ticks(shown),
    )
    return drawn
