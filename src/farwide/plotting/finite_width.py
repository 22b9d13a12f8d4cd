"""Finite networks beside their infinite limit: curves on the circle, and errors against width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from farwide.plotting import style

COLOURS = ("#c2571a", style.ACCENT, "#3f7d4e", "#7b4a8e")
MARKERS = ("o", "s", "D", "^")


class Draws(NamedTuple):
    """Curves of networks of one width, (seeds, angles)."""

    width: int
    before: np.ndarray
    after: np.ndarray


class Spread(NamedTuple):
    """A distribution over functions of the angle: three curves (angles,)."""

    label: str
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


class Decay(NamedTuple):
    """A quantity against width, with standard errors."""

    label: str
    values: Sequence[float]
    errors: Sequence[float]


@style.styled
def finite_width(
    angles: np.ndarray,
    kernels: Sequence[Draws],
    limit: np.ndarray,
    functions: Sequence[Spread],
    targets: tuple[np.ndarray, np.ndarray],
    widths: Sequence[int],
    errors: Sequence[Decay],
    movement: Sequence[Decay],
    title: str,
    *,
    width: float = style.WIDE,
) -> Figure:
    """Four panels: kernels, functions, errors of kernels, movement of the kernel in training.

    Args:
      angles: (angles,) in radians.
      kernels: NTKs between the point at angle 0 and the circle, narrow networks first.
      limit: (angles,) the same of the limit.
      functions: trained networks of each width, the limit last; its band is filled.
      targets: (angles, values) of the training points.
      widths: of the last two panels.
      errors: relative errors of kernels at the start.
      movement: relative changes of kernels in training.
      title: of the figure.
      width: inches.
    """
    columns = 1 if style.is_narrow(width) else 2
    figure = style.new_figure(width, 3.7 * (4 // columns) + 0.5)
    axes = figure.subplots(4 // columns, columns).ravel()
    _kernels(axes[0], angles, kernels, limit)
    _functions(axes[1], angles, functions, targets)
    _decays(axes[2], widths, errors, -0.5)
    axes[2].set_title("Error of the kernels at the start")
    axes[2].set_ylabel("relative error, Frobenius norm")
    _decays(axes[3], widths, movement, -0.5)
    axes[3].set_title("How far training moves the NTK")
    axes[3].set_ylabel("relative change, Frobenius norm")
    style.set_title(figure, title)
    return figure


def _kernels(ax: Axes, angles: np.ndarray, kernels: Sequence[Draws], limit: np.ndarray) -> None:
    handles = []
    for i, draws in enumerate(kernels):
        for curves, dash, when in ((draws.before, "-", "start"), (draws.after, "--", "trained")):
            look: dict[str, Any] = {"color": COLOURS[i], "ls": dash, "lw": 0.7}
            ax.plot(angles, curves.T, alpha=0.75, zorder=2 + i, **look)
            handles.append(Line2D([], [], label=f"width {draws.width}, {when}", **look))
    ax.plot(angles, limit, color=style.INK, lw=1.6, zorder=5)
    handles.append(Line2D([], [], color=style.INK, lw=1.6, label="limit"))
    ax.set_title("NTK between the point at angle 0 and the circle")
    ax.set_ylabel("Θ(x₀, x)")
    _circle(ax, angles)
    _legend(ax, handles)


def _functions(
    ax: Axes, angles: np.ndarray, functions: Sequence[Spread],
    targets: tuple[np.ndarray, np.ndarray],
) -> None:  # fmt: skip
    handles = []
    *finite, limit = functions
    ax.fill_between(angles, limit.low, limit.high, color=style.GRID, zorder=1)
    ax.plot(angles, limit.median, color=style.INK, lw=1.6, zorder=2)
    for i, found in enumerate(finite):
        ax.plot(angles, found.median, color=COLOURS[i], lw=1.4, zorder=3)
        for edge in (found.low, found.high):
            ax.plot(angles, edge, color=COLOURS[i], lw=0.9, ls="--", zorder=3)
        handles.append(Line2D([], [], color=COLOURS[i], lw=1.4, label=found.label))
    ax.plot(*targets, "o", color=style.HELD_OUT, ms=5, zorder=6)
    handles += [
        Line2D([], [], color=style.INK, lw=1.6, label=limit.label),
        Line2D([], [], color=style.GRID, lw=7, label="10th to 90th percentile"),
        Line2D([], [], color=style.HELD_OUT, marker="o", ms=5, ls="none", label="training points"),
    ]
    ax.set_title("Trained networks: median, 10th and 90th percentile")
    ax.set_ylabel("f(x)")
    _circle(ax, angles)
    _legend(ax, handles)


def _decays(ax: Axes, widths: Sequence[int], found: Sequence[Decay], slope: float) -> None:
    handles = []
    x = np.asarray(widths, float)
    values = np.concatenate([np.asarray(each.values, float) for each in found])
    for i, each in enumerate(found):
        look: dict[str, Any] = {"color": COLOURS[i], "marker": MARKERS[i], "ms": 4.0, "lw": 1.2}
        ax.errorbar(x, each.values, yerr=each.errors, elinewidth=0.9, capsize=1.5, **look)
        handles.append(Line2D([], [], label=each.label, **look))
    guide = 0.72 * np.min([each.values[0] for each in found]) * (x / x[0]) ** slope
    ax.plot(x, guide, color=style.MUTED, lw=0.9, ls="--", zorder=1)
    label = f"slope {slope:g}".replace("-", "−")
    handles.append(Line2D([], [], color=style.MUTED, lw=0.9, ls="--", label=label))
    ax.set_xlim(x[0] / 1.2, x[-1] * 1.2)
    ax.set_ylim(min(values.min(), guide.min()) / 1.3, values.max() * 1.3)
    style.log_axis(ax, "y", text=lambda v: f"{v:.3g}")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(ticker.FixedLocator(list(x)))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    ax.xaxis.set_minor_locator(ticker.NullLocator())
    ax.set_xlabel("width of the hidden layers")
    _legend(ax, handles)


def _circle(ax: Axes, angles: np.ndarray) -> None:
    ax.set_xlim(float(angles[0]), float(angles[-1]))
    ax.set_xticks([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], ["−π", "−π/2", "0", "π/2", "π"])
    ax.set_xlabel("angle on the circle (radians)")


def _legend(ax: Axes, handles: Sequence[Line2D]) -> None:
    ax.legend(
        handles=list(handles), loc="upper left", bbox_to_anchor=(-0.02, -0.17), ncols=2,
        handlelength=2.4, borderaxespad=0.0,
    )  # fmt: skip
