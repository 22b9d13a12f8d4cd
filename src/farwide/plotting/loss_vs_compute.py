"""Loss against training compute, with the compute-optimal frontier of the fitted law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from farwide.plotting import style
from farwide.plotting.data import (
    FLOPS_PER_PARAMETER_TOKEN,
    Curve,
    HeldOut,
    Points,
    frontier_quantiles,
    has_bootstrap,
    has_frontier,
)
from theory import scaling


@style.styled
def loss_vs_compute(
    curves: Sequence[Curve],
    points: Points | None = None,
    law: scaling.Fit | None = None,
    held_out: HeldOut | None = None,
    *,
    parameters: str = "non-embedding",
    width: float = style.WIDE,
) -> Figure:
    """Validation loss of every run along its compute C = 6 N D, both axes logarithmic.

    Args:
        curves: the runs, drawn as thin lines coloured by size.
        points: the fitted runs, drawn as dots.
        law: the fit, whose frontier min over N D = C/6 of L(N, D) is dashed (Hoffmann et al. 2022,
            equation 4), with the 95% band of its bootstrap.
        held_out: the run kept out of the fit; a ring where its outcome is not known yet.
        parameters: what N counts, for the key.
        width: of the figure, inches.

    Returns:
        The figure.

    Raises:
        ValueError: no run has a validation loss.
    """
    drawn = [c for c in curves if len(c.validated()[0])]
    if not drawn:
        raise ValueError("curves holds no run with a validation loss; at least one is needed")
    narrow = style.is_narrow(width)
    colours = style.size_colours([c.N for c in drawn if not c.held_out])
    figure = style.new_figure(width, 4.6 if not narrow else 4.4)
    ax = figure.subplots()
    ends = []
    for c in drawn:
        tokens, loss = c.validated()
        colour = style.HELD_OUT if c.held_out else colours[c.N]
        compute = FLOPS_PER_PARAMETER_TOKEN * c.N * tokens
        ax.plot(compute, loss, color=colour, lw=1.0, alpha=0.65, zorder=3 if c.held_out else 2)
        ends.append((compute[0], compute[-1], loss[0], loss[-1]))
    if points is not None:
        for n, d, loss in zip(points.N, points.D, points.loss, strict=True):
            colour = colours.get(float(n), style.INK)
            compute = FLOPS_PER_PARAMETER_TOKEN * n * d
            ax.plot(compute, loss, "o", color=colour, ms=4.2, mec="white", mew=0.6, zorder=4)
    first, last = min(e[0] for e in ends), max(e[1] for e in ends)
    lowest, highest = min(e[3] for e in ends), max(e[2] for e in ends)
    if held_out is not None:
        last = max(last, held_out.C)
        lowest = min(v for v in (lowest, held_out.low, held_out.observed) if v is not None)
        _held_out(ax, held_out)
    ax.set_xlim(first * 0.8, last * 2.0)
    ax.set_ylim(lowest * 0.94, min(highest, 6.0) * 1.03)
    handles = []
    if law is not None and points is not None and has_frontier(law):
        C = np.geomspace(min(points.C) / 2, last * 2.0, 80)
        ax.plot(C, scaling.frontier(law.params, C).loss, "--", color=style.INK, lw=1.3, zorder=5)
        label = "compute-optimal frontier"
        if (ends_of_band := frontier_quantiles(law, C)) is not None:
            low, high = (side.loss for side in ends_of_band)
            ax.fill_between(
                C, low, np.minimum(high, 20.0), color=style.INK, alpha=0.10, lw=0, zorder=1
            )
            label += ", 95% band"
        handles.append(Line2D([], [], color=style.INK, ls="--", lw=1.3, label=label))
    style.log_axis(ax, "x", text=style.power_of_ten)
    style.loss_axis(ax)
    ax.set_xlabel("training compute C = 6ND (FLOPs)")
    sizes = [
        Line2D([], [], color=colour, marker="o", ms=4, lw=1.2, label=f"N = {style.si(n)}")
        for n, colour in colours.items()
    ]
    if held_out is not None or any(c.held_out for c in drawn):
        n = held_out.N if held_out is not None else next(c.N for c in drawn if c.held_out)
        label = f"held out, N = {style.si(n)}"
        sizes.append(Line2D([], [], color=style.HELD_OUT, marker="D", ms=5, lw=1.2, label=label))
    columns = 2 if narrow else min(5, len(sizes + handles))
    style.size_key(figure, sizes + handles, columns)
    style.set_title(figure, _title(law, points, parameters))
    return figure


def _held_out(ax, held_out: HeldOut) -> None:
    if held_out.low is not None and held_out.high is not None:
        ax.plot(
            [held_out.C] * 2, [held_out.low, held_out.high], color=style.HELD_OUT, lw=5, alpha=0.3,
            solid_capstyle="butt", zorder=5,
        )  # fmt: skip
    if held_out.observed is not None:
        ax.plot(
            held_out.C, held_out.observed, "D", color=style.HELD_OUT, ms=6, mec="white", mew=0.8,
            zorder=6,
        )  # fmt: skip
    elif held_out.predicted is not None:
        ax.plot(
            held_out.C, held_out.predicted, "D", mfc="white", mec=style.HELD_OUT, ms=6, mew=1.3,
            zorder=6,
        )  # fmt: skip


def _title(law: scaling.Fit | None, points: Points | None, parameters: str) -> str:
    question = f"Which size is best for a compute budget? (N counts {parameters} parameters)"
    if law is None or points is None or not has_frontier(law):
        return question
    last = float(max(points.C))

    def gain(params) -> np.ndarray:
        loss = scaling.frontier(params, np.array([last / 10, last])).loss
        return 100 * (1 - loss[..., 1] / loss[..., 0])

    band = ""
    if law.bootstrap is not None and has_bootstrap(law):
        usable = np.all([law.bootstrap[n] > 0 for n in ("A", "B", "alpha", "beta")], axis=0)
        if usable.mean() < 0.95:
            return question
        replicates = gain({n: v[usable][:, None] for n, v in law.bootstrap.items()})
        low, high = np.quantile(replicates, [0.025, 0.975])
        band = f" (95%: {style.significant(low)} to {style.significant(high)}%)"
    percent = style.significant(float(gain(law.params)))
    return f"Ten times the compute, well spent, lowers the loss by {percent}%{band}"
