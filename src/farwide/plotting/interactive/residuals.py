"""Residuals in log loss against everything that a run varies."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from farwide.plotting.interactive import points, style
from farwide.plotting.interactive.rows import Rows
from farwide.plotting.residuals import slopes


def residuals(rows: Rows, held: Rows | None = None, *, counted: str = "") -> go.Figure:
    """log(observed / predicted) in percent, a panel a quantity: N, D, C, D/N, or the columns.

    The title names a quantity along which the residuals of the fitted rows drift: a slope that
    differs from 0 at p < 0.05 after Bonferroni's correction for the number of panels.
    """
    axes = rows.axes
    across = 1 if len(axes) == 1 else 2
    down = -(-len(axes) // across)
    tall = 60 + 225 * down if down > 1 else 340
    drawn = style.figure(_title(rows), height=tall, narrow_height=90 + 215 * len(axes))
    changes: dict[str, object] = {}
    names = list(axes)
    shown = [*rows.residual, *(held.residual if held is not None else []), 0.0]
    margin = 8 * (max(shown) - min(shown) or 0.01)
    span = [100 * min(shown) - margin, 100 * max(shown) + margin]
    for i, name in enumerate(names):
        suffix = "" if i == 0 else str(i + 1)
        place = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        y = 100 * rows.residual
        if rows.sized:
            drawn.add_trace(points.sized(rows, axes[name], y, **place))
        else:
            drawn.add_trace(points.black(rows, axes[name], y, legend=i == 0, **place))
        values = [*axes[name]]
        if held is not None:
            drawn.add_trace(
                points.orange(held, held.axes[name], 100 * held.residual, legend=i == 0, **place)
            )
            values += [*held.axes[name]]
        column, row = i % across, i // across
        shared: dict[str, Any] = {"matches": "y"} if i else {}
        wide = _panels(across, 0.09)[column], _panels(down, 0.18 / (down - 1 or 1))[down - 1 - row]
        thin = [0.0, 1.0], _panels(len(names), 0.085)[len(names) - 1 - i]
        drawn.update_layout(
            {
                f"xaxis{suffix}": style.axis(
                    rows.axis_title(name, counted),
                    log=True,
                    range=style.decades(values),
                    domain=wide[0],
                    anchor=f"y{suffix}",
                    **style.log_ticks(values, power=name == "C", most=5),
                ),
                f"yaxis{suffix}": style.axis(
                    "residual (%)" if column == 0 else "",
                    domain=wide[1],
                    anchor=f"x{suffix}",
                    range=span,
                    zeroline=True,
                    zerolinecolor=style.MUTED,
                    zerolinewidth=1,
                    **shared,
                ),
            }
        )
        changes |= {
            f"xaxis{suffix}.domain": thin[0],
            f"yaxis{suffix}.domain": thin[1],
            f"yaxis{suffix}.title.text": "residual (%)",
        }
    if rows.sized:
        points.size_scale(drawn, rows, counted)
    style.narrow(drawn, changes)
    return drawn


def _panels(count: int, gap: float) -> list[list[float]]:
    """Where each of `count` panels lies, apart by `gap`, as shares of the whole."""
    room = (1 - gap * (count - 1)) / count
    return [[round(i * (room + gap), 4), round(i * (room + gap) + room, 4)] for i in range(count)]


def _title(rows: Rows) -> str:
    scatter = float(np.sqrt(np.mean(np.square(rows.residual))))
    found = [t for t in slopes(rows.axes, rows.residual) if t.p < 0.05]
    text = f"Residuals scatter by {style.percent(scatter)} (RMS)"
    if not found:
        return f"{text}: no trend found in {_list(list(rows.axes))}"
    drift = ", ".join(f"{t.name} ({t.slope:+.2g}% a factor of 10)" for t in found)
    return f"{text}; they drift with {drift}".replace("-", "−")


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
