"""Runs as dots: coloured by size, or black and orange."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from farwide.plotting.interactive import style
from farwide.plotting.interactive.rows import Rows


def sized(rows: Rows, x: Any, y: Any, **more: Any) -> go.Scatter:
    """Fitted runs coloured by log N through the figure's `coloraxis`, whose bar is their legend."""
    return go.Scatter(
        x=style.plain(x),
        y=style.plain(y),
        mode="markers",
        name="fitted runs",
        text=rows.hover,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        marker={
            "size": 7,
            "color": style.plain(np.log10(rows.N), 4),
            "coloraxis": "coloraxis",
            "line": {"width": 0.6, "color": style.PAPER},
        },
        **more,
    )


def black(
    rows: Rows, x: Any, y: Any, *, name: str = "fitted", legend: bool = True, **more: Any
) -> go.Scatter:
    """Fitted rows in the colour of ink."""
    return go.Scatter(
        x=style.plain(x),
        y=style.plain(y),
        mode="markers",
        name=name,
        text=rows.hover,
        hovertemplate="%{text}<extra></extra>",
        showlegend=legend,
        marker={"size": 6.5, "color": style.INK, "line": {"width": 0.6, "color": style.PAPER}},
        **more,
    )


def orange(
    rows: Rows, x: Any, y: Any, *, name: str = "held out", legend: bool = True, **more: Any
) -> go.Scatter:
    """Held-out rows as orange diamonds."""
    return go.Scatter(
        x=style.plain(x),
        y=style.plain(y),
        mode="markers",
        name=name,
        text=rows.hover,
        hovertemplate="%{text}<extra>held out</extra>",
        showlegend=legend,
        marker={
            "size": 9,
            "symbol": "diamond",
            "color": style.HELD_OUT,
            "line": {"width": 0.8, "color": style.PAPER},
        },
        **more,
    )


def size_scale(target: go.Figure, rows: Rows, counted: str = "") -> None:
    """The colour axis of log N and its bar: at the right, below on a narrow screen."""
    N = rows.N
    low, high = float(np.log10(N.min())), float(np.log10(N.max()))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    ticks = style.log_ticks([10**low, 10**high], most=5)
    title = f"N<br>{counted}<br>parameters" if counted else "N<br>parameters"
    target.update_layout(
        coloraxis={
            "colorscale": [[place, colour] for place, colour in style.SIZES],
            "cmin": low,
            "cmax": high,
            "colorbar": {
                "title": {"text": title, "side": "top", "font": {"size": 12}},
                "tickvals": style.plain(np.log10(ticks["tickvals"]), 8),
                "ticktext": ticks["ticktext"],
                "tickfont": {"color": style.MUTED, "size": 12},
                "thickness": 12,
                "len": 0.85,
                "outlinewidth": 0,
            },
        }
    )
    bar = "coloraxis.colorbar"
    style.narrow(
        target,
        {
            f"{bar}.orientation": "h",
            f"{bar}.x": 0.5,
            f"{bar}.xanchor": "center",
            f"{bar}.y": 0,
            f"{bar}.yref": "container",
            f"{bar}.yanchor": "bottom",
            f"{bar}.len": 0.9,
            f"{bar}.title": {"text": "N", "side": "right"},
            "margin.b": 112,
        },
    )
