"""Reliability diagrams: how often predictions of a stated confidence are right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from farwide.calibration import Reliability
from farwide.plotting import style

COLOURS = (style.ACCENT, "#c2571a")
LEAST = 15  # examples of a point


@style.styled
def reliability_diagrams(
    panels: Mapping[str, Mapping[str, Reliability]],
    errors: Mapping[str, Mapping[str, float]],
    *,
    width: float = style.WIDE,
) -> Figure:
    """Accuracy against confidence, a panel for each data set and network, a line for each kernel.

    Args:
      panels: panel title -> label -> the points. Neighbouring bins are joined until each
        point stands for 15 examples; bars are 95% intervals of the accuracy (Wilson 1927).
      errors: the same keys -> expected calibration error, for the labels.
      width: of the figure, inches.
    """
    columns = 2 if style.is_narrow(width) else min(4, len(panels))
    rows = -(-len(panels) // columns)
    side = width / columns
    figure = style.new_figure(width, rows * (side * 1.08 + 0.15) + 0.55)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for i, (ax, (title, lines)) in enumerate(zip(axes.flat, panels.items(), strict=False)):
        ax.plot([0, 1], [0, 1], color=style.FAINT, lw=1.0, zorder=1)
        for colour, points in zip(COLOURS, lines.values(), strict=False):
            n, x, y = joined(points)
            low, high = wilson(y, n)
            ax.errorbar(
                x,
                y,
                yerr=(y - low, high - y),
                color=colour,
                marker="o",
                ms=3.6,
                lw=1.2,
                elinewidth=0.8,
                zorder=3,
            )
        handles = [
            Line2D(
                [], [], color=c, marker="o", ms=3.6, label=f"{n}, ECE {100 * errors[title][n]:.1f}%"
            )
            for c, n in zip(COLOURS, lines, strict=False)
        ]
        ax.legend(handles=handles, loc="lower right", borderaxespad=0.2, handlelength=1.0)
        ax.set_title(title)
        ax.set_xlim(0, 1.03)
        ax.set_ylim(0, 1.03)
        ax.set_aspect("equal")
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        if i % columns == 0:
            ax.set_ylabel("share that is right")
        if i + columns >= len(panels):
            ax.set_xlabel("confidence")
            ax.tick_params(labelbottom=True)
    worst = max(value for each in errors.values() for value in each.values())
    style.set_title(
        figure, f"Stated confidence against accuracy on test images: ECE at most {100 * worst:.1f}%"
    )
    return figure


def joined(points: Reliability) -> Reliability:
    """Neighbouring bins as one until each has `LEAST` examples, or there is one alone."""
    filled = points.count > 0
    sums = np.stack([np.ones_like(points.confidence), points.confidence, points.accuracy], 1)
    sums = (sums * points.count[:, None])[filled]  # (bins, 3): examples, confidence, right ones
    kept: list[np.ndarray] = []
    for row in sums:
        if kept and kept[-1][0] < LEAST:
            kept[-1] = kept[-1] + row
        else:
            kept.append(row)
    if len(kept) > 1 and kept[-1][0] < LEAST:
        last = kept.pop()
        kept[-1] = kept[-1] + last
    count, confidence, right = np.array(kept).T
    return Reliability(count, confidence / count, right / count)


def wilson(share: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a 95% interval of a share of `count` examples, inside [0, 1] and never empty."""
    centre = share + z**2 / (2 * count)
    spread = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return (
        np.clip((centre - spread) / scale, 0, share),
        np.clip((centre + spread) / scale, share, 1),
    )
