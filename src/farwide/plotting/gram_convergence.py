"""How fast the Gram matrices of finite networks approach those of their limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from farwide.plotting import style


@style.styled
def gram_convergence(
    widths: Sequence[int],
    error: Sequence[float],
    spread: Sequence[float],
    floor: Sequence[float],
    title: str,
    *,
    without: tuple[str, float] | None = None,
    width: float = style.WIDE,
) -> Figure:
    """Relative error against width, logarithmic in both directions, with a guide of slope -1.

    Args:
      widths: (points,) of the networks.
      error: (points,) relative Frobenius error of the mean Gram matrix.
      spread: (points,) standard errors of it.
      floor: (points,) the error that sampling alone would give.
      title: of the figure.
      without: name and distance of another limit, drawn as a horizontal line.
      width: inches.
    """
    narrow = style.is_narrow(width)
    figure = style.new_figure(width, 3.4 if narrow else 4.4)
    ax = figure.subplots()
    x, y, bars, noise = (np.asarray(v, float) for v in (widths, error, spread, floor))
    guide = 1.5 * np.median(x * y) / x  # above the points, which would hide it
    ax.plot(x, guide, color=style.MUTED, ls=(0, (3.2, 1.6)), lw=1.0, label="slope −1")
    ax.plot(
        x, noise, color=style.MUTED, marker="s", ms=3.5, mfc="white", lw=1.0,
        label="sampling error alone",
    )  # fmt: skip
    ax.errorbar(
        x, y, yerr=np.minimum(bars, 0.9 * y), color=style.ACCENT, marker="o", ms=4.5, lw=1.4,
        elinewidth=1.0, capsize=2.0, label="finite width",
    )  # fmt: skip
    everything = [*y, *(y + bars), *noise, *guide]
    if without is not None:
        name, distance = without
        ax.axhline(distance, color=style.INK, lw=0.8, ls=":")
        ax.annotate(
            name, (x[-1], distance), xytext=(0, -3), textcoords="offset points", ha="right",
            va="top", fontsize=8.0, color=style.INK,
        )  # fmt: skip
        everything.append(distance)
    ax.set_xlim(x.min() / 1.2, x.max() * 1.2)
    ax.set_ylim(min(everything) / 1.4, max(everything) * 1.4)
    style.log_axis(ax, "x", text=lambda v: f"{v:g}")
    ax.xaxis.set_ticks(list(x))
    ax.xaxis.set_minor_locator(style.ticker.NullLocator())
    style.log_axis(ax, "y", text=lambda v: f"{v:.3g}")
    ax.set_xlabel("width N")
    ax.set_ylabel("relative error of the Gram matrix")
    figure.legend(loc="outside lower left", ncols=1 if narrow else 3, handlelength=3.0)
    style.set_title(figure, title)
    return figure
