"""The fitted law against tokens, one curve a model size, with the held-out prediction."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from farwide.plotting import style
from farwide.plotting.data import HeldOut, Points, band
from theory import scaling


@style.styled
def fitted_law(
    points: Points,
    law: scaling.Fit,
    held_out: HeldOut | None = None,
    *,
    width: float = style.WIDE,
) -> Figure:
    """L(N, D) of the fit for every size, its 95% bootstrap band, and the observed final losses.

    Args:
        points: the fitted runs.
        law: the fit.
        held_out: the run kept out: its prediction interval is the orange bar, its outcome the
            orange diamond. Tokens beyond the fitted runs are shaded.
        width: of the figure, inches.

    Returns:
        The figure.
    """
    narrow = style.is_narrow(width)
    figure = style.new_figure(width, 4.9 if not narrow else 4.6)
    ax = figure.subplots()
    colours = style.size_colours(points.N)
    beyond = [held_out.D] if held_out is not None else []
    first, last = min(points.D) / 1.35, max([*points.D, *beyond]) * 1.35
    D = np.geomspace(first, last, 80)
    ends: list[tuple[float, str, tuple | str]] = []
    lowest, highest = [*points.loss], [*points.loss]
    for n, colour in colours.items():
        curve = np.asarray(law.predict({"N": np.full_like(D, n), "D": D}))
        low_high = band(law, n, D)
        if low_high is not None:
            ax.fill_between(D, *low_high, color=colour, alpha=0.12, lw=0, zorder=1)
        ax.plot(D, curve, color=colour, lw=1.3, zorder=3)
        own = points.N == n
        ax.plot(
            points.D[own], points.loss[own], "o", color=colour, ms=5, mec="white", mew=0.7, zorder=4
        )
        ends.append((float(curve[-1]), style.si(n), colour))
        lowest.append(float(curve[-1]))
        highest.append(float(curve[0]))
    if held_out is not None:
        curve = np.asarray(law.predict({"N": np.full_like(D, held_out.N), "D": D}))
        ax.plot(D, curve, "--", color=style.HELD_OUT, lw=1.3, zorder=3)
        ends.append((float(curve[-1]), style.si(held_out.N), style.HELD_OUT))
        lowest += [v for v in (curve[-1], held_out.low, held_out.observed) if v is not None]
        highest += [v for v in (held_out.high, held_out.observed) if v is not None]
        draw_held_out(ax, held_out, held_out.D)
    ax.set_xlim(first, last)
    ax.set_ylim(min(lowest) * 0.97, max(highest) * 1.02)
    edge = max(points.D)
    if last > edge * 1.5:
        shade_beyond(ax, edge * 1.08, last)
    style.log_axis(ax, "x")
    style.loss_axis(ax)
    ax.set_xlabel("training tokens D (bytes)")
    _label_ends(figure, ax, ends)
    handles: list = [
        Line2D([], [], color=style.MUTED, marker="o", ls="", ms=5, label="observed"),
        Line2D([], [], color=style.MUTED, label="law fitted to the dots"),
    ]
    if band(law, points.N[:1], points.D[:1]) is not None:
        handles.append(Patch(color=style.MUTED, alpha=0.2, lw=0, label="95% band of the law"))
    if held_out is not None:
        handles += held_out_handles(held_out)
    style.size_key(figure, handles, 2 if narrow else 3)
    style.set_title(figure, _title(points, law))
    return figure


def _title(points: Points, law: scaling.Fit) -> str:
    residuals = np.abs(np.asarray(law.residuals))
    typical, largest = 100 * float(np.median(residuals)), 100 * float(residuals.max())
    return (
        f"One law follows {len(points.run)} runs to {style.significant(typical)}% "
        f"(median; the worst is off by {style.significant(largest)}%)"
    )


def draw_held_out(ax: Axes, held_out: HeldOut, x: float) -> None:
    """The prediction interval as a bar, the prediction as a tick, the outcome as a diamond."""
    if held_out.low is not None and held_out.high is not None:
        ax.plot(
            [x, x], [held_out.low, held_out.high], color=style.HELD_OUT, lw=7, alpha=0.3,
            solid_capstyle="butt", zorder=4,
        )  # fmt: skip
    if held_out.predicted is not None:
        ax.plot(x, held_out.predicted, "_", color=style.HELD_OUT, ms=11, mew=1.8, zorder=5)
    if held_out.observed is not None:
        ax.plot(
            x, held_out.observed, "D", color=style.HELD_OUT, ms=6, mec="white", mew=0.9, zorder=6
        )


def held_out_handles(held_out: HeldOut) -> list:
    """Legend entries of what `draw_held_out` draws."""
    handles: list = []
    if held_out.low is not None:
        label = f"held out: {100 * held_out.level:g}% prediction interval"
        handles.append(Patch(color=style.HELD_OUT, alpha=0.3, lw=0, label=label))
    if held_out.observed is not None:
        handles.append(
            Line2D(
                [], [], color=style.HELD_OUT, marker="D", ls="", ms=6, label="held out: observed"
            )
        )
    return handles


def shade_beyond(ax: Axes, start: float, end: float) -> None:
    """Shade what lies beyond the fitted runs and name it."""
    ax.axvspan(start, end, color=style.SHADE, lw=0, zorder=0)
    ax.annotate(
        "extrapolation", (end, 1.0), xycoords=("data", "axes fraction"), xytext=(-4, -4),
        textcoords="offset points", va="top", ha="right", color=style.MUTED, fontsize=8,
    )  # fmt: skip


def _label_ends(figure: Figure, ax: Axes, ends: list[tuple[float, str, tuple | str]]) -> None:
    """Write N at the right end of each curve, moved apart where they would overlap."""
    low, high = np.log(ax.get_ylim())
    places = [(np.log(value) - low) / (high - low) for value, _, _ in ends]
    gap = 0.165 / (figure.get_figheight() * 0.74)  # a line of 8 point text, in axes heights
    for i, (place, target, (_, text, colour)) in enumerate(
        zip(style.spread(places, gap, 0.0, 1.0), places, ends, strict=True)
    ):
        label = text if i else f"N = {text}"
        ax.annotate(
            label, (1.0, target), xycoords="axes fraction", xytext=(1.035, place),
            textcoords="axes fraction", color=colour, fontsize=8, fontweight="bold", va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip
