"""How every interactive figure looks, and the small parts that they share.

A figure carries its light colours. A page in the dark swaps the few that are listed in `DARK`;
bands and size colours are chosen to be readable on both. `meta` of a figure's layout holds its
heights in pixels and what changes on a narrow screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from farwide.plotting.style import power_of_ten, si

INK = "#1f2328"
MUTED = "#6a7179"
GRID = "#e3e7eb"
PAPER = "#ffffff"
ACCENT = "#2c5d8f"
HELD_OUT = "#d9570a"  # orange, for what was held out and nothing else
DARK: Mapping[str, str] = {
    INK: "#e6edf3",
    MUTED: "#9aa4af",
    GRID: "#30363d",
    PAPER: "#15191e",
    ACCENT: "#6cb0f5",
    HELD_OUT: "#ff8b42",
}
BAND = "rgba(74,126,184,0.22)"
GREY_BAND = "rgba(125,133,144,0.20)"
HELD_OUT_BAND = "rgba(226,110,40,0.25)"
# Purple to lime: visible on white and on black, and orange stays free.
SIZES = ((0.0, "#7b3fa0"), (0.35, "#3f7fd0"), (0.7, "#1fa187"), (1.0, "#8fbf3a"))
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eta": "η", "xi": "ξ"}
COMPUTE = "training compute C = 6ND (FLOPs)"


def figure(title: str, *, height: int, narrow_height: int | None = None) -> go.Figure:
    """An empty figure in the house style."""
    empty = go.Figure(layout={"template": "none"})
    empty.update_layout(
        title={"text": title, "x": 0.0, "xanchor": "left"},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        hoverlabel={"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK, "size": 13}},
        margin={"l": 64, "r": 16, "t": 58, "b": 52},
        height=height,
        legend={
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
            "font": {"size": 12},
            "bgcolor": "rgba(0,0,0,0)",
            "traceorder": "normal",
        },
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": INK},
        meta={
            "height": height,
            "narrow_height": narrow_height or height,
            "narrow": {
                "margin.l": 52,
                "margin.r": 8,
                "margin.t": 8,
                "font.size": 12,
                "dragmode": False,
            },
        },
    )
    return empty


def narrow(target: go.Figure, changes: Mapping[str, Any]) -> None:
    """What else of the layout changes on a narrow screen: dotted name -> value."""
    meta: dict[str, Any] = dict(target.layout.meta)  # pyright: ignore
    meta["narrow"] = {**meta["narrow"], **changes}
    target.update_layout(meta=meta)


def axis(title: str, *, log: bool = False, power: bool = False, **more: Any) -> dict[str, Any]:
    """An axis with a title; `power` writes its ticks as powers of ten, else 100M, 1B."""
    return {
        "title": {"text": title, "standoff": 8},
        "type": "log" if log else "linear",
        "exponentformat": "power" if power else "SI" if log and not power else "none",
        "gridcolor": GRID,
        "linecolor": MUTED,
        "tickcolor": MUTED,
        "tickfont": {"color": MUTED, "size": 12},
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "zeroline": False,
        "automargin": True,
        **more,
    }


def log_ticks(values: Iterable[float], *, power: bool = False, most: int = 6) -> dict[str, Any]:
    """Few, readable ticks for a logarithmic axis over these values: 100M, 300M, 1B; or 10^20."""
    shown = [float(v) for v in values if np.isfinite(v) and v > 0]
    low, high = min(shown), max(shown)
    write = power_of_ten if power else si
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
        places = [s * 10.0**e for e in range(first, last + 1) for s in steps]
        places = [p for p in places if low * 0.999 <= p <= high * 1.001]
        if len(places) >= 3:
            break
    else:
        linear = np.linspace(low, high, 4)
        places = [float(f"{v:.3g}") for v in linear]
    places = places[:: -(-len(places) // most)]
    return {"tickvals": places, "ticktext": [write(p) for p in places]}


def loss_ticks(values: Iterable[float], most: int = 7) -> dict[str, Any]:
    """Ticks at round numbers for a logarithmic axis that spans little, such as a loss."""
    shown = [float(v) for v in values if np.isfinite(v) and v > 0]
    low, high = min(shown), max(shown)
    if high / low > 30:
        return log_ticks(values, most=most)
    step = 10.0 ** np.floor(np.log10((high - low) or low))
    for share in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
        first = np.ceil(low / (share * step)) * share * step
        places = np.arange(first, high * 1.0001, share * step)
        if len(places) <= most:
            break
    digits = max(0, -int(np.floor(np.log10(share * step) + 1e-9)))
    return {"tickvals": plain(places), "ticktext": [f"{p:.{digits}f}" for p in places]}


def plain(values: Any, digits: int = 6) -> list[float | None]:
    """Numbers as a page holds them: so many significant digits, None for what is not finite."""
    return [
        float(f"{v:.{digits}g}") if np.isfinite(v) else None
        for v in np.asarray(values, float).ravel()
    ]


def band(
    x: Any, low: Any, high: Any, *, color: str, name: str, **more: Any
) -> tuple[go.Scatter, go.Scatter]:
    """Two traces that fill what lies between two curves; the second is in the legend."""
    shared: dict[str, Any] = {
        "x": plain(x), "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", **more,
    }  # fmt: skip
    return (
        go.Scatter(y=plain(low), showlegend=False, **shared),
        go.Scatter(y=plain(high), fill="tonexty", fillcolor=color, name=name, **shared),
    )


def percent(value: float, digits: int = 2) -> str:
    """A fraction as percent: 0.0123 -> '1.2%'."""
    shown = 100 * value
    size = np.floor(np.log10(abs(shown))) if shown else 0.0
    return f"{shown:.{int(np.clip(digits - 1 - size, 0, 3))}f}%"


def symbol(name: str) -> str:
    """A parameter as it is written: alpha_N -> 'α_N'."""
    head, underscore, tail = name.partition("_")
    return GREEK.get(head, head) + underscore + tail


def power(value: float) -> str:
    """1.2e21 -> '1.2 × 10²¹', small numbers as they are."""
    return power_of_ten(value) if value >= 1e5 or 0 < value < 1e-3 else f"{value:.4g}"


def decades(values: Sequence[float] | np.ndarray, factor: float = 1.0) -> tuple[float, float]:
    """The range of a logarithmic axis (in log10) that holds the values with a margin."""
    logs = np.log10([v for v in np.asarray(values, float).ravel() if np.isfinite(v) and v > 0])
    margin = 0.04 * (np.ptp(logs) or 0.5) + np.log10(factor)
    return float(logs.min() - margin), float(logs.max() + margin)
