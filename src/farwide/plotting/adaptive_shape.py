"""Loss against compute of fixed shapes, and of a run that changes its shape on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from farwide.plotting import style


class ShapeCurve(NamedTuple):
    """A run, or the mean of several.

    Attributes:
      label: of the shape.
      compute: (points,) FLOPs.
      loss: (points,) nats.
      law: the fitted law, FLOPs (n,) to nats (n,); None where there is none.
    """

    label: str
    compute: Sequence[float]
    loss: Sequence[float]
    law: Callable[[np.ndarray], np.ndarray] | None = None


@style.styled
def adaptive_shape(
    fixed: Sequence[ShapeCurve],
    adaptive: ShapeCurve,
    switches: Sequence[tuple[float, str]],
    title: str,
    *,
    width: float = style.WIDE,
) -> Figure:
    """Loss against FLOPs, both logarithmic: fixed shapes, their laws dashed, and the adaptive run.

    Args:
      fixed: the fixed shapes, coarse to fine.
      adaptive: the run that changes its shape.
      switches: (FLOPs, label of the shape that begins there).
      title: of the figure.
      width: inches.

    Raises:
      ValueError: fixed is empty.
    """
    if not fixed:
        raise ValueError("fixed is empty; accepted is at least one curve")
    figure = style.new_figure(width, 4.6)
    ax = figure.subplots()
    colours = style.size_colours(list(range(1, len(fixed) + 1)))
    for number, curve in enumerate(fixed, 1):
        colour = colours[number]
        ax.plot(curve.compute, curve.loss, "o-", color=colour, ms=3, lw=0.9, label=curve.label)
        if curve.law is not None:
            C = np.geomspace(min(curve.compute), max(curve.compute), 100)
            ax.plot(C, curve.law(C), color=colour, lw=1.1, ls=(0, (4, 2)))
    ax.plot(
        adaptive.compute, adaptive.loss, "D-", color=style.HELD_OUT, ms=3.5, lw=1.6, zorder=4,
        label=adaptive.label,
    )  # fmt: skip
    for compute, label in switches:
        ax.axvline(compute, color=style.MUTED, lw=0.9, ls=(0, (3, 2)), zorder=1)
        ax.text(
            compute, 0.99, f" to {label}", transform=ax.get_xaxis_transform(), va="top",
            rotation=90, ha="right", fontsize=7.5, color=style.MUTED,
        )  # fmt: skip
    losses = np.concatenate([np.asarray(c.loss, float) for c in (*fixed, adaptive)])
    ax.set_ylim(losses.min() * 0.95, losses.max() * 1.05)
    style.log_axis(ax, "x", text=style.power_of_ten)
    style.loss_axis(ax, "validation loss (nats)")
    ax.set_xlabel("training compute (FLOPs)")
    ax.legend(loc="upper right")
    style.set_title(figure, title)
    return figure
