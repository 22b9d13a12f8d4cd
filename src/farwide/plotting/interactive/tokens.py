"""The best number of tokens a parameter against compute."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from farwide.plotting.interactive import points, style
from farwide.plotting.interactive.best import best_of
from farwide.plotting.interactive.rows import Rows
from farwide.plotting.tokens_per_parameter import CHINCHILLA
from theory import scaling


def tokens_per_parameter(
    fit: scaling.Fit, rows: Rows, held: Rows | None = None, *, level: float = 0.95
) -> go.Figure | str:
    """D*/N* with its band, the runs' own D/N, and a line at 20.

    Returns a sentence in place of a figure where the law has no best split.

    Reference: Hoffmann et al. (2022), equation 4 and section 3.4.
    """
    every = np.concatenate([rows.C, held.C]) if held is not None else rows.C
    C = np.geomspace(every.min() / 2, every.max() * 10, 50)
    best = best_of(fit, C, level=level)
    if isinstance(best, str):
        return best
    ratio, band = best.ratio, best.ratio_band
    drawn = style.figure(_title(fit, rows, level), height=440, narrow_height=470)
    shown = [*ratio, CHINCHILLA, *(rows.D / rows.N)]
    if band is not None:
        low, high = (np.clip(side, ratio / 1e3, ratio * 1e3) for side in band)
        drawn.add_traces(style.band(C, low, high, color=style.BAND, name=f"{level:.0%} band"))
        shown += [*low, *high]
    drawn.add_scatter(
        x=style.plain(C),
        y=style.plain(ratio),
        mode="lines",
        name="best D*/N*",
        line={"color": style.ACCENT, "width": 2},
        hovertemplate="C = %{x:.3g} FLOPs<br>D*/N* = %{y:.3g}<extra>best</extra>",
    )
    drawn.add_trace(points.black(rows, rows.C, rows.D / rows.N, name="fitted runs"))
    if held is not None:
        drawn.add_trace(points.orange(held, held.C, held.D / held.N))
    drawn.add_scatter(
        x=style.plain([C[0], C[-1]]),
        y=[CHINCHILLA, CHINCHILLA],
        mode="lines",
        name="20 tokens a parameter",
        line={"color": style.MUTED, "dash": "dot", "width": 1.5},
        hoverinfo="skip",
    )
    drawn.update_xaxes(
        style.axis(style.COMPUTE, log=True, range=style.decades(C)),
        **style.log_ticks(C, power=True),
    )
    drawn.update_yaxes(
        style.axis("tokens per parameter D/N", log=True, range=style.decades(shown)),
        **style.log_ticks(shown),
    )
    return drawn


def _title(fit: scaling.Fit, rows: Rows, level: float) -> str:
    edge = float(rows.C.max())
    at = best_of(fit, np.array([edge]), level=level)
    assert not isinstance(at, str)
    start = f"{style.power(edge)} FLOPs"
    text = f"At {start}, {style.si(float(at.ratio[0]), 2)} tokens a parameter are best"
    if at.ratio_band is None:
        return text
    low, high = (float(end[0]) for end in at.ratio_band)
    if not (low > 0 and high / low < 100):
        return f"The runs do not pin down the best tokens per parameter (at {start})"
    return f"{text} ({level:.0%}: {style.si(low, 2)} to {style.si(high, 2)})"
