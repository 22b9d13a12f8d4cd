"""`farwide report`: the HTML report of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from farwide.cli.errors import CommandError


def report_command(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS...")],
    /,
) -> None:
    """Write report.html, with its figures, into each folder of runs.

    Args:
        runs: Folders of a sweep each, such as runs/demo.
    """
    if not runs:
        raise CommandError("RUNS is missing; give the folder of a sweep, such as runs/demo")
    for folder in runs:
        if not folder.is_dir():
            raise CommandError(
                f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}"
            )
    from farwide.report import build

    for folder in runs:
        print(build(folder))
