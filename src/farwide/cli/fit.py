"""`farwide fit`: a scaling law from logged results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from farwide.cli.errors import CommandError
from farwide.cli.output import interval, number, percent, print_table
from farwide.cli.reading import Many, ReadingOptions, option, print_left_out

if TYPE_CHECKING:
    from farwide.fitting import RunsFit
    from farwide.runlog import Run
    from theory.scaling import Form

LEVEL = 0.95


@dataclass(frozen=True)
class LawOptions:
    """Which law to fit, and how."""

    form: Annotated[str, tyro.conf.arg(metavar="NAME")] = "chinchilla"
    """The law; `farwide fit --form list` shows all of them, with their formulas and columns."""

    loss: Annotated[str, tyro.conf.arg(metavar="NAME")] = "huber"
    """What is summed over the log residuals: huber, squared, l1, ..."""

    delta: Annotated[float, tyro.conf.arg(metavar="D")] = 1e-3
    """Where the Huber loss turns from squared to linear, in log loss."""

    bootstrap: Annotated[int, tyro.conf.arg(metavar="B")] = 1000
    """Replicates of the bootstrap, which gives the intervals; 0 for none."""

    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Of the bootstrap."""


@dataclass(frozen=True)
class OutputOptions:
    """What to say of the fit, and where to keep it."""

    at: Annotated[Many, option("NAME=VALUE...", "Also predict here: N=1e9 D=2e10.")] = ()
    out: Annotated[Path | None, option("DIR", "Folder to write fit.json into.")] = None


def fit_command(
    logs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        option(
            "LOGS...",
            "Files and folders in any mix: CSV, JSON Lines, JSON, Parquet; TensorBoard event files "
            "or their folder; exports of Weights & Biases; folders of farwide's own runs.",
        ),
    ] = (),
    /,
    *,
    law: Annotated[LawOptions, tyro.conf.OmitArgPrefixes] = LawOptions(),
    reading: Annotated[ReadingOptions, tyro.conf.OmitArgPrefixes] = ReadingOptions(),  # noqa: B008
    output: Annotated[OutputOptions, tyro.conf.OmitArgPrefixes] = OutputOptions(),
) -> None:
    """Fit a scaling law to logged results, and predict from it.

    A first fit, of a file with columns N (parameters), D (tokens) and loss, or params, tokens and
    val_loss:

        farwide fit runs.csv

    Columns of other names, one dataset of several, the last row of each run:

        farwide fit log.jsonl --columns N=model.size loss=c4_loss --where data=c4 --rows last

    A prediction beyond the data, and the fit kept in a file:

        farwide fit runs.csv --at N=7e9 D=1.4e11 --out fit/

    It prints the parameters with 95% bootstrap intervals, what exactly was minimised, how the fit
    ended, and every row or run that was left out. Held-out runs are compared with their
    prediction and never fitted. A bad row or file stops it, with file and line.
    """
    from theory import scaling

    if law.form == "list":
        _print_forms(scaling.forms)
        return
    if not logs:
        raise CommandError("LOGS is missing; give CSV or JSON Lines files, or folders of runs")
    if law.bootstrap < 0:
        raise CommandError(f"--bootstrap is {law.bootstrap}; expected 0 or more")
    if not 0 < law.delta < float("inf"):
        raise CommandError(f"--delta is {law.delta}; expected a positive number")
    if law.form not in scaling.forms:
        raise CommandError(f"--form is {law.form!r}; accepted are {', '.join(scaling.forms)}")
    form = scaling.forms[law.form]
    names = (*form.columns, form.target, "run", "weight", "step")
    mapping = _pairs("--columns", _flat(reading.columns), names, "COLUMN")
    at = _flat(output.at)
    point = _point(at, form)

    options = {
        "bootstrap": law.bootstrap, "seed": law.seed, "loss": law.loss, "delta": law.delta
    }  # fmt: skip
    fitted, held_out = _fit(logs, form, mapping, reading, options)
    _print_fit(fitted, form, logs, output.out is not None)
    if held_out or fitted.held_out:
        _print_held_out(fitted, held_out)
        _print_recorded(logs, held_out)
    if point:
        _print_prediction(fitted, point, at)
    _save(fitted, output.out)


def _fit(
    logs: Sequence[Path],
    law: Form,
    mapping: dict[str, str],
    reading: ReadingOptions,
    options: Mapping,
) -> tuple[RunsFit, list[Run]]:
    """The fit, and the runs that were held out of it."""
    from farwide.fitting import fit_runs, fit_table
    from farwide.runlog import LogError, read_runs
    from farwide.tables import LeftOut, filter_runs, is_our_runs

    where, ends = reading.conditions(), reading.ends()
    plain = reading.rows is None and not ends and reading.drop_diverged is None
    if law.name == "chinchilla" and plain and not mapping and all(map(is_our_runs, logs)):
        bad: list[LogError] = []
        runs = read_runs(*logs, on_error=bad.append if reading.skip_bad else None)
        if not runs:
            raise LogError(bad[0].path, f"{bad[0].reason} (no run is left)", line=bad[0].line)
        unread = [LeftOut(error.where, error.reason) for error in bad]
        kept, removed = filter_runs(runs, parameters=reading.parameters, where=where)
        unread += [LeftOut(removal.where, removal.reason) for removal in removed]
        try:
            fitted = fit_runs(kept, parameters=reading.parameters, unread=unread, **options)
        except ValueError as error:
            raise CommandError(f"{_shown(logs)}: {error}") from None
        return fitted, [run for run in kept if run.role == "held_out"]
    table = reading.read(logs, (*law.columns, law.target), mapping)
    try:
        return fit_table(table, form=law, **options), []
    except ValueError as error:
        raise CommandError(f"{table.origin[-1]}: {error}") from None


def _print_forms(forms: Mapping[str, Form]) -> None:
    rows = [(name, form.formula, " ".join(form.columns)) for name, form in forms.items()]
    print_table("Laws that --form takes", ("name", "law", "columns"), rows)


def _point(at: Sequence[str], law: Form) -> dict[str, float]:
    pairs = _pairs("--at", at, law.columns, "VALUE")
    if pairs and (missing := [name for name in law.columns if name not in pairs]):
        raise CommandError(f"--at lacks {missing[0]}; {law.name} needs {' and '.join(law.columns)}")
    point = {}
    for name, text in pairs.items():
        try:
            point[name] = float(text)
        except ValueError:
            raise CommandError(f"--at {name}={text}: not a number") from None
        if not 0 < point[name] < float("inf"):
            raise CommandError(f"--at {name}={text}: expected a positive finite number")
    return point


def _pairs(option: str, texts: Sequence[str], names: Sequence[str], value: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not equals or not rest:
            raise CommandError(f"{option} {text}: expected NAME={value} (LOGS come before options)")
        if name not in names:
            raise CommandError(
                f"{option} {text}: {name!r} is unknown; accepted: {', '.join(names)}"
            )
        if name in pairs:
            raise CommandError(f"{option} {text}: {name} is given twice")
        pairs[name] = rest
    return pairs


def _flat(texts: Sequence[Sequence[str]]) -> list[str]:
    return [text for group in texts for text in group]


def _shown(logs: Sequence[Path]) -> str:
    return str(logs[0]) + (f" and {len(logs) - 1} more" if len(logs) > 1 else "")
