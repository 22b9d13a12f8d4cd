"""How many tokens a parameter should see, against compute."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from farwide.plotting import style
from farwide.plotting.data import HeldOut, Points, ratio_quantiles
from farwide.plotting.fitted_law import shade_beyond
from theory import scaling

CHINCHILLA = 20.0  # tokens a parameter (Hoffmann et al. 2022, table 3, for words pieces)


@style.styled
def tokens_per_parameter(
    points: Points,
    law: scaling.Fit,
    held_out: HeldOut | None = None,
    *,
    width: float = style.WIDE,
) -> Figure:
    """D*/N* of the fitted law along C, with its 95% bootstrap band and the runs' own D/N.

    With C = 6 N D, D*(C)/N*(C) = G^-2 (C/6)^((alpha - beta)/(alpha + beta)),
    G = (alpha A / (beta B))^(1/(alpha + beta)) (Hoffmann et al. 2022, equation 4).

    Args:
        points: the fitted runs.
        law: the fit.
        held_out: the run kept out of the fit.
        width: of the figure, inches.

    Returns:
        The figure.

    Raises:
        ValueError: the law has switched a term off, so that no split is best.
    """
    narrow = style.is_narrow(width)
    figure = style.new_figure(width, 4.0 if not narrow else 3.9)
    ax = figure.subplots()
    edge = max(points.C)
    last = max(edge * 10, held_out.C * 2 if held_out is not None else 0.0)
    C = np.geomspace(min(points.C) / 1.5, last, 60)
    best = scaling.frontier(law.params, C)
    ratio = np.asarray(best.D) / np.asarray(best.N)
    handles: list = [Line2D([], [], color=style.ACCENT, lw=1.6, label="optimal D/N of the law")]
    every = [*ratio, CHINCHILLA, *(points.D / points.N)]
    if (band := ratio_quantiles(law, C)) is not None:
        low, high = (np.clip(side, ratio / 1e4, ratio * 1e4) for side in band)
        ax.fill_between(C, low, high, color=style.BAND, alpha=0.55, lw=0, zorder=1)
        handles.append(Patch(color=style.BAND, alpha=0.55, lw=0, label="95% band"))
        every += [*low, *high]
    ax.plot(C, ratio, color=style.ACCENT, lw=1.6, zorder=3)
    ax.plot(points.C, points.D / points.N, "o", color=style.INK, ms=3.6, mec="white", mew=0.5)
    handles.append(Line2D([], [], color=style.INK, marker="o", ls="", ms=3.6, label="fitted runs"))
    if held_out is not None:
        ax.plot(
            held_out.C, held_out.D / held_out.N, "D", color=style.HELD_OUT, ms=6, mec="white",
            mew=0.8, zorder=4,
        )  # fmt: skip
        handles.append(
            Line2D([], [], color=style.HELD_OUT, marker="D", ls="", ms=6, label="held-out run")
        )
        every.append(held_out.D / held_out.N)
    ax.axhline(CHINCHILLA, color=style.MUTED, lw=0.9, ls=(0, (4, 3)), zorder=2)
    ax.annotate(
        "20", (0.0, CHINCHILLA), xycoords=("axes fraction", "data"), xytext=(4, 3),
        textcoords="offset points", color=style.MUTED, fontsize=8,
    )  # fmt: skip
    handles.append(
        Line2D([], [], color=style.MUTED, ls="--", lw=0.9, label="20, Chinchilla (word pieces)")
    )
    middle = np.median(np.log10(ratio))
    finite = np.clip(np.log10(every), middle - 4, middle + 4)
    ax.set_xlim(C[0], C[-1])
    ax.set_ylim(10 ** (finite.min() - 0.12), 10 ** (finite.max() + 0.12))
    shade_beyond(ax, edge * 1.15, C[-1])
    style.log_axis(ax, "x", text=style.power_of_ten)
    style.log_axis(ax, "y")
    ax.set_xlabel("training compute C = 6ND (FLOPs)")
    ax.set_ylabel("tokens per parameter D/N (bytes)")
    style.size_key(figure, handles, 2 if narrow else len(handles))
    style.set_title(figure, _title(law, edge))
    return figure


def _title(law: scaling.Fit, edge: float) -> str:
    C = np.array([edge])
    best = scaling.frontier(law.params, C)
    start = f"At {style.power_of_ten(edge)} FLOPs"
    ratio = style.si(float(best.D[0] / best.N[0]))
    band = ratio_quantiles(law, C)
    if band is None:
        return f"{start}, {ratio} tokens a parameter are optimal"
    low, high = float(band[0][0]), float(band[1][0])
    if not (low > 0 and high / low < 100):
        return (
            f"The runs do not pin down the optimal tokens per parameter ({start.lower()}: {ratio})"
        )
    return (
        f"{start}, {ratio} tokens a parameter are optimal "
        f"(95%: {style.si(low)} to {style.si(high)})"
    )
