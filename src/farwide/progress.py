"""Progress bars with rate and remaining time; silent where the output is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _RateColumn(ProgressColumn):
    """Units a second in engineering notation, for example `21.4 GFLOP/s` or `88.1 ktok/s`."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{engineering(speed)}{task.fields['unit']}/s", style="cyan")


def engineering(value: float) -> str:
    """Three digits and a prefix, ready for a unit: 21400000 -> `21.4 M`."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "


class SweepProgress:
    """Two bars: the whole sweep in FLOPs, and the run at hand in tokens.

    FLOPs make the remaining time right for runs of very different sizes.
    """

    def __init__(self, progress: Progress, total_flops: float) -> None:
        self._progress = progress
        self._sweep = progress.add_task("sweep", total=total_flops, unit="FLOP")
        self._run = progress.add_task("", total=None, unit="tok", visible=False)
        self._before = 0.0

    def start_run(self, label: str, tokens: int, flops_per_token: float) -> None:
        self._flops_per_token = flops_per_token
        self._progress.reset(self._run, total=tokens, description=label, visible=True)

    def tokens_done(self, tokens: int) -> None:
        """`tokens` of the current run are done."""
        self._progress.update(self._run, completed=tokens)
        self._progress.update(self._sweep, completed=self._before + tokens * self._flops_per_token)

    def end_run(self, tokens: int) -> None:
        self._before += tokens * self._flops_per_token
        self._progress.update(self._sweep, completed=self._before)


def _bars(console: Console) -> Progress:
    """Bars with rate and remaining time, which vanish at the end; none where no terminal is."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def sweep_progress(console: Console, total_flops: float) -> Iterator[SweepProgress]:
    """Bars on `console` for the length of the block; none where it is not a terminal."""
    with _bars(console) as progress:
        yield SweepProgress(progress, total_flops)


@contextmanager
def counting_progress(
    console: Console, label: str, unit: str
) -> Iterator[Callable[[int, int], None]]:
    """One bar, moved by calling what it yields with (done, total).

    What is done at the first call (a resumed job) does not count for the rate. None where the
    output is not a terminal.
    """
    with _bars(console) as progress:
        task = progress.add_task(label, total=None, unit=unit)

        def moved(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield moved
