"""Loss against tokens, one panel a model size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from farwide.plotting import style
from farwide.plotting.data import Curve

UNIFORM = math.log(256)  # nats per byte of a model that knows nothing


@style.styled
def loss_curves(curves: Sequence[Curve], *, width: float = style.WIDE) -> Figure:
    """Training and validation loss of every run against the bytes it has read.

    A panel holds the runs of one size; the other panels' validation curves stand behind it in
    grey. Losses above 1.1 ln 256 are cut: a model that knows nothing is at ln 256.

    Args:
        curves: the runs, in any order and state.
        width: of the figure, inches.

    Returns:
        The figure.

    Raises:
        ValueError: no run has a finite loss.
    """
    drawn = [c for c in curves if len(_finite(c.train)) or len(c.validated()[0])]
    if not drawn:
        raise ValueError("curves holds no run with a finite loss; at least one is needed")
    colours = style.size_colours([c.N for c in drawn if not c.held_out])
    panels = [(n, False) for n in colours]
    panels += [(n, True) for n in sorted({c.N for c in drawn if c.held_out})]
    columns = _columns(len(panels), style.is_narrow(width))
    rows = math.ceil(len(panels) / columns)
    height = rows * (2.15 if columns == 3 else 1.8) + 0.7
    figure = style.new_figure(width, height)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    flat = list(axes.flat)
    for ax, (n, held_out) in zip(flat, panels, strict=False):
        for c in drawn:
            if c.N != n or c.held_out != held_out:
                ax.plot(*c.validated(), color=style.FAINT, lw=0.5, alpha=0.6, zorder=1)
        colour = style.HELD_OUT if held_out else colours[n]
        for c in drawn:
            if c.N == n and c.held_out == held_out:
                _draw(ax, c, colour)
        name = "held out, " if held_out else ""
        ax.set_title(f"{name}N = {style.si(n)}", color=colour, fontweight="bold", pad=4)
    for ax in flat[len(panels) :]:
        ax.set_visible(False)
        ax.set_in_layout(False)
    low, high = _limits(drawn)
    tokens = np.concatenate([c.tokens[c.tokens > 0] for c in drawn])
    flat[0].set_xlim(tokens.min() * 0.9, tokens.max() * 1.15)
    flat[0].set_ylim(low, high)
    for i, ax in enumerate(flat[: len(panels)]):
        style.log_axis(ax, "x", ticks=3)
        style.loss_ticks(ax, "y", ticks=5)
        below_is_empty = i + columns >= len(panels)
        ax.tick_params(labelleft=i % columns == 0, labelbottom=below_is_empty)
        if below_is_empty:
            ax.set_xlabel("tokens D (bytes)")
    figure.supylabel("loss (nats per byte)", fontsize=9)
    handles = [
        Line2D([], [], color=style.INK, lw=1.6, label="validation"),
        Line2D([], [], color=style.INK, lw=0.8, alpha=0.5, label="training"),
        Line2D([], [], color=style.FAINT, lw=1.0, label="validation, other sizes"),
    ]
    if any(c.state == "diverged" for c in drawn):
        handles.append(_marker("x", "diverged"))
    if any(c.state == "unfinished" for c in drawn):
        handles.append(_marker(">", "still running or stopped"))
    style.size_key(figure, handles, 2 if style.is_narrow(width) else len(handles))
    style.set_title(figure, _title(drawn))
    return figure


def _columns(panels: int, narrow: bool) -> int:
    """Columns that leave the fewest holes; more columns where that is a tie."""
    if narrow:
        return min(panels, 2)
    return min((4, 3), key=lambda c: -panels % c) if panels > 4 else max(panels, 2)


def _title(curves: Sequence[Curve]) -> str:
    """What the curves say together: how much the last halving of the data still gained."""
    gains = []
    for c in curves:
        tokens, loss = c.validated()
        if c.state == "finished" and len(tokens) >= 3 and tokens[0] <= tokens[-1] / 2:
            half = np.interp(math.log(tokens[-1] / 2), np.log(tokens), loss)
            gains.append(1 - loss[-1] / half)
    if len(gains) < 3:
        return "How fast does each model size learn?"
    median = 100 * float(np.median(gains))
    return (
        f"The second half of training lowers the loss by {style.significant(median)}% "
        "(median of the runs)"
    )


def _draw(ax, c: Curve, colour) -> None:
    keep = np.isfinite(c.train) & (c.tokens > 0)
    ax.plot(c.tokens[keep], c.train[keep], color=colour, lw=0.8, alpha=0.4, zorder=2)
    tokens, loss = c.validated()
    ax.plot(tokens, loss, color=colour, lw=1.4, zorder=3)
    if c.state != "finished":
        ends = (tokens, loss) if len(tokens) else (c.tokens[keep], c.train[keep])
        marker = "x" if c.state == "diverged" else ">"
        top = 1.02 * UNIFORM
        ax.plot(
            ends[0][-1], min(ends[1][-1], top), marker, color=colour, ms=5, mew=1.4, zorder=4,
            clip_on=False,
        )  # fmt: skip
    elif len(tokens):
        ax.plot(tokens[-1], loss[-1], "o", color=colour, ms=3, zorder=4)


def _marker(marker: str, label: str) -> Line2D:
    return Line2D([], [], color=style.MUTED, marker=marker, ls="", ms=5, mew=1.4, label=label)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    values = np.concatenate([_finite(np.concatenate([c.train, c.validation])) for c in curves])
    return float(values.min()) * 0.96, float(min(values.max(), 1.1 * UNIFORM)) * 1.03
