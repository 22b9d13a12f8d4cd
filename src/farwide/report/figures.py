"""Draw what the sweep has the data for, and say what it has not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from farwide import plotting
from farwide.report.sweep import Sweep, curves, held_out, points

Draw = Callable[[float], Figure]  # width in inches -> figure


@dataclass(frozen=True)
class Panel:
    """One figure of the report, or the sentence that stands in its place."""

    name: str  # of the PNG, without its ending
    caption: str
    draw: Draw | None
    missing: str = ""  # why there is nothing to draw


_FRONTIER = (
    " The dots are the ends that were fitted. The dashed line is the lowest loss that the law "
    "allows at each compute, in closed form. It speaks of runs whose learning rate has come down, "
    "so curves lie above it until their end."
)


def panels(sweep: Sweep) -> list[Panel]:
    """The report's figures in order."""
    logs = curves(sweep)
    validated = [c for c in logs if len(c.validated()[0])]
    held = held_out(sweep)
    counted = sweep.parameters.replace("_", "-")
    fitted = sweep.runs_fit
    law = fitted.fit if fitted is not None else None
    dots = points(fitted) if fitted is not None else None
    noise = fitted.noise if fitted is not None else None
    found = [
        Panel(
            "loss_curves",
            "A panel a model size; N counts "
            f"{counted} parameters. Lines in grey are the validation curves of the other sizes. "
            "A token is a byte.",
            (lambda width: plotting.loss_curves(logs, width=width)) if logs else None,
            "No run has written a log line yet.",
        ),
        Panel(
            "loss_vs_compute",
            "Validation loss along training, against C = 6ND." + (_FRONTIER if law else ""),
            (
                lambda width: plotting.loss_vs_compute(
                    logs, dots, law, held, parameters=counted, width=width
                )
            )
            if validated
            else None,
            "No run has a validation loss yet.",
        ),
    ]
    no_fit = f"There is no fit yet: {sweep.no_fit}."
    if fitted is None or law is None or dots is None or noise is None:
        return [
            *found,
            *(
                Panel(name, "", None, no_fit)
                for name in (
                    "fit",
                    "extrapolation",
                    "residuals",
                    "bootstrap",
                    "tokens_per_parameter",
                )
            ),
        ]
    seeds = (
        f"The blue band is ±2 standard deviations between seeds ({noise.seed_df} degrees of "
        "freedom)."
        if noise.seed_sd is not None
        else "No two runs differ in their seed alone, so seed noise is unknown."
    )
    found += [
        Panel(
            "fit",
            "The law at each size, with the 95% bootstrap band of the law itself, and the "
            "observed final losses. The orange bar is the prediction interval, which also holds "
            "the noise of one run." if held is not None else
            "The law at each size, with the 95% bootstrap band of the law itself, and the "
            "observed final losses.",
            lambda width: plotting.fitted_law(dots, law, held, width=width),
        ),
        Panel(
            "extrapolation",
            "Left: a run on the line is predicted exactly. Right: by how many percent each run "
            "misses, with its own 95% prediction interval as a bar. The fitted runs were seen by "
            "the law, the held-out run was not. RMSLE: root mean square of the log residuals.",
            lambda width: plotting.extrapolation(
                dots, law, held, noise=noise.sd, noise_df=noise.df, width=width
            ),
        ),
        Panel(
            "residuals",
            f"Residuals in log loss, in percent. {seeds} A trend is named in the title when its "
            "slope differs from 0 at p < 0.05 after Bonferroni's correction for four looks.",
            lambda width: plotting.residuals(
                dots, law, held, seed_noise=noise.seed_sd, parameters=counted, width=width
            ),
        ),
    ]  # fmt: skip
    some = plotting.has_bootstrap(law)
    found.append(
        Panel(
            "bootstrap",
            "Each dot is the law fitted to a resample of the runs; the cross is the fit to all of "
            "them. A narrow diagonal says that two parameters can trade places without a worse "
            "fit: their intervals are wide, the predictions that they share need not be. The axes "
            "hold the central 98%.",
            (lambda width: plotting.corner(law, width=width)) if some else None,
            "The fit has no bootstrap replicates.",
        )
    )
    found.append(
        Panel(
            "tokens_per_parameter",
            "The split of compute that minimises the law under C = 6ND, with its 95% bootstrap "
            "band, and the splits that were trained. The line at 20 is Chinchilla's, for word "
            "pieces and far larger models: a reference, not a target.",
            (lambda width: plotting.tokens_per_parameter(dots, law, held, width=width))
            if plotting.has_frontier(law)
            else None,
            "The fit has switched a term of the law off (a parameter is 0), so no split of "
            "compute is best.",
        )
    )
    return found
