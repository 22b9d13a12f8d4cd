"""A learning curve predicted from a limit, regression beside it, and networks of finite width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from farwide.plotting import style

PREDICTED, MEASURED, NTK, MUP = style.ACCENT, style.INK, "#c2571a", "#3f7d4e"
UNKNOWN = 1.0  # interval of an exponent
FILL = {PREDICTED: style.BAND, MEASURED: style.FAINT}


class Banded(NamedTuple):
    """Values at numbers of training examples, with their intervals."""

    n: Sequence[float]
    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


class WidthCurve(NamedTuple):
    """Networks of one width; `mup` says which parametrisation."""

    width: int
    mup: bool
    curve: Banded


class Estimate(NamedTuple):
    """A number with its interval."""

    value: float
    low: float
    high: float


class PairSummary(NamedTuple):
    """Exponents of one operator on one data set; networks are None where none ended well."""

    predicted: Estimate
    measured: Estimate
    ntk: Estimate | None = None
    mup: Estimate | None = None


@style.styled
def predicted_scaling(
    predicted: Banded,
    measured: Banded,
    limit: Banded,
    networks: Sequence[WidthCurve],
    title: str,
    *,
    width: float = style.WIDE,
) -> Figure:
    """Left: prediction and kernel regression. Right: trained networks and their limit.

    Args:
      predicted: test error with the band of the estimate.
      measured: of kernel regression, with intervals.
      limit: of the same training as the networks', at infinite width.
      networks: of every width.
      title: of the figure.
      width: inches.
    """
    narrow = style.is_narrow(width)
    figure = style.new_figure(width, 8.6 if narrow else 4.6)
    left, right = figure.subplots(*((2, 1) if narrow else (1, 2)), sharey=True)
    left.fill_between(predicted.n, predicted.low, predicted.high, color=style.BAND, lw=0)
    left.plot(predicted.n, predicted.value, color=PREDICTED)
    _points(left, measured, MEASURED, "o")
    left.set_title("Kernel regression (NTK)")

    right.fill_between(limit.n, limit.low, limit.high, color=style.FAINT, alpha=0.6, lw=0)
    right.plot(limit.n, limit.value, color=MEASURED)
    widths = sorted({each.width for each in networks})
    places = [(each.width, each.mup) for each in networks]
    for each, place in zip(networks, places, strict=True):
        shift = 1.035 ** (sorted(places).index(place) - 0.5 * (len(places) - 1))
        curve = each.curve._replace(n=[n * shift for n in each.curve.n])
        _points(right, curve, **_look(each, widths))
    right.set_title("Trained networks")

    every = [predicted, measured, limit, *(each.curve for each in networks)]
    for ax in (left, right):
        n = np.concatenate([each.n for each in (every[:2] if ax is left else every[2:])])
        ax.set_xlim(n.min() / 1.25, n.max() * 1.25)
        style.log_axis(ax, "x")
        ax.xaxis.set_major_locator(_at(np.unique(n)))
        ax.xaxis.set_minor_locator(_at([]))
        ax.set_xlabel("training examples")
    low = min(np.min(each.low) for each in every)
    high = max(np.max(each.high) for each in every)
    left.set_ylim(low / 1.08, high * 1.08)
    style.log_axis(left, "y", text=lambda v: f"{v:.3g}")
    left.set_ylabel("squared test error, sum over classes")
    _legend(
        left,
        [
            Line2D([], [], color=PREDICTED, label="predicted"),
            Patch(color=style.BAND, label="its 95% band"),
            Line2D([], [], color=MEASURED, marker="o", ms=4, ls="none", label="measured ± 95%"),
        ],
    )
    handles: list[Any] = [
        Line2D([], [], color=MEASURED, label="infinite width, same training"),
        Patch(color=style.FAINT, alpha=0.6, label="its 95% interval"),
    ]
    for each in sorted(networks, key=lambda each: (each.mup, each.width)):
        name = f"{'muP' if each.mup else 'NTK'}, width {each.width}"
        look = _look(each, widths)
        look["color"] = look.pop("colour")
        handles.append(Line2D([], [], ms=4, ls="none", mfc=look.pop("inside"), label=name, **look))
    _legend(right, handles)
    style.set_title(figure, title)
    return figure


def _legend(ax: Axes, handles: Sequence[Any]) -> None:
    """Below its axes, two columns."""
    ax.legend(
        handles=list(handles), loc="upper left", bbox_to_anchor=(-0.02, -0.16), ncols=2,
        borderaxespad=0.0,
    )  # fmt: skip


def _at(places: Any) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(list(places))


def _look(each: WidthCurve, widths: Sequence[int]) -> dict[str, Any]:
    """Parametrisation by colour, width by marker; the widest are filled."""
    colour = MUP if each.mup else NTK
    place = widths.index(each.width)
    inside = colour if place == len(widths) - 1 else "white"
    return {"colour": colour, "marker": "vsoD^"[place % 5], "inside": inside}


def _points(ax: Axes, curve: Banded, colour: str, marker: str, inside: str | None = None) -> None:
    value = np.asarray(curve.value)
    bars = np.stack([value - np.asarray(curve.low), np.asarray(curve.high) - value])
    ax.errorbar(
        curve.n, value, yerr=bars, color=colour, marker=marker, mfc=inside or colour, ms=4.0,
        ls="none", elinewidth=0.9, capsize=1.5, zorder=3,
    )  # fmt: skip


@style.styled
def scaling_summary(
    panels: Mapping[str, Mapping[str, PairSummary]], title: str, *, width: float = style.WIDE
) -> Figure:
    """Exponents of all pairs: a panel for each data set, a row for each operator.

    An exponent whose interval is wider than `UNKNOWN` is written and not drawn.

    Args:
      panels: data set -> operator -> exponents.
      title: of the figure.
      width: inches.

    Raises:
      ValueError: no panel.
    """
    if not panels:
        raise ValueError("scaling_summary needs at least one data set")
    operators = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    narrow = style.is_narrow(width)
    height = 0.62 * len(operators) + 1.0
    rows, columns = (len(panels), 1) if narrow else (1, len(panels))
    figure = style.new_figure(width, height * rows + 0.9)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    looks = {
        "predicted": ("predicted", PREDICTED, "D"),
        "measured": ("kernel regression", MEASURED, "o"),
        "ntk": ("widest networks, NTK parametrisation", NTK, "s"),
        "mup": ("widest networks, muP", MUP, "^"),
    }
    for ax, (name, panel) in zip(axes.flat, panels.items(), strict=True):
        for operator, pair in panel.items():
            for i, (key, (_, colour, marker)) in enumerate(looks.items()):
                found = getattr(pair, key)
                if found is None:
                    continue
                place = operators.index(operator) + 0.18 * (i - 1.5)
                if found.high - found.low > UNKNOWN:
                    ax.text(
                        0.98, place, f"{found.value:.1f} ± {(found.high - found.low) / 2:.1f}",
                        transform=ax.get_yaxis_transform(), color=colour, ha="right", va="center",
                    )  # fmt: skip
                    continue
                bar = [[found.value - found.low], [found.high - found.value]]
                ax.errorbar(
                    [found.value], [place], xerr=bar,
                    color=colour, marker=marker, ms=4.0, elinewidth=1.0, capsize=1.5, ls="none",
                )  # fmt: skip
        ax.set_title(name)
        ax.set_xlabel("exponent a, error ∝ n⁻ᵃ")
        ax.set_yticks(range(len(operators)), operators)
        ax.set_ylim(len(operators) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        for edge in range(1, len(operators)):
            ax.axhline(edge - 0.5, color=style.GRID, lw=0.8)
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=4, ls="none", label=label)
        for label, colour, marker in looks.values()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2 if narrow else 4)
    style.set_title(figure, title)
    return figure
