"""Bootstrap replicates of the law's parameters, pair by pair."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from farwide.plotting import style
from farwide.plotting.data import has_bootstrap
from theory import scaling

# name -> label, transform; the coefficients span decades, the exponents do not
COLUMNS = {
    "E": ("E (nats per byte)", lambda v: v),
    "A": ("log$_{10}$ A", np.log10),
    "B": ("log$_{10}$ B", np.log10),
    "alpha": ("α", lambda v: v),
    "beta": ("β", lambda v: v),
}
SHOWN = 1500  # replicates drawn as dots; all of them count in the histograms


@style.styled
def corner(law: scaling.Fit, *, width: float = style.WIDE) -> Figure:
    """Histograms and pairwise scatter of the bootstrap in (E, log A, log B, alpha, beta).

    Axes hold the central 98% of each parameter and the point estimate; a replicate in which A or B
    is 0 has no logarithm and is left out (the title counts those).

    Args:
        law: a fit with bootstrap replicates.
        width: of the figure, inches.

    Returns:
        The figure.

    Raises:
        ValueError: the fit has fewer than 20 usable replicates.
    """
    columns = law.bootstrap
    if columns is None or not has_bootstrap(law):
        raise ValueError("law has fewer than 20 bootstrap replicates; fit with bootstrap=1000")
    names = [name for name in COLUMNS if name in columns]
    usable = np.all([columns[n] > 0 for n in names if n in ("A", "B")], axis=0)
    values = {n: COLUMNS[n][1](columns[n][usable]) for n in names}
    with np.errstate(divide="ignore"):
        point = {n: float(COLUMNS[n][1](np.asarray(law.params[n], float))) for n in names}
    limits = {n: _limits(values[n], point[n]) for n in names}
    narrow = style.is_narrow(width)
    size = min(width, 7.0)
    figure = style.new_figure(size, size * (0.92 if not narrow else 1.05))
    axes = figure.subplots(len(names), len(names), squeeze=False)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)  # pyright: ignore
    for i, j in itertools.product(range(len(names)), repeat=2):
        ax, row, column = axes[i, j], names[i], names[j]
        if j > i:
            ax.set_visible(False)
            continue
        if i == j:
            _histogram(ax, values[row], point[row], limits[row])
        else:
            ax.plot(
                values[column][:SHOWN], values[row][:SHOWN], "o", ms=1.4, mew=0,
                color=style.ACCENT, alpha=0.25, rasterized=True, zorder=2,
            )  # fmt: skip
            ax.plot(point[column], point[row], "+", color=style.INK, ms=8, mew=1.5, zorder=3)
            ax.set_ylim(limits[row])
        ax.set_xlim(limits[column])
        _ticks(ax, bottom=i == len(names) - 1, left=j == 0 and i > 0, narrow=narrow)
        if i == len(names) - 1:
            ax.set_xlabel(COLUMNS[column][0], fontsize=7 if narrow else 8.5)
        if j == 0 and i > 0:
            ax.set_ylabel(COLUMNS[row][0], fontsize=7 if narrow else 8.5)
    figure.align_labels()
    handles = [
        Line2D([], [], color=style.ACCENT, marker="o", ls="", ms=3, label="bootstrap replicates"),
        Line2D([], [], color=style.INK, marker="+", ls="", ms=8, mew=1.5, label="point estimate"),
    ]
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.98, 0.86), fontsize=8)
    style.set_title(figure, _title(values, int(np.sum(~usable))))
    return figure


def _histogram(ax, values: np.ndarray, point: float, limits: tuple[float, float]) -> None:
    ax.hist(values, bins=np.linspace(*limits, 28), color=style.BAND, lw=0)
    ax.axvline(point, color=style.INK, lw=1.2)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(False)


def _ticks(ax, *, bottom: bool, left: bool, narrow: bool) -> None:
    for axis in (ax.xaxis, ax.yaxis) if len(ax.get_yticks()) else (ax.xaxis,):
        axis.set_major_locator(ticker.MaxNLocator(3 if not narrow else 2, prune="both"))
    size = 6 if narrow else 7
    ax.tick_params(labelbottom=bottom, labelleft=left, labelsize=size)


def _limits(values: np.ndarray, point: float) -> tuple[float, float]:
    low, high = np.quantile(values, [0.01, 0.99])
    if np.isfinite(point):
        low, high = min(low, point), max(high, point)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 1e-3)
    return float(low - margin), float(high + margin)


def _title(values: dict[str, np.ndarray], dropped: int) -> str:
    symbols = {"A": "log A", "B": "log B", "alpha": "α", "beta": "β"}
    best, pair = 0.0, None
    for a, b in itertools.combinations(values, 2):
        if np.ptp(values[a]) > 0 and np.ptp(values[b]) > 0:
            correlation: Any = stats.spearmanr(values[a], values[b])
            rank = float(correlation.statistic)
            if abs(rank) > abs(best):
                best, pair = rank, (a, b)
    n = len(next(iter(values.values())))
    counted = f"{n} replicates" + (f"; {dropped} without a logarithm left out" if dropped else "")
    if pair is None or abs(best) < 0.8:
        return f"How well do the runs pin down each parameter? ({counted})"
    first, second = (symbols.get(name, name) for name in pair)
    rank = f"{best:.2f}".replace("-", "−") if abs(best) < 0.995 else "over 0.99"
    sign = "against one another" if best < 0 and abs(best) >= 0.995 else "together"
    return f"{first} and {second} move {sign}: rank correlation {rank} ({counted})"
