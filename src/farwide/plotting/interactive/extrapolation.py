"""What the law says against what was measured: fitted rows black, held-out rows orange."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from farwide.plotting.interactive import points, style
from farwide.plotting.interactive.best import has_replicates
from farwide.plotting.interactive.rows import Rows
from theory import scaling


def extrapolation(
    fit: scaling.Fit,
    rows: Rows,
    held: Rows | None = None,
    *,
    noise: float = 0.0,
    noise_df: int | None = None,
    level: float = 0.95,
) -> go.Figure:
    """Left: observed against predicted. Right: observed / predicted - 1 along the size of a run.

    The bars are the interval in which one run falls at its point: the law's and the noise of a run.

    Args:
        fit: the law.
        rows: the fitted rows.
        held: rows that were held out.
        noise: standard deviation of one run's log target; with `noise_df` degrees of freedom.
        noise_df: for Student t noise; None for normal noise.
        level: of the intervals.
    """
    drawn = style.figure(score_title(rows, held), height=430, narrow_height=760)
    name, _ = rows.size
    sides = [side for side in (rows, held) if side is not None]
    for side in sides:
        draw = points.black if side is rows else points.orange
        drawn.add_trace(draw(side, side.predicted, side.observed))
    values = np.concatenate([np.concatenate([s.predicted, s.observed]) for s in sides])
    span = style.decades(values)
    ends = [10 ** span[0], 10 ** span[1]]
    drawn.add_scatter(
        x=style.plain(ends), y=style.plain(ends), mode="lines", name="observed = predicted",
        line={"color": style.MUTED, "width": 1}, hoverinfo="skip",
    )  # fmt: skip
    sizes, percents = np.concatenate([s.size[1] for s in sides]), [0.0]
    for side in sides:
        ratio = 100 * np.expm1(side.residual)
        percents += [*ratio]
        if has_replicates(fit):
            low, high = _bars(fit, side, noise, noise_df, level)
            percents += [*np.quantile(low, [0.02, 1]), *np.quantile(high, [0, 0.98])]
            orange = side is not rows
            drawn.add_trace(
                _intervals(
                    side.size[1], low, high,
                    style.HELD_OUT_BAND if orange else style.GREY_BAND,
                    f"{level:.0%} interval of one run" if not orange else "",
                )
            )  # fmt: skip
        draw = points.black if side is rows else points.orange
        drawn.add_trace(draw(side, side.size[1], ratio, legend=False, xaxis="x2", yaxis="y2"))
    margin = 0.06 * (max(percents) - min(percents) or 1.0)
    drawn.update_layout(
        xaxis=style.axis(
            f"predicted {rows.target_title}", log=True, range=span, domain=[0, 0.42],
            **style.loss_ticks(ends, 5),
        ),
        yaxis=style.axis(
            f"observed {rows.target_title}", log=True, range=span, **style.loss_ticks(ends, 6)
        ),
        xaxis2=style.axis(
            rows.axis_title(name), log=True, range=style.decades(sizes), domain=[0.54, 1],
            anchor="y2", **style.log_ticks(sizes, power=name == "C", most=5),
        ),
        yaxis2=style.axis(
            "observed / predicted − 1 (%)", anchor="x2", zeroline=True, zerolinecolor=style.MUTED,
            range=[min(percents) - margin, max(percents) + margin],
        ),
    )  # fmt: skip
    style.narrow(
        drawn,
        {"xaxis.domain": [0, 1], "yaxis.domain": [0.56, 1], "xaxis2.domain": [0, 1],
         "yaxis2.domain": [0, 0.42]},
    )  # fmt: skip
    return drawn


def score_title(rows: Rows, held: Rows | None) -> str:
    """The RMSLE of the fitted and of the held-out rows, and how far beyond the fit these go."""
    fitted = style.percent(_rmsle(rows))
    if held is None:
        return (
            f"The law describes the {len(rows)} points it was fitted to with an RMSLE of {fitted}"
        )
    name, values = rows.size
    _, beyond = held.size
    reach = float(beyond.max() / values.max())
    times = f"{reach:.0f}" if reach >= 9.95 else f"{reach:.2g}"
    far = f", up to {times} times the fitted {name}" if reach > 1.005 else ""
    return (
        f"Held out: RMSLE {style.percent(_rmsle(held))} on {len(held)} points{far} "
        f"(fitted points: {fitted})"
    )


def _rmsle(rows: Rows) -> float:
    return float(np.sqrt(np.mean(np.square(rows.residual))))


def _bars(
    fit: scaling.Fit, rows: Rows, noise: float, noise_df: int | None, level: float
) -> tuple[np.ndarray, np.ndarray]:
    ends = fit.interval(
        {n: rows.columns[n] for n in rows.inputs},
        level=level,
        noise=noise,
        noise_df=noise_df if noise else None,
    )
    low, high = (100 * (np.asarray(side) / rows.predicted - 1) for side in ends)
    return low, high


def _intervals(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, color: str, name: str
) -> go.Scatter:
    """Vertical bars as one broken line."""
    gap = np.full(len(x), np.nan)
    return go.Scatter(
        x=style.plain(np.stack([x, x, x], 1)),
        y=style.plain(np.stack([low, high, gap], 1), 4),
        mode="lines", connectgaps=False, hoverinfo="skip", name=name, showlegend=bool(name),
        line={"color": color, "width": 4}, xaxis="x2", yaxis="y2",
    )  # fmt: skip
