"""Residuals of the fit against everything that a run varies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import stats

from farwide.plotting import style
from farwide.plotting.data import HeldOut, Points
from theory import scaling


class Trend(NamedTuple):
    """A straight line through the residuals against log10 of one quantity."""

    name: str  # N, D, C or D/N
    slope: float  # percent of the loss a factor of 10
    p: float  # two-sided p value of slope = 0


def axes_of(points: Points) -> dict[str, np.ndarray]:
    """N, D, C = 6 N D and D/N of the fitted runs."""
    return {"N": points.N, "D": points.D, "C": points.C, "D/N": points.D / points.N}


def trends(points: Points, law: scaling.Fit) -> list[Trend]:
    """The least-squares slope of the residuals along N, D, C and D/N, where it can be had.

    A quantity with fewer than 3 distinct values gives none. With four looks at the same residuals,
    p is multiplied by 4 (Bonferroni), at most 1.
    """
    return slopes(axes_of(points), np.asarray(law.residuals))


def slopes(axes: Mapping[str, np.ndarray], residuals: np.ndarray) -> list[Trend]:
    """`trends` along any quantities; p is multiplied by their number."""
    found = []
    for name, values in axes.items():
        if len(np.unique(values)) >= 3 and len(values) >= 4:
            line: Any = stats.linregress(np.log10(values), 100 * residuals)
            p = min(1.0, len(axes) * float(line.pvalue))
            found.append(Trend(name, float(line.slope), p))
    return found


@style.styled
def residuals(
    points: Points,
    law: scaling.Fit,
    held_out: HeldOut | None = None,
    *,
    seed_noise: float | None = None,
    parameters: str = "non-embedding",
    width: float = style.WIDE,
) -> Figure:
    """log(observed / predicted) in percent against N, D, C and D/N.

    Args:
        points: the fitted runs.
        law: the fit; its residuals are in the order of `points`.
        held_out: drawn as an orange diamond once measured; it is no part of the fit.
        seed_noise: standard deviation of the log loss between seeds; the shaded band is twice it.
        parameters: what N counts, for the label.
        width: of the figure, inches.

    Returns:
        The figure.
    """
    narrow = style.is_narrow(width)
    figure = style.new_figure(width, 4.9 if not narrow else 5.2)
    axes = figure.subplots(2, 2, sharey=True)
    percent = 100 * np.asarray(law.residuals)
    colours = style.size_colours(points.N)
    extra = dict[str, float]()
    if held_out is not None and held_out.relative_error is not None:
        extra = {
            "N": held_out.N,
            "D": held_out.D,
            "C": held_out.C,
            "D/N": held_out.D / held_out.N,
        }
        assert held_out.observed is not None
        assert held_out.predicted is not None
        outcome = 100 * math.log(held_out.observed / held_out.predicted)
    else:
        outcome = 0.0
    labels = {
        "N": f"{parameters} parameters N",
        "D": "training tokens D (bytes)",
        "C": "training compute C = 6ND (FLOPs)",
        "D/N": "tokens per parameter D/N",
    }
    if narrow:
        labels |= {"N": "parameters N", "D": "tokens D (bytes)", "C": "C = 6ND (FLOPs)"}
        labels["D/N"] = "tokens per parameter"
    for ax, (name, values) in zip(axes.flat, axes_of(points).items(), strict=True):
        if seed_noise is not None:
            ax.axhspan(-200 * seed_noise, 200 * seed_noise, color=style.BAND, alpha=0.4, lw=0)
        ax.axhline(0, color=style.MUTED, lw=0.9, zorder=1)
        for n, colour in colours.items():
            own = points.N == n
            ax.plot(
                values[own], percent[own], "o", color=colour, ms=4.6, mec="white", mew=0.6, zorder=3
            )
        if extra:
            ax.plot(
                extra[name],
                outcome,
                "D",
                color=style.HELD_OUT,
                ms=6,
                mec="white",
                mew=0.8,
                zorder=4,
            )
        shown = np.array([*values, *([extra[name]] if extra else [])])
        low, high = float(shown.min()), float(shown.max())
        pad = max((high / low) ** 0.07, 1.12)
        ax.set_xlim(low / pad, high * pad)
        style.log_axis(
            ax, "x", text=style.power_of_ten if name == "C" else style.si, ticks=3 if narrow else 4
        )
        ax.set_xlabel(labels[name])
    every = [*percent, outcome, 0.0]
    if seed_noise is not None:
        every += [-220 * seed_noise, 220 * seed_noise]
    margin = 0.08 * (max(every) - min(every) or 1.0)
    axes.flat[0].set_ylim(min(every) - margin, max(every) + margin)
    figure.supylabel("residual: log(observed / predicted) (%)", fontsize=9)
    style.size_key(
        figure,
        _handles(colours, seed_noise, bool(extra)),
        2 if narrow else min(5, len(colours) + 2),
    )
    style.set_title(figure, _title(points, law, seed_noise))
    return figure


def _handles(colours: dict, seed_noise: float | None, held_out: bool) -> list:
    handles: list = [
        Line2D([], [], color=colour, marker="o", ls="", ms=4.6, label=f"N = {style.si(n)}")
        for n, colour in colours.items()
    ]
    if held_out:
        handles.append(Line2D([], [], color=style.HELD_OUT, marker="D", ls="", label="held out"))
    if seed_noise is not None:
        label = f"seed noise (±2 × {style.significant(100 * seed_noise)}%)"
        handles.append(Patch(color=style.BAND, alpha=0.5, lw=0, label=label))
    return handles


def _title(points: Points, law: scaling.Fit, seed_noise: float | None) -> str:
    scatter = 100 * float(np.sqrt(np.mean(np.square(law.residuals))))
    found = [t for t in trends(points, law) if t.p < 0.05]
    drift = "no trend found in N, D, C or D/N"
    if found:
        drift = "they drift with " + ", ".join(
            f"{t.name} ({style.significant(t.slope)}% a factor of 10)" for t in found
        )
    return f"Residuals scatter by {style.significant(scatter)}% (RMS): {drift}"
