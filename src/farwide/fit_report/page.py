"""Put the report of a fit together and write it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from farwide.fitting import SavedFit, load_fit, log_errors
from farwide.fitting.comparison import HEADER, comparison_cells
from farwide.runlog.files import write_atomically

MISSING = 'report.html needs plotly: pip install "farwide[report]"'
FIT = "fit.json"
REPORT = "report.html"


class MissingPlotly(ImportError):
    """plotly is not installed."""


def build(directory: str | Path) -> Path:
    """Write report.html beside a fit.json, from that file alone.

    The page holds plotly.js and everything else inline and asks for nothing from anywhere. The
    same fit.json gives the same bytes.

    Args:
        directory: a folder with the fit.json of `farwide fit --out`.

    Returns:
        The path of report.html.

    Raises:
        LogError: there is no fit.json, or it is damaged.
        MissingPlotly: plotly is not installed.
    """
    folder = Path(directory)
    saved = load_fit(folder / FIT)
    path = folder / REPORT
    write_atomically(path, render(saved).encode())
    return path


def render(saved: SavedFit) -> str:
    """The page as text.

    Raises:
        MissingPlotly: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "plotly":
            raise
        raise MissingPlotly(MISSING) from None
    from farwide.fit_report import facts
    from farwide.fit_report.figures import panels
    from farwide.plotting.interactive import DARK

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    here = resources.files("farwide.fit_report")

    def ours(name: str) -> Markup:
        return Markup((here / name).read_text("utf-8"))

    found = saved.runs_fit
    fit, held = found.fit, found.held
    shown = panels(saved)
    template = environment.from_string((here / "page.html.j2").read_text("utf-8"))
    return template.render(
        css=ours("page.css"),
        script=ours("page.js"),
        dark=Markup(json.dumps(dict(DARK), sort_keys=True)),
        plotly=Markup(get_plotlyjs()),
        name=saved.path.resolve().parent.name,
        headline=facts.headline(saved),
        formula=fit.law.formula,
        status=str(fit.status),
        notes=fit.notes,
        cards=facts.cards(saved),
        settings=facts.settings(saved),
        level=f"{saved.level:.0%}",
        profiled=f"{saved.level:.0%}, profile likelihood" if found.certainty else "",
        estimates=facts.estimates(saved),
        compared=comparison_cells(found) if found.comparison else None,
        compared_header=HEADER,
        exponents=facts.exponents(saved),
        panels=[(panel, Markup(panel.json)) for panel in shown if panel.figure is not None],
        missing=[(p.name.replace("_", " "), p.missing) for p in shown if p.figure is None],
        columns=fit.law.columns,
        target=fit.law.target,
        points=facts.point_rows(fit, found.table, fit.residuals),
        held=[] if held is None else facts.point_rows(fit, held, log_errors(fit, held)),
        left_out=found.left_out,
        provenance=facts.provenance(saved),
    )
