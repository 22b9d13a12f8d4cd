"""Bootstrap replicates of the parameters, pair by pair."""

from __future__ import annotations

import itertools

import numpy as np
import plotly.graph_objects as go

from farwide.plotting.interactive import style
from theory import scaling

SHOWN = 400  # replicates drawn as dots; all of them count in the histograms
BINS = 30
SPAN = 10.0  # a parameter whose central 95% spans more is shown as its logarithm
LOGARITHMIC = ("A", "B")  # always
CROSS = {"color": style.INK, "width": 2}
READABLE = (1e-3, 1e4)  # a parameter beyond is shown as its logarithm


def corner(fit: scaling.Fit) -> go.Figure | str:
    """Histograms on the diagonal, pairs below it; A and B in log10, as others that span decades or
    are very large or small.

    The axes hold the central 98% and the fit. Returns a sentence in place of a figure where there
    are too few replicates.
    """
    draws = fit.bootstrap
    count = 0 if draws is None else len(next(iter(draws.values())))
    if draws is None or count < 20:
        return f"The fit has {count or 'no'} bootstrap replicates; at least 20 are needed."
    values, shown, usable = {}, {}, np.ones(count, bool)
    names = [n for n in fit.law.params if np.ptp(draws[n]) > 0]
    if len(names) < 2:
        return "Fewer than two parameters vary over the bootstrap replicates."
    for name in names:
        if _logarithmic(name, draws[name], fit.params[name]):
            usable &= draws[name] > 0
            with np.errstate(divide="ignore"):
                values[name] = np.log10(draws[name])
            shown[name] = f"log₁₀ {style.symbol(name)}"
        else:
            values[name], shown[name] = draws[name], style.symbol(name)
    if np.sum(usable) < 20:
        return "Nearly all bootstrap replicates have switched a term of the law off."
    values = {name: v[usable] for name, v in values.items()}
    with np.errstate(divide="ignore"):
        at = {n: np.log10(fit.params[n]) if "log" in shown[n] else fit.params[n] for n in names}
    side = len(names)
    height = int(np.clip(90 + 135 * side, 330, 780))
    title = f"{np.sum(usable)} bootstrap replicates of the parameters"
    if lost := count - int(np.sum(usable)):
        title += f" ({lost} with a parameter at 0 have no logarithm and are not drawn)"
    drawn = style.figure(title, height=height, narrow_height=int(np.clip(60 + 85 * side, 300, 520)))
    step = 1 / side
    for (i, row), (j, column) in itertools.product(enumerate(names), repeat=2):
        if j > i:
            continue
        index = i * side + j + 1
        suffix = "" if index == 1 else str(index)
        x = values[column]
        limits = _limits(x, at[column])
        place = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "showlegend": False}
        if i == j:
            heights, edges = np.histogram(x, BINS, range=(limits[0], limits[1]))
            drawn.add_bar(
                x=style.plain(0.5 * (edges[1:] + edges[:-1])),
                y=heights.tolist(),
                marker={"color": style.BAND, "line": {"width": 0}},
                hovertemplate=f"{shown[column]} = %{{x:.4g}}<br>%{{y}} replicates<extra></extra>",
                **place,
            )
            y_range = [0, 1.08 * float(heights.max())]
            drawn.add_scatter(
                x=style.plain([at[column]] * 2), y=y_range, mode="lines", hoverinfo="skip",
                line={"color": style.INK, "width": 1.2}, **place,
            )  # fmt: skip
        else:
            y_range = _limits(values[row], at[row])
            drawn.add_scatter(
                x=style.plain(x[:SHOWN], 5), y=style.plain(values[row][:SHOWN], 5), mode="markers",
                marker={"size": 3, "color": style.ACCENT, "opacity": 0.35},
                hovertemplate=f"{shown[column]} = %{{x:.4g}}<br>{shown[row]} = %{{y:.4g}}"
                "<extra></extra>",
                **place,
            )  # fmt: skip
            drawn.add_scatter(
                x=style.plain([at[column]]), y=style.plain([at[row]]), mode="markers",
                marker={"symbol": "cross-thin", "size": 11, "line": CROSS},
                hovertemplate=f"fit: {shown[column]} = %{{x:.4g}}, {shown[row]} = %{{y:.4g}}"
                "<extra></extra>",
                **place,
            )  # fmt: skip
        bottom, left = i == side - 1, j == 0 and i > 0
        drawn.update_layout(
            {
                f"xaxis{suffix}": style.axis(
                    shown[column] if bottom else "", domain=_place(j, step), anchor=f"y{suffix}",
                    range=limits, showticklabels=bottom, nticks=3, tickangle=0,
                ),
                f"yaxis{suffix}": style.axis(
                    shown[row] if left else "", domain=_place(side - 1 - i, step),
                    anchor=f"x{suffix}", range=y_range, showticklabels=left, nticks=3,
                ),
            }
        )  # fmt: skip
        if bottom or left:
            style.narrow(
                drawn,
                {f"xaxis{suffix}.tickfont.size": 9, f"yaxis{suffix}.tickfont.size": 9,
                 f"xaxis{suffix}.nticks": 2, f"yaxis{suffix}.nticks": 2},
            )  # fmt: skip
    drawn.update_layout(bargap=0)
    return drawn


def _logarithmic(name: str, draws: np.ndarray, value: float) -> bool:
    positive = draws[draws > 0]
    if value <= 0 or len(positive) < 0.5 * len(draws):
        return False
    low, high = np.quantile(positive, [0.025, 0.975])
    far = not READABLE[0] <= value <= READABLE[1]
    return name in LOGARITHMIC or far or bool(high / low > SPAN)


def _limits(values: np.ndarray, point: float) -> list[float]:
    low, high = np.quantile(values, [0.01, 0.99])
    low, high = min(low, point), max(high, point)
    margin = 0.06 * ((high - low) or abs(high) or 1.0)
    return [float(low - margin), float(high + margin)]


def _place(index: int, step: float) -> list[float]:
    return [round(index * step + 0.012, 4), round((index + 1) * step - 0.012, 4)]
