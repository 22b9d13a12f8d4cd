"""The options of `farwide fit` that say what to read, and the list of what was left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from farwide.cli.errors import CommandError
from farwide.cli.output import count, print_table

if TYPE_CHECKING:
    from farwide.tables import Condition, LeftOut, Table

SHOWN = 20  # rows left out that a terminal lists one by one
Many = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]  # may be given repeatedly


def option(metavar: str | None, text: str) -> Any:
    """An option whose help says itself what happens without it."""
    return tyro.conf.arg(metavar=metavar, help=text, help_behavior_hint="")


@dataclass(frozen=True)
class ReadingOptions:
    """What to read from the logs. All that is left out is listed, with its reason."""

    columns: Annotated[
        Many,
        option(
            "NAME=COLUMN...",
            "What the law's columns are called in your files: N=params D=tokens loss=val_loss. The "
            "right side may be a formula, C='6*N*D', a number, or reach into nested JSON, "
            "N=config.params. Also run= (rows of one run belong together; run=@file where each "
            "file is a run), weight= and step=. A name that is not given is guessed where one "
            "column alone can be meant, and the guess is printed.",
        ),
    ] = ()
    rows: Annotated[
        Literal["all", "last", "lowest"] | None,
        option(
            "all|last|lowest",
            "Which rows of each run to fit where files hold curves: all of them, the last, or the "
            "one of the lowest loss. Without it: all, with a warning where runs have several.",
        ),
    ] = None
    where: Annotated[
        Many,
        option(
            "CONDITION...",
            "Use only rows that meet these: dataset=c4 state=finished,running 'N>1e7' 'D/N<100'. "
            "After = and != stands a text, or several apart by commas; 'loss!=' asks that there be "
            "a loss.",
        ),
    ] = ()
    min: Annotated[
        Many, option("NAME=VALUE...", "Use only rows with at least these values: D=1e9.")
    ] = ()
    max: Annotated[Many, option("NAME=VALUE...", "Use only rows with at most these values.")] = ()
    min_step: Annotated[
        float | None, option("STEP", "Leave out the warm-up: rows before this step.")
    ] = None
    finished: Annotated[
        Many,
        option(
            "CONDITION...",
            "Leave out unfinished runs: those whose last row does not meet this, such as "
            "state=finished or 'step>=0.99*max_steps'.",
        ),
    ] = ()
    drop_diverged: Annotated[
        float | None,
        option(
            "FACTOR",
            "Leave out runs that end with a loss of NaN or infinity, or above FACTOR times their "
            "lowest (1.2, say).",
        ),
    ] = None
    skip_bad: Annotated[
        bool,
        tyro.conf.FlagCreatePairsOff,
        option(
            None,
            "Leave out rows and files that cannot be used, and list them, instead of stopping at "
            "the first.",
        ),
    ] = False
    parameters: Annotated[
        Literal["non_embedding", "total"],
        tyro.conf.arg(
            metavar="non_embedding|total", help="What N counts in folders of farwide's own runs."
        ),
    ] = "non_embedding"

    def conditions(self) -> list[Condition]:
        """What every row must meet; CommandError for what cannot be parsed."""
        found = [_condition("--where", text) for texts in self.where for text in texts]
        for option, sign, groups in (("--min", ">=", self.min), ("--max", "<=", self.max)):
            for text in (text for texts in groups for text in texts):
                name, equals, value = text.partition("=")
                if not equals or not name or not value:
                    said = " ".join(text.split())
                    raise CommandError(f"{option} {said}: expected NAME=VALUE")
                found.append(_condition(option, text, f"{name}{sign}{value}"))
        if self.min_step is not None:
            found.append(_condition("--min-step", f"{self.min_step:g}", f"step>={self.min_step}"))
        return found

    def ends(self) -> list[Condition]:
        """What the last row of every run must meet."""
        found = [_condition("--finished", text) for texts in self.finished for text in texts]
        if self.drop_diverged is not None and not 1 <= self.drop_diverged < float("inf"):
            value = self.drop_diverged
            raise CommandError(f"--drop-diverged is {value}; expected a factor of 1 or more")
        return found

    def read(self, logs: Sequence[Path], required: Sequence[str], mapping: dict[str, str]) -> Table:
        """The rows of the logs that pass; see `farwide.tables.read_table`."""
        from farwide.tables import read_table

        return read_table(
            logs, columns=mapping, required=required, skip_bad=self.skip_bad,
            parameters=self.parameters, guess=True, where=self.conditions(),
            finished=self.ends(), diverged=self.drop_diverged, rows=self.rows,
        )  # fmt: skip


def _condition(option: str, written: str, text: str | None = None) -> Condition:
    from farwide.tables import parse_condition

    written = " ".join(written.split())
    try:
        return parse_condition(written if text is None else text, f"{option} {written}")
    except ValueError as error:
        raise CommandError(f"{option} {error}") from None


def print_left_out(left_out: Sequence[LeftOut], saved: bool) -> None:
    """List what was left out: one by one, or by reason where it is much."""
    if not left_out:
        print("Left out: nothing\n")
        return
    title = f"Left out: {len(left_out)}"
    if len(left_out) <= SHOWN:
        print_table(title, ("where", "reason"), [(item.run, item.reason) for item in left_out])
        return
    groups: dict[str, list[LeftOut]] = {}
    for item in left_out:
        groups.setdefault(_kind(item.reason), []).append(item)
    ordered = sorted(groups.values(), key=len, reverse=True)
    rows = [(str(len(items)), items[0].run, items[0].reason) for items in ordered[:SHOWN]]
    print_table(title, ("count", "the first of them", "its reason"), rows)
    if len(ordered) > SHOWN:
        rest = sum(map(len, ordered[SHOWN:]))
        print(f"and {rest} more for {count(len(ordered) - SHOWN, 'other reason')}")
    print(f"Each of them is listed in fit.json{'' if saved else ', which --out DIR writes'}.\n")


def _kind(reason: str) -> str:
    """What reasons of one kind have in common: the option, or the words without the numbers."""
    if reason.startswith("--"):
        return reason.partition(": ")[0]
    return re.sub(r"\d[\w.+-]*|'[^']*'|\"[^\"]*\"", "#", reason)
