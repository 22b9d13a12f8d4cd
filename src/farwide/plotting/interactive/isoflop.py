"""Loss along N at fixed budgets, and the best N at each budget: by the law, and by parabolas."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from farwide.plotting.data import FLOPS_PER_PARAMETER_TOKEN
from farwide.plotting.interactive import points, style
from farwide.plotting.interactive.best import best_of
from farwide.plotting.interactive.rows import Rows
from theory import scaling

MOST = 7  # budgets drawn
NEAR = 1.25  # a run belongs to a budget within this factor
TALL = 1.35  # a slice is drawn up to so many times its lowest loss, or the largest observed


def budgets(rows: Rows) -> np.ndarray:
    """The budgets that the runs were planned at, if they were, else MOST over their range.

    Planned: groups of runs whose C lie within a factor of `NEAR`, at least 3 sizes in each, which
    together hold half of the runs or more.
    """
    order = np.argsort(rows.C)
    logs, sizes = np.log(rows.C[order]), rows.N[order]
    groups = np.split(np.arange(len(logs)), np.flatnonzero(np.diff(logs) > 0.1) + 1)
    planned = [
        g for g in groups if np.ptp(logs[g]) <= np.log(NEAR) and len(np.unique(sizes[g])) >= 3
    ]
    if len(planned) >= 2 and sum(map(len, planned)) >= 0.5 * len(logs):
        found = np.exp([np.median(logs[g]) for g in planned])
        keep = np.unique(
            np.round(np.linspace(0, len(found) - 1, min(MOST, len(found)))).astype(int)
        )
        return found[keep]
    low, high = np.quantile(logs, [0.05, 1.0])
    return np.exp(np.linspace(low, high, MOST if high - low > 1 else 3))


def _most(found: np.ndarray) -> np.ndarray:
    """At most MOST of the budgets, the first and the last among them."""
    places = np.linspace(0, len(found) - 1, min(MOST, len(found)))
    return found[np.unique(np.round(places).astype(int))]


def parabolas(rows: Rows) -> scaling.IsoFLOP | None:
    """Approach 2 on these runs; None where fewer than two budgets have a minimum among them."""
    try:
        found = scaling.isoflop({"N": rows.N, "D": rows.D, "loss": rows.observed})
    except ValueError:
        return None
    return found if np.sum(found.inside) >= 2 else None


def isoflop(fit: scaling.Fit, rows: Rows, *, counted: str = "") -> go.Figure | str:
    """The law along N at each budget, and the runs near it, with a star at the best N.

    Where the runs were planned at budgets, the star is the lowest point of a parabola through the
    runs of its budget (approach 2), which is dotted; else it is the minimum of the law.

    Returns a sentence in place of a figure where the law has no best split.

    Reference: Hoffmann et al. (2022), figure 3.
    """
    bowls = parabolas(rows)
    C = budgets(rows) if bowls is None else _most(bowls.C[bowls.inside])
    best = best_of(fit, C)
    if isinstance(best, str):
        return best
    drawn = style.figure(
        _bowl_title(bowls),
        height=500,
        narrow_height=520,
    )
    colours = sample_colorscale([list(s) for s in style.SIZES], np.linspace(0, 1, len(C)).tolist())
    low, high = rows.N.min() / 3, rows.N.max() * 3
    losses, shown = [], []
    for i, (budget, colour) in enumerate(zip(C, colours, strict=True)):
        N = np.geomspace(min(low, best.N[i] / 3), max(high, best.N[i] * 3), 160)
        D = budget / (FLOPS_PER_PARAMETER_TOKEN * N)
        value = fit.predict({"N": N, "D": D})
        near = np.abs(np.log(rows.C / budget)) <= np.log(NEAR)
        star, lowest, how = best.N[i], best.value[i], "lowest of the law"
        if bowls is not None:
            k = int(np.argmin(np.abs(np.log(bowls.C / budget))))
            near = bowls.group == k
            star, lowest, how = bowls.N[k], bowls.loss[k], "lowest of the parabola"
            x = np.geomspace(rows.N[near].min() / 1.15, rows.N[near].max() * 1.15, 60)
            bowl = lowest * np.exp(0.5 * bowls.curvature[k] * np.log(x / star) ** 2)
            drawn.add_scatter(
                x=style.plain(x), y=style.plain(bowl), mode="lines", name="parabola",
                legendgroup=style.power(budget), showlegend=False, hoverinfo="skip",
                line={"color": colour, "width": 1.6, "dash": "dot"},
            )  # fmt: skip
        top = max(TALL * best.value[i], np.max(rows.observed[near], initial=0.0) * 1.02)
        keep = value <= top
        name = f"{style.power(budget)}"
        drawn.add_scatter(
            x=style.plain(N[keep]),
            y=style.plain(value[keep]),
            mode="lines",
            name=name,
            legendgroup=name,
            line={"color": colour, "width": 1.6},
            hovertemplate="N = %{x:.3s}<br>law: %{y:.4g}<extra>" + name + " FLOPs</extra>",
        )
        drawn.add_scatter(
            x=style.plain(rows.N[near]),
            y=style.plain(rows.observed[near]),
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=False,
            text=[text for text, kept in zip(rows.hover, near, strict=True) if kept],
            hovertemplate="%{text}<extra></extra>",
            marker={"size": 6.5, "color": colour, "line": {"width": 0.6, "color": style.PAPER}},
        )
        drawn.add_scatter(
            x=style.plain([star]),
            y=style.plain([lowest]),
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=False,
            text=[
                f"C = {style.power(budget)} FLOPs<br>{how}: N* = {style.si(star, 3)}<br>"
                f"D* = {style.si(budget / FLOPS_PER_PARAMETER_TOKEN / star, 3)}<br>"
                f"{rows.target} = {lowest:.4g}"
            ],
            hovertemplate="%{text}<extra>best</extra>",
            marker={
                "size": 14,
                "symbol": "star",
                "color": colour,
                "line": {"width": 1, "color": style.INK},
            },
        )
        losses += [best.value[i], float(np.max(value[keep]))]
        shown += [N[keep][0], N[keep][-1]]
    drawn.update_layout(legend={"title": {"text": "C (FLOPs)  ", "side": "left"}})
    style.narrow(drawn, {"legend.title.side": "top"})
    drawn.update_xaxes(
        style.axis(rows.axis_title("N", counted), log=True, range=style.decades(shown)),
        **style.log_ticks(shown),
    )
    drawn.update_yaxes(
        style.axis(rows.target_title, log=True, range=style.decades(losses)),
        **style.loss_ticks(losses),
    )
    return drawn


def _bowl_title(bowls: scaling.IsoFLOP | None) -> str:
    if bowls is None:
        return "The law along the size N at fixed compute, and the best N (stars)"
    slope = bowls.N_law
    text = f"IsoFLOP parabolas: N* grows as C to the {slope.exponent:.2f}"
    if np.isfinite([slope.low, slope.high]).all():
        text += f" (95%: {slope.low:.2f} to {slope.high:.2f})"
    return text


def best_size(
    fit: scaling.Fit,
    rows: Rows,
    held: Rows | None = None,
    *,
    counted: str = "",
    level: float = 0.95,
) -> go.Figure | str:
    """N*(C) with its band, and the sizes that were trained.

    Returns a sentence in place of a figure where the law has no best split.

    Reference: Hoffmann et al. (2022), equation 4.
    """
    every = np.concatenate([rows.C, held.C]) if held is not None else rows.C
    C = np.geomspace(every.min() / 2, every.max() * 10, 50)
    best = best_of(fit, C, level=level)
    if isinstance(best, str):
        return best
    drawn = style.figure(_title(fit, rows, level), height=440, narrow_height=470)
    sizes = [*rows.N, *best.N]
    if best.N_band is not None:
        low = np.maximum(best.N_band[0], best.N / 1e3)
        high = np.minimum(best.N_band[1], best.N * 1e3)
        drawn.add_traces(style.band(C, low, high, color=style.BAND, name=f"{level:.0%} band of N*"))
        sizes += [*low, *high]
    drawn.add_scatter(
        x=style.plain(C),
        y=style.plain(best.N),
        mode="lines",
        name="best size N*",
        line={"color": style.ACCENT, "width": 2},
        text=[
            f"C = {style.power(c)} FLOPs<br>N* = {style.si(n, 3)}<br>D* = {style.si(d, 3)}"
            for c, n, d in zip(C, best.N, best.D, strict=True)
        ],
        hovertemplate="%{text}<extra>best</extra>",
    )
    drawn.add_trace(points.black(rows, rows.C, rows.N, name="fitted runs"))
    bowls = parabolas(rows)
    if bowls is not None:
        drawn.add_trace(_bowl_sizes(bowls))
    if held is not None:
        drawn.add_trace(points.orange(held, held.C, held.N))
    drawn.update_xaxes(
        style.axis(style.COMPUTE, log=True, range=style.decades(C)),
        **style.log_ticks(C, power=True),
    )
    drawn.update_yaxes(
        style.axis(rows.axis_title("N", counted), log=True, range=style.decades(sizes)),
        **style.log_ticks(sizes),
    )
    return drawn


def _title(fit: scaling.Fit, rows: Rows, level: float) -> str:
    edge = float(rows.C.max())
    at = best_of(fit, np.array([edge]), level=level)
    assert not isinstance(at, str)
    start = f"{style.power(edge)} FLOPs"
    text = f"At {start} a size of {style.si(at.N[0], 3)} is best"
    if at.N_band is None:
        return text
    low, high = (float(end[0]) for end in at.N_band)
    if not (low > 0 and high / low < 100):
        return f"The runs do not pin down the best size (at {start})"
    return f"{text} ({level:.0%}: {style.si(low, 3)} to {style.si(high, 3)})"


def _bowl_sizes(bowls: scaling.IsoFLOP) -> go.Scatter:
    """N* of the parabolas at their budgets, with 95% bars."""
    at = bowls.inside
    above = np.clip(bowls.N_high[at], None, 1e3 * bowls.N[at]) - bowls.N[at]
    below = bowls.N[at] - np.clip(bowls.N_low[at], 1e-3 * bowls.N[at], None)
    return go.Scatter(
        x=style.plain(bowls.C[at]), y=style.plain(bowls.N[at]), mode="markers",
        name="IsoFLOP parabolas",
        marker={"symbol": "star", "size": 13, "color": style.ACCENT,
                "line": {"width": 1, "color": style.PAPER}},
        error_y={"type": "data", "array": style.plain(above), "arrayminus": style.plain(below),
                 "color": style.ACCENT, "thickness": 1.2},
        hovertemplate="C = %{x:.3g} FLOPs<br>N* = %{y:.3s}<extra>parabola</extra>",
    )  # fmt: skip
