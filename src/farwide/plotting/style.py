"""How every figure looks: one style, one palette, deterministic files.

Figures are built with the object interface of matplotlib, so importing this package touches no
global state; the style is applied inside `styled` and while a file is written.
"""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDE = 8.6  # inches: a figure on a desktop page or on paper
NARROW = 4.1  # inches: the same figure on a phone
DPI = 100  # PNGs are written at twice this

INK = "#1f2328"
MUTED = "#6a7179"
FAINT = "#c9ced4"
GRID = "#eceff2"
SHADE = "#f5f3ee"
HELD_OUT = "#d9570a"  # orange, for the held-out run and nothing else
ACCENT = "#2c5d8f"
BAND = "#b9cbe0"

STYLE: Any = {  # matplotlib types the keys one by one
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs everywhere
    "font.size": 9.0,
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "axes.edgecolor": "#9aa1a9",
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.which": "major",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": "#9aa1a9",
    "ytick.color": "#9aa1a9",
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.4,
    "legend.handletextpad": 0.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": DPI,
    "svg.fonttype": "path",  # outlines: no font of the reader's machine can shift a label
    "svg.hashsalt": "farwide",  # element ids that depend on the figure alone
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function that draws a figure so that it draws under `STYLE`."""

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inner


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches that keeps its labels inside itself."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.05)  # pyright: ignore
    return figure


def set_title(figure: Figure, text: str) -> None:
    """The figure's one title, left-aligned and wrapped to its width."""
    characters = max(24, int(figure.get_figwidth() * 11.2))
    figure.suptitle(
        "\n".join(textwrap.wrap(text, characters)),
        x=0.008,
        ha="left",
        fontsize=10.5,
        fontweight="bold",
    )


def title_of(figure: Figure) -> str:
    """The title as one line of text."""
    return " ".join(figure.get_suptitle().split())


def is_narrow(width: float) -> bool:
    """Whether a figure of this width (inches) takes the phone's layout."""
    return width < 6.0


def size_colours(sizes: Sequence[float] | np.ndarray) -> dict[float, Any]:
    """A colour for each model size: viridis along log N, without its pale yellow end."""
    ordered = sorted({float(n) for n in sizes})
    if not ordered:
        return {}
    logs = np.log(ordered)
    span = logs[-1] - logs[0]
    place = (logs - logs[0]) / span if span > 0 else np.full(len(logs), 0.4)
    colours = matplotlib.colormaps["viridis"](0.02 + 0.72 * place)
    return {n: tuple(float(v) for v in colour) for n, colour in zip(ordered, colours, strict=True)}


def si(value: float, digits: int = 2) -> str:
    """A count in words of a figure: 4096 -> '4.1k', 1e6 -> '1M', 2.5e13 -> '2.5e13'."""
    if value == 0:
        return "0"
    for limit, unit in ((1e12, None), (1e9, "B"), (1e6, "M"), (1e3, "k"), (0.0, "")):
        if abs(value) >= limit * 0.99999:
            if unit is None:
                return f"{value:.{digits}g}".replace("e+", "e")
            scaled = value / (limit or 1.0)
            shown = f"{scaled:.{max(digits, len(str(int(abs(scaled)))))}g}"
            return f"{float(shown):g}{unit}"
    raise AssertionError("unreachable: every number is at least 0 in magnitude")


def significant(value: float, digits: int = 2) -> str:
    """A number to that many significant digits, with its trailing zeros: 0.9 -> '0.90'."""
    size = np.floor(np.log10(abs(value))) if value else 0.0
    decimals = int(np.clip(digits - 1 - size, 0, 4))
    return f"{value:.{decimals}f}".replace("-", "−")


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(value: float) -> str:
    """1e12 -> '10¹²', with a mantissa where it is needed: 2.5e12 -> '2.5 × 10¹²'."""
    mantissa, exponent = f"{value:.1e}".split("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    mantissa = f"{float(mantissa):g}"
    return power if mantissa == "1" else f"{mantissa} × {power}"


def log_axis(ax: Axes, which: str, *, text: Callable[[float], str] = si, ticks: int = 5) -> None:
    """Make axis `which` ('x' or 'y') logarithmic with few, readable ticks.

    Call it after the limits are set: the spacing of the ticks depends on the range.
    """
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = sorted(ax.get_xlim() if which == "x" else ax.get_ylim())
    decades = np.log10(high / low)
    if decades > 1.6:
        candidates = _log_ticks(low, high, (1.0,))
        if len(candidates) < min(3, ticks - 1):
            candidates = _log_ticks(low, high, (1.0, 3.0))
        candidates = candidates[:: int(np.ceil(len(candidates) / (ticks + 1)))]
    elif decades > 0.55:
        candidates = _log_ticks(low, high, (1.0, 2.0, 5.0))
        if len(candidates) > ticks + 2:
            candidates = _log_ticks(low, high, (1.0, 3.0))
        elif len(candidates) < 3:
            candidates = _log_ticks(low, high, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))
    else:
        linear = ticker.MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10])
        candidates = [t for t in linear.tick_values(low, high) if low <= t <= high]
    axis.set_major_locator(ticker.FixedLocator(candidates))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: text(v)))
    axis.set_minor_formatter(ticker.NullFormatter())
    if decades <= 0.55:
        axis.set_minor_locator(ticker.NullLocator())


