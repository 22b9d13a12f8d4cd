"""Loss against compute, with the lowest loss that the law allows at each."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from farwide.fitting.best_split import BestSplit
from farwide.plotting.interactive import points, style
from farwide.plotting.interactive.best import best_of
from farwide.plotting.interactive.rows import Rows
from theory import scaling

BEYOND = 10.0  # the frontier goes on to so many times the largest compute


def loss_against_compute(
    fit: scaling.Fit,
    rows: Rows,
    held: Rows | None = None,
    *,
    counted: str = "",
    level: float = 0.95,
) -> go.Figure:
    """Every run's loss at its compute C = 6 N D, coloured by N, and the dashed frontier.

    Args:
        fit: the law, with columns N and D.
        rows: the fitted runs.
        held: runs that were held out.
        counted: which parameters N counts, such as "non-embedding".
        level: of the frontier's band.

    Reference: Hoffmann et al. (2022), figure 2 and equation 4.
    """
    every = np.concatenate([rows.C, held.C]) if held is not None else rows.C
    C = np.geomspace(every.min() / 2, every.max() * BEYOND, 60)
    best = best_of(fit, C, level=level)
    drawn = style.figure(_title(fit, rows, best), height=470, narrow_height=500)
    losses = [*rows.observed, *(held.observed if held is not None else [])]
    if not isinstance(best, str):
        losses += [float(best.value[-1])]
        label = "lowest loss of the law"
        if best.value_band is not None:
            top = np.minimum(best.value_band[1], 3 * max(losses))
            label += f", {level:.0%} band"
            drawn.add_traces(
                style.band(
                    C,
                    best.value_band[0],
                    top,
                    color=style.GREY_BAND,
                    name=label,
                    legendgroup="best",
                )
            )
            drawn.data[-1].showlegend = False
        drawn.add_scatter(
            x=style.plain(C),
            y=style.plain(best.value),
            mode="lines",
            name=label,
            legendgroup="best",
            line={"color": style.INK, "dash": "dash", "width": 1.6},
            text=[
                f"C = {style.power(c)} FLOPs<br>N* = {style.si(n, 3)}, D* = {style.si(d, 3)}"
                f"<br>{rows.target} = {value:.4g}"
                for c, n, d, value in zip(C, best.N, best.D, best.value, strict=True)
            ],
            hovertemplate="%{text}<extra>law</extra>",
        )
    drawn.add_trace(points.sized(rows, rows.C, rows.observed))
    if held is not None:
        drawn.add_trace(points.orange(held, held.C, held.observed, name="held out"))
    points.size_scale(drawn, rows, counted)
    drawn.update_xaxes(
        style.axis(style.COMPUTE, log=True, range=style.decades(C)),
        **style.log_ticks(C, power=True),
    )
    drawn.update_yaxes(
        style.axis(rows.target_title, log=True, range=style.decades(losses)),
        **style.loss_ticks(losses),
    )
    return drawn


def _title(fit: scaling.Fit, rows: Rows, best: BestSplit | str) -> str:
    if isinstance(best, str):
        return f"{rows.target.capitalize()} against training compute"
    last = float(rows.C.max())
    ends = best_of(fit, np.array([last / 10, last]))
    assert not isinstance(ends, str)
    gain = 1 - float(ends.value[1] / ends.value[0])
    return (
        f"Ten times the compute, best split, lowers the {rows.target} by {style.percent(gain)} "
        f"(from {style.power(last / 10)} to {style.power(last)} FLOPs)"
    )
