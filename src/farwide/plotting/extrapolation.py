"""Prediction against outcome: fitted runs in black, the held-out run in orange."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from farwide.plotting import style
from farwide.plotting.data import HeldOut, Points, has_bootstrap
from farwide.plotting.fitted_law import shade_beyond
from theory import scaling


@style.styled
def extrapolation(
    points: Points,
    law: scaling.Fit,
    held_out: HeldOut | None = None,
    *,
    noise: float = 0.0,
    noise_df: int | None = None,
    width: float = style.WIDE,
) -> Figure:
    """Observed against predicted loss, and their ratio along compute.

    Left: one dot a run on the diagonal if the law were exact. Right: observed / predicted - 1 in
    percent against C = 6 N D; the grey bars are each run's own 95% prediction interval, the
    orange bar the held-out run's.

    Args:
        points: the fitted runs.
        law: the fit.
        held_out: the run kept out of the fit.
        noise: standard deviation of one run's log loss; widens the bars.
        noise_df: degrees of freedom of `noise`, for Student t draws.
        width: of the figure, inches.

    Returns:
        The figure.
    """
    narrow = style.is_narrow(width)
    figure = style.new_figure(width, 3.9 if not narrow else 6.9)
    shape = (2, 1) if narrow else (1, 2)
    ratios: Any = {"height_ratios": [1, 1]} if narrow else {"width_ratios": [1, 1.25]}
    left, right = figure.subplots(*shape, **ratios)
    predicted = np.asarray(law.predict({"N": points.N, "D": points.D}))
    _diagonal(left, points, predicted, held_out)
    bars = _ratio(right, points, predicted, law, held_out, noise, noise_df)
    handles: list[Any] = [
        Line2D([], [], color=style.INK, marker="o", ls="", ms=4, label="fitted runs")
    ]
    if bars:
        handles.append(Patch(color=style.FAINT, lw=0, label="their 95% prediction intervals"))
    if held_out is not None and held_out.predicted is not None:
        level = f"its {100 * held_out.level:g}% prediction interval"
        waiting = held_out.observed is None
        name = "held-out run" + (", not measured yet" if waiting else "")
        fill = "white" if waiting else style.HELD_OUT
        handles += [
            Line2D([], [], color=style.HELD_OUT, mfc=fill, marker="D", ls="", ms=6, label=name),
            Patch(color=style.HELD_OUT, alpha=0.3, lw=0, label=level),
        ]
    style.size_key(figure, handles, 1 if narrow else 4)
    style.set_title(figure, _title(law, held_out))
    return figure


def _title(law: scaling.Fit, held_out: HeldOut | None) -> str:
    rmsle = style.significant(100 * float(np.sqrt(np.mean(np.square(law.residuals)))))
    if held_out is None or held_out.predicted is None:
        return f"The law describes the runs it was fitted to with an RMSLE of {rmsle}%"
    error = held_out.relative_error
    if error is None:
        return f"The held-out loss is predicted at {held_out.predicted:.3f}; not measured yet"
    side = "inside" if held_out.inside else "outside"
    sign = "+" if error > 0 else ""
    return (
        f"Held-out run: relative error {sign}{style.significant(100 * error)}%, {side} the "
        f"interval (RMSLE of the fitted runs {rmsle}%)"
    )


def _diagonal(ax, points: Points, predicted: np.ndarray, held_out: HeldOut | None) -> None:
    every = [*points.loss, *predicted]
    ax.plot(predicted, points.loss, "o", color=style.INK, ms=4.2, mec="white", mew=0.5, zorder=3)
    if held_out is not None and held_out.predicted is not None:
        y = held_out.observed if held_out.observed is not None else held_out.predicted
        every += [v for v in (held_out.low, held_out.high, y) if v is not None]
        if held_out.low is not None and held_out.high is not None:
            ax.plot(
                [held_out.low, held_out.high], [y, y], color=style.HELD_OUT, lw=5, alpha=0.3,
                solid_capstyle="butt", zorder=3,
            )  # fmt: skip
        fill = style.HELD_OUT if held_out.observed is not None else "white"
        edge = "white" if held_out.observed is not None else style.HELD_OUT
        ax.plot(held_out.predicted, y, "D", mfc=fill, mec=edge, ms=6.5, mew=1.0, zorder=4)
    low, high = min(every) * 0.97, max(every) * 1.03
    ax.plot([low, high], [low, high], color=style.MUTED, lw=0.9, zorder=1)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    style.loss_ticks(ax, "x", ticks=6)
    style.loss_axis(ax, "observed loss (nats per byte)")
    ax.set_xlabel("predicted loss (nats per byte)")


def _ratio(ax, points, predicted, law, held_out, noise, noise_df) -> bool:
    percent = 100 * (points.loss / predicted - 1)
    every = [*percent, 0.0]
    ax.axhline(0, color=style.MUTED, lw=0.9, zorder=1)
    bars = has_bootstrap(law)
    if bars:
        interval = law.interval({"N": points.N, "D": points.D}, noise=noise, noise_df=noise_df)
        low, high = (100 * (np.asarray(side) / predicted - 1) for side in interval)
        ax.vlines(points.C, low, high, color=style.FAINT, lw=4, alpha=0.6, zorder=1)
        every += [*low, *high]
    ax.plot(points.C, percent, "o", color=style.INK, ms=4.2, mec="white", mew=0.5, zorder=3)
    last = max(points.C)
    ax.set_xlim(min(points.C) / 1.6, last * 1.6)
    if held_out is not None and held_out.predicted is not None:
        ax.set_xlim(min(points.C) / 1.6, max(last * 1.6, held_out.C * 1.6))
        if held_out.low is not None and held_out.high is not None:
            sides = [100 * (v / held_out.predicted - 1) for v in (held_out.low, held_out.high)]
            every += sides
            ax.vlines(held_out.C, *sides, color=style.HELD_OUT, lw=5, alpha=0.3, zorder=2)
        if held_out.observed is not None:
            y = 100 * (held_out.observed / held_out.predicted - 1)
            every.append(y)
            ax.plot(
                held_out.C, y, "D", color=style.HELD_OUT, ms=6.5, mec="white", mew=0.9, zorder=4
            )
        if held_out.C > last * 1.3:
            shade_beyond(ax, last * 1.25, ax.get_xlim()[1])
    margin = 0.12 * (max(every) - min(every) or 1.0)
    ax.set_ylim(min(every) - margin, max(every) + 2 * margin)
    style.log_axis(ax, "x", text=style.power_of_ten, ticks=4)
    ax.set_xlabel("training compute C = 6ND (FLOPs)")
    ax.set_ylabel("observed / predicted − 1 (%)")
    return bars