def _log_ticks(low: float, high: float, steps: Sequence[float]) -> list[float]:
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    places = [s * 10.0**e for e in range(first, last + 1) for s in steps]
    return [p for p in places if low * 0.9999 <= p <= high * 1.0001]


def loss_axis(ax: Axes, label: str = "validation loss (nats per byte)") -> None:
    """A logarithmic vertical axis in nats per byte, with plain numbers on it."""
    ax.set_ylabel(label)
    loss_ticks(ax, "y")


NICE_LOSSES = (0.5, 0.7, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7, 10)


def loss_ticks(ax: Axes, which: str, ticks: int = 6) -> None:
    """A logarithmic axis of losses; over a factor of 2 or more its ticks are round numbers."""
    log_axis(ax, which, text=lambda v: f"{v:.3g}", ticks=ticks)
    low, high = sorted(ax.get_xlim() if which == "x" else ax.get_ylim())
    if 2.0 <= high / low < 40:
        axis = ax.xaxis if which == "x" else ax.yaxis
        places = [v for v in NICE_LOSSES if low <= v <= high]
        axis.set_major_locator(ticker.FixedLocator(places[:: -(-len(places) // (ticks + 1))]))
        axis.set_minor_locator(ticker.NullLocator())


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart until neighbours are `gap` apart, inside [low, high].

    Keeps the order; positions move as little as a forward and a backward sweep allow. When there
    is not room for all, they share the room evenly.
    """
    n = len(places)
    if n == 0:
        return []
    order = np.argsort(places, kind="stable")
    y = np.asarray(places, float)[order]
    gap = min(gap, (high - low) / max(n - 1, 1))
    blocks: list[list[float]] = []  # [mean of centred positions, members]
    for i, value in enumerate(y):
        blocks.append([value - i * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            blocks[-1] = [
                (blocks[-1][0] * blocks[-1][1] + mean * count) / (blocks[-1][1] + count),
                blocks[-1][1] + count,
            ]
    centred = np.concatenate([np.full(int(count), mean) for mean, count in blocks])
    centred = np.clip(centred, low, high - (n - 1) * gap)
    moved = centred + np.arange(n) * gap
    result = np.empty(n)
    result[order] = moved
    return [float(v) for v in result]


def size_key(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """A legend in a strip of its own below the axes, where it covers no data."""
    figure.legend(handles=list(handles), loc="outside lower left", ncols=columns)


def to_svg(figure: Figure, *, prefix: str, title: bool = True) -> str:
    """The figure as an inline `<svg>` element, byte for byte the same for the same figure.

    Args:
        figure: what to write.
        prefix: put before every element id, so that several figures can share one page.
        title: False leaves the title out, for a page that prints it as a heading.
    """
    heading = figure.get_suptitle()
    if heading and not title:
        figure.suptitle("").set_in_layout(False)
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    if heading and not title:
        figure.suptitle(heading).set_in_layout(True)
    text = buffer.getvalue()
    svg = text[text.index("<svg") :].strip()
    return prefix_ids(svg, prefix)


def prefix_ids(svg: str, prefix: str) -> str:
    """Give every id of an svg, and every reference to one, a prefix."""
    for before in ('id="', 'href="#', "url(#"):
        svg = svg.replace(before, f"{before}{prefix}-")
    return svg


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG at twice the nominal resolution."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        canvas = FigureCanvasAgg(figure)
        dpi, figure.dpi = figure.dpi, 2 * DPI
        try:
            canvas.print_png(buffer, metadata={"Software": None})
        finally:
            figure.dpi = dpi
    return buffer.getvalue()


def save_png(figure: Figure, path: str | Path) -> Path:
    """Write `to_png` to `path`."""
    path = Path(path)
    path.write_bytes(to_png(figure))
    return path
