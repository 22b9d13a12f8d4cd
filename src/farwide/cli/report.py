"""`farwide report`: the HTML report of a sweep, or of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from farwide.cli.errors import CommandError
from farwide.runlog.reading import METRICS


def report_command(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS...")],
    /,
) -> None:
    """Write report.html into each folder: of a sweep of runs, or of a saved fit.

    A folder of runs gets the report of the sweep, with its figures beside it. A folder with the
    fit.json of `farwide fit --out` and no runs gets the page of that fit again, from that file
    alone.

    Args:
        runs: Folders, such as runs/demo or the DIR of `farwide fit --out DIR`.
    """
    if not runs:
        raise CommandError("RUNS is missing; give the folder of a sweep or of a fit: runs/demo")
    for folder in runs:
        if not folder.is_dir():
            raise CommandError(
                f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}"
            )
    from farwide import fit_report, report

    for folder in runs:
        of_fit = (folder / "fit.json").is_file() and not any(folder.rglob(METRICS))
        try:
            print(fit_report.build(folder) if of_fit else report.build(folder))
        except fit_report.MissingPlotly as error:
            raise CommandError(f"{folder}: {error}") from None
