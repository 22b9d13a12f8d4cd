"""Loss against learning rate at several widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from farwide.plotting import style


class RateCurve(NamedTuple):
    """One width.

    Attributes:
      width: of the model.
      log2_rates: (points,) of the learning rates.
      losses: (points,) nats, mean over seeds; what is not finite is left out.
      log2_best, log2_best_error: the optimum and its standard error.
      best_loss: height at which it is marked.
    """

    width: int
    log2_rates: Sequence[float]
    losses: Sequence[float]
    log2_best: float
    log2_best_error: float
    best_loss: float


@style.styled
def learning_rate_transfer(
    panels: Mapping[str, Sequence[RateCurve]], title: str, *, width: float = style.WIDE
) -> Figure:
    """A panel for each model and parametrisation; optima marked with bars of one standard error.

    The vertical axis ends at twice the range between the best and the worst optimum, or a third
    above the best loss: curves that blow up leave the panel.

    Args:
      panels: title of a panel -> its curves, one a width.
      title: of the figure.
      width: inches.

    Raises:
      ValueError: no panel, or one without a curve.
    """
    if not panels or any(not curves for curves in panels.values()):
        raise ValueError("learning_rate_transfer needs panels, and each of them a curve")
    columns = 1 if style.is_narrow(width) else min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(width, 3.2 * rows + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, (name, curves) in zip(axes, panels.items(), strict=False):
        colours = style.size_colours([curve.width for curve in curves])
        handles = []
        for curve in curves:
            colour = colours[curve.width]
            y = np.asarray(curve.losses, float)
            ax.plot(
                curve.log2_rates, np.where(np.isfinite(y), y, np.nan), color=colour, marker="o",
                ms=2.5, lw=1.3,
            )  # fmt: skip
            ax.errorbar(
                curve.log2_best, curve.best_loss, xerr=curve.log2_best_error, color=colour,
                marker="D", ms=5.5, mec=style.INK, mew=0.7, elinewidth=1.1, capsize=2, zorder=4,
            )  # fmt: skip
            handles.append(Line2D([], [], color=colour, lw=1.6, label=f"width {curve.width}"))
        best = [curve.best_loss for curve in curves]
        top = max(max(best) + (max(best) - min(best)), min(best) * 1.33)
        ax.set_ylim(min(best) - 0.06 * (top - min(best)), top)
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"$2^{{{v:.0f}}}$"))
        ax.set_title(name)
        ax.set_xlabel("learning rate at the smallest width")
        ax.set_ylabel("loss (nats)")
        handles.append(
            Line2D([], [], color=style.MUTED, marker="D", mec=style.INK, ls="none", label="optimum")
        )
        ax.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(-0.02, -0.19), ncols=4,
            borderaxespad=0.0,
        )  # fmt: skip
    style.set_title(figure, title)
    return figure
