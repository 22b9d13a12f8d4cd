"""Put the report together and write it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from farwide import plotting
from farwide.fitting import objective_name
from farwide.plotting import NARROW, WIDE
from farwide.report import numbers, tables
from farwide.report.figures import Panel, panels
from farwide.report.sweep import Sweep, held_out, read_sweep
from farwide.report.verdict import verdict
from farwide.runlog.files import write_atomically
from farwide.tables.runs import Parameters

LARGEST_SVG = 500_000  # characters; a figure with more is embedded as a PNG


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    name: str
    title: str
    caption: str
    wide: Markup
    narrow: Markup
    missing: str


def build(
    directory: str | Path,
    *,
    bootstrap: int | None = None,
    seed: int | None = None,
    parameters: Parameters | None = None,
) -> Path:
    """Write report.html, and a PNG of each figure, into a sweep's folder.

    The page holds everything inline and asks for nothing from anywhere. The same folder gives the
    same bytes.

    Args:
        directory: a folder with run folders below it, finished or not.
        bootstrap, seed, parameters: of the fit; None takes those that fit.json names, and without
            that file 1000 replicates, seed 0 and "non_embedding".

    Returns:
        The path of report.html.

    Raises:
        LogError: the folder holds no run, or a file in it is damaged; the message names the file.
    """
    sweep = read_sweep(directory, bootstrap=bootstrap, seed=seed, parameters=parameters)
    shown = panels(sweep)
    pictures = [_picture(panel, sweep.directory) for panel in shown]
    drawn = [f"{panel.name}.png" for panel in shown if panel.draw is not None]
    html = render(sweep, pictures, drawn)
    path = sweep.directory / "report.html"
    write_atomically(path, html.encode())
    return path


def render(sweep: Sweep, pictures: list[Picture], drawn: list[str]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    here = resources.files("farwide.report")
    template = environment.from_string((here / "report.html.j2").read_text("utf-8"))
    return template.render(
        css=Markup((here / "report.css").read_text("utf-8")),  # ours, not the user's
        name=sweep.name,
        question=str(sweep.description.get("question", "")),
        verdict=verdict(sweep),
        cards=_cards(sweep),
        pictures=[picture for picture in pictures if not picture.missing],
        missing=_missing(pictures),
        estimates=tables.estimates(sweep),
        exponents=tables.exponents(sweep),
        fit=sweep.runs_fit.fit if sweep.runs_fit else None,
        no_fit=sweep.no_fit,
        rows=tables.run_rows(sweep),
        left_out=tables.left_out(sweep),
        method=_method(sweep),
        provenance=tables.provenance(sweep),
        files=tables.files(sweep, drawn),
        counted=sweep.parameters.replace("_", "-"),
    )


def _picture(panel: Panel, directory: Path) -> Picture:
    if panel.draw is None:
        (directory / f"{panel.name}.png").unlink(missing_ok=True)  # of an earlier report
        return Picture(panel.name, "", "", Markup(""), Markup(""), panel.missing)
    wide, narrow = panel.draw(WIDE), panel.draw(NARROW)
    png = plotting.to_png(wide)
    write_atomically(directory / f"{panel.name}.png", png)
    title = plotting.title_of(wide)
    return Picture(
        name=panel.name,
        title=title,
        caption=panel.caption,
        wide=_inline(wide, f"{panel.name}-wide", title),
        narrow=_inline(narrow, f"{panel.name}-narrow", title),
        missing="",
    )


def _missing(pictures: list[Picture]) -> list[tuple[str, str]]:
    """(figures, why they are not there), those of one reason together."""
    names: dict[str, list[str]] = {}
    for picture in pictures:
        if picture.missing:
            names.setdefault(picture.missing, []).append(picture.name.replace("_", " "))
    return [(", ".join(group), reason) for reason, group in names.items()]


def _inline(figure, prefix: str, title: str) -> Markup:
    svg = plotting.to_svg(figure, prefix=prefix, title=False)
    label = Markup.escape(title)
    if len(svg) > LARGEST_SVG:
        data = base64.b64encode(plotting.to_png(figure)).decode()
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(label, Markup(data))
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def _cards(sweep: Sweep) -> list[tuple[str, str, str]]:
    """(value, what it is, how sure) of the numbers that matter most."""
    cards = []
    held, prediction, fitted = held_out(sweep), sweep.prediction, sweep.runs_fit
    if held is not None and held.observed is not None:
        sd = fitted.noise.seed_sd if fitted is not None else None
        spread = sd * held.observed if sd else None
        sure = f"± {numbers.fixed(spread, 3)} between seeds" if spread else "one run"
        bits = numbers.fixed(held.observed / np.log(2), 2)
        cards.append(
            (
                numbers.loss(held.observed),
                "held-out loss, nats per byte",
                f"{sure}; {bits} bits per byte",
            )
        )
    if held is not None and held.relative_error is not None:
        half = (held.high - held.low) / 2 / held.predicted  # pyright: ignore
        cards.append(
            (
                numbers.percent(held.relative_error, signed=True),
                "relative error: predicted / observed − 1",
                f"the interval is ± {numbers.percent(half)}",
            )
        )
    if prediction is not None:
        cards.append(
            (
                f"{numbers.factor(prediction.extrapolation)}×",
                "compute of the held-out run over the largest fitted run",
                f"{numbers.scientific(prediction.flops)} FLOPs, the model's own count",
            )
        )
    if fitted is not None:
        noise = fitted.noise
        seeds = "" if noise.seed_sd is None else f"seeds alone {numbers.percent(noise.seed_sd)}"
        cards.append(
            (
                numbers.percent(noise.sd),
                "scatter of one run about the law",
                f"{noise.df} degrees of freedom" + (f"; {seeds}" if seeds else ""),
            )
        )
    total = sum(run.records[-1].wall_seconds for run in sweep.runs if run.records)
    planned = f" of {sweep.planned}" if sweep.planned else ""
    cards.append(
        (f"{sweep.finished}{planned}", "runs finished", f"{numbers.seconds(total)} of training")
    )
    return cards


def _method(sweep: Sweep) -> list[str]:
    """The method in sentences, from the fit itself."""
    counted = sweep.parameters.replace("_", "-")
    ratio = tables.flops_ratio(sweep)
    own = f" It is {ratio} times 6ND in these runs." if ratio else ""
    text = [
        f"N counts {counted} parameters, D training tokens, which are bytes. C on the axes is 6ND; "
        f"the table and the extrapolation factor use the model's own FLOP count of training.{own}",
        "The loss of a run is its validation loss at its last step, in nats per byte; nothing is "
        "smoothed and no minimum over training is taken.",
    ]
    fitted = sweep.runs_fit
    if fitted is None:
        return text
    fit = fitted.fit
    objective = objective_name(fit)
    text.append(
        f"The law minimises the {objective}; its value at the minimum is "
        f"{numbers.scientific(fit.objective)}. Status: {fit.status}."
    )
    text.append(f"Noise: {fitted.noise.sentence}.")
    if fit.bootstrap is not None and fit.bootstrap_status is not None:
        counts = ", ".join(f"{n} {status}" for status, n in fit.bootstrap_status.items() if n)
        text.append(
            f"Intervals are percentile bootstraps that resample runs ({counts}; seed {fit.seed}). "
            "A prediction interval adds the noise of one run as Student t draws with the degrees "
            "of freedom above. It holds the uncertainty of the parameters and the noise, not the "
            "chance that the law has another form beyond the fitted runs."
        )
    return text
