"""What a deep kernel machine gains as its price of representation learning falls."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from farwide.plotting import style

COLOURS = (style.ACCENT, "#c2571a", "#3f7d4e", "#7b4a8e", "#b08a00", "#1f8a8a")
MARKERS = ("o", "s", "D", "^", "v", "P")
GAP = 1.3  # decades between the finite prices and inf, and 0
PLAIN = range(-2, 3)  # powers of ten that are written out


class Series(NamedTuple):
    """One line.

    Attributes:
      label: lines of one label look alike in every panel.
      nu: (points,) prices >= 0, inf (the NNGP) and 0 among them where they were tried.
      mean: (points,) of the metric; NaN draws nothing.
      error: (points,) standard errors of it; NaN draws no bar.
    """

    label: str
    nu: Sequence[float]
    mean: Sequence[float]
    error: Sequence[float]


class Panel(NamedTuple):
    """One metric.

    Attributes:
      series: its lines.
      metric: label of the vertical axis.
      references: labels and values of horizontal lines, such as the exact NNGP.
      log: whether the vertical axis is logarithmic.
      text: how a value is written on the vertical axis; None leaves it to the axis.
      note: a line of words below the title: which way is better, for example.
    """

    series: Sequence[Series]
    metric: str
    references: Sequence[tuple[str, float]] = ()
    log: bool = False
    text: Callable[[float], str] | None = None
    note: str = ""


@style.styled
def nu_sweep(
    panels: Mapping[str, Panel], title: str, *, columns: int = 2, width: float = style.WIDE
) -> Figure:
    """A metric against nu, falling from left to right as a representation is learned more freely.

    The axis is logarithmic; inf and 0, which it has no place for, stand at its ends behind a break.

    Args:
      panels: title of a panel -> what it shows.
      title: of the figure.
      columns: panels side by side; on a phone they stand one below the other.
      width: inches.

    Raises:
      ValueError: no panels, a panel without a line, or a negative nu.
    """
    every = [line for panel in panels.values() for line in panel.series]
    if not every or any(not panel.series for panel in panels.values()):
        raise ValueError("nu_sweep needs panels, and each of them a line")
    prices = np.concatenate([np.asarray(line.nu, float) for line in every])
    if not (prices >= 0).all():
        raise ValueError(f"nu must be >= 0, got {sorted(prices.tolist())}")
    narrow = style.is_narrow(width)
    columns = 1 if narrow else min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(width, rows * (2.7 if narrow else 3.1) + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.remove()
    labels = list(dict.fromkeys(line.label for line in every))
    named = list(dict.fromkeys(name for panel in panels.values() for name, _ in panel.references))
    for ax, (name, panel) in zip(axes, panels.items(), strict=False):
        _draw(ax, panel, labels, named, prices)
        own = textwrap.wrap(panel.note, max(24, int(width / columns * 13)))
        ax.set_title("\n".join([name, *own]))
    handles = [Line2D([], [], label=label, **_look(labels.index(label))) for label in labels]
    handles += [Line2D([], [], label=name, **_line(named.index(name))) for name in named]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=1 if narrow else min(len(handles), 4),
        handlelength=3.0,
    )
    style.set_title(figure, title)
    return figure


def _draw(
    ax: Axes, panel: Panel, labels: Sequence[str], named: Sequence[str], prices: np.ndarray
) -> None:
    place, ends = _places(prices)
    heights = [value for _, value in panel.references]
    for line in panel.series:
        x = place(np.asarray(line.nu, float))
        order = np.argsort(x)
        x, y, bar = (np.asarray(v, float)[order] for v in (x, line.mean, line.error))
        look = _look(labels.index(line.label))
        finite = (x > ends[0]) & (x < ends[1])
        ax.plot(x[finite], y[finite], **{**look, "marker": ""})
        ax.plot(x, y, **{**look, "ls": (0, (1, 2)), "lw": 0.9, "marker": ""}, zorder=1.9)
        ax.errorbar(
            x, y, yerr=np.nan_to_num(bar), elinewidth=0.9, capsize=2.0, **{**look, "ls": "none"}
        )
        lowest = y - np.nan_to_num(bar)
        heights += [*y, *(y + np.nan_to_num(bar)), *lowest[(lowest > 0) | (not panel.log)]]
    for name, value in panel.references:
        ax.axhline(value, **_line(named.index(name)), zorder=1.8)
    _price_axis(ax, prices)
    values = np.asarray(heights)[np.isfinite(heights)]
    if panel.log:
        values = values[values > 0]
        ax.set_ylim(values.min() / 1.1, values.max() * 1.1)
        style.log_axis(ax, "y", text=panel.text or (lambda v: f"{v:.3g}"))
    else:
        room = 0.06 * ((values.max() - values.min()) or 1.0)
        ax.set_ylim(values.min() - room, values.max() + room)
        if panel.text is not None:
            text = panel.text
            ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: text(v)))
    ax.set_ylabel(panel.metric)


def _places(prices: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[float, float]]:
    """Where prices stand, minus log10 with inf and 0 a gap beyond; and where these two do."""
    known = prices[np.isfinite(prices) & (prices > 0)]
    logs = -np.log10(known) if len(known) else np.zeros(1)
    ends = float(logs.min() - GAP), float(logs.max() + GAP)

    def place(nu: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.clip(-np.log10(nu), *ends)

    return place, ends


def _price_axis(ax: Axes, prices: np.ndarray) -> None:
    """Ticks at powers of ten, inf and 0; two strokes across the axis where it is broken."""
    _, ends = _places(prices)
    ticks = [(float(e), _power(-e)) for e in range(round(ends[0] + GAP), round(ends[1] - GAP) + 1)]
    if np.isinf(prices).any():
        ticks.insert(0, (ends[0], "∞\nNNGP"))
    if (prices == 0).any():
        ticks.append((ends[1], "0\nfree"))
    ax.set_xticks([x for x, _ in ticks], [text for _, text in ticks])
    top, free = bool(np.isinf(prices).any()), bool((prices == 0).any())
    low, high = ends[0] + (0 if top else GAP) - 0.5, ends[1] - (0 if free else GAP) + 0.5
    ax.set_xlim(low, high)
    ax.grid(visible=False, axis="x")
    stroke: dict[str, Any] = {
        "marker": [(-1, -2), (1, 2)], "ms": 7, "ls": "none", "mew": 0.9, "mec": "#9aa1a9",
    }  # fmt: skip
    foot: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False}
    half = 0.008 * (high - low)
    for end, side, there in ((ends[0], 0.5, top), (ends[1], -0.5, free)):
        if there:
            place = end + side * GAP
            sides = [place - half, place + half]
            ax.plot(sides, [0, 0], color="white", lw=2.5, solid_capstyle="butt", zorder=5, **foot)
            ax.plot(sides, [0, 0], zorder=6, **foot, **stroke)
    ax.set_xlabel("price of representation learning ν")


def _power(exponent: int) -> str:
    if exponent in PLAIN:
        return f"{10.0**exponent:g}"
    return style.power_of_ten(10.0**exponent)


def _look(index: int) -> dict[str, Any]:
    """Colour and marker of a line."""
    colour = COLOURS[index] if index < len(COLOURS) else matplotlib.colormaps["tab10"](index % 10)
    return {"color": colour, "marker": MARKERS[index % len(MARKERS)], "ms": 4.0, "lw": 1.4}


def _line(index: int) -> dict[str, Any]:
    """A reference line."""
    styles = (":", (0, (5, 2)), (0, (5, 2, 1, 2)))
    return {"color": style.MUTED, "lw": 1.1, "ls": styles[index % len(styles)]}
