"""`farwide fit`: a scaling law from logged results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from farwide.cli import fit_output as show
from farwide.cli.errors import CommandError
from farwide.cli.output import print_table
from farwide.cli.reading import Many, ReadingOptions, option

if TYPE_CHECKING:
    from farwide.fitting import HoldOut, RunsFit
    from farwide.runlog import Run
    from theory.scaling import Form


@dataclass(frozen=True)
class LawOptions:
    """Which law to fit, and how."""

    form: Annotated[str, tyro.conf.arg(metavar="NAME")] = "chinchilla"
    """The law; `farwide fit --form list` shows all of them, with their formulas and columns."""

    loss: Annotated[str, tyro.conf.arg(metavar="NAME")] = "huber"
    """What is summed over the log residuals: huber, squared, l1 or asymmetric."""

    delta: Annotated[float, tyro.conf.arg(metavar="D")] = 1e-3
    """Where the Huber loss turns from squared to linear, in log loss."""

    tau: Annotated[float, tyro.conf.arg(metavar="T")] = 0.25
    """Of the asymmetric loss, between 0 and 1: small to let runs lie above the law."""

    bootstrap: Annotated[int, tyro.conf.arg(metavar="B")] = 1000
    """Replicates of the bootstrap, which gives the intervals; 0 for none."""

    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Of the bootstrap."""

    hold_out: Annotated[
        str | None,
        option(
            "RULE",
            "Keep rows out of the fit and score the law on them: 'C>1e20', 'N>1e9' (C is 6 N D "
            "where there is no column C), or 0.3 for the 30% of the rows of largest compute.",
        ),
    ] = None

    compare: Annotated[
        str,
        option(
            "NAME,NAME...",
            "Fit these laws too, and rank all by their error on the rows that --hold-out keeps out "
            "(the largest 25% without it): kaplan,gadre or m3,m4,bnsl.",
        ),
    ] = ""


@dataclass(frozen=True)
class OutputOptions:
    """What to say of the fit, and where to keep it."""

    at: Annotated[Many, option("NAME=VALUE...", "Also predict here: N=1e9 D=2e10.")] = ()
    out: Annotated[Path | None, option("DIR", "Folder for fit.json and report.html.")] = None


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
    form, mapping = check(logs, law, reading)
    at = flat(output.at)
    point = point_of("--at", at, inputs(form), form.name)

    fitted, held_out = fit_logs(logs, law, reading)
    show.print_fit(fitted, form, logs, output.out is not None)
    if held_out or fitted.held_out:
        show.print_held_out(fitted, held_out)
        show.print_recorded(logs, held_out)
    if point:
        show.print_prediction(fitted, point, at)
    show.save(fitted, output.out, logs, {"columns": mapping, "hold_out": law.hold_out})


def check(
    logs: Sequence[Path], law: LawOptions, reading: ReadingOptions
) -> tuple[Form, dict[str, str]]:
    """The form, and {its name: the file's} of the columns; CommandError for what cannot be."""
    from theory import scaling

    if not logs:
        raise CommandError("LOGS is missing; give CSV or JSON Lines files, or folders of runs")
    if law.bootstrap < 0:
        raise CommandError(f"--bootstrap is {law.bootstrap}; expected 0 or more")
    if not 0 < law.delta < float("inf"):
        raise CommandError(f"--delta is {law.delta}; expected a positive number")
    if not 0 < law.tau < 1:
        raise CommandError(f"--tau is {law.tau}; expected a number between 0 and 1")
    if law.form not in scaling.forms:
        raise CommandError(f"--form is {law.form!r}; accepted are {', '.join(scaling.forms)}")
    form = scaling.forms[law.form]
    for name in _compared(law):
        if name not in scaling.forms:
            raise CommandError(f"--compare {name}: accepted are {', '.join(scaling.forms)}")
    rule = _rule(law)
    extra = [rule.column] if rule is not None and rule.column else []
    names = (*form.columns, form.target, "run", "weight", "step", *inputs(form), *extra)
    return form, pairs("--columns", flat(reading.columns), tuple(dict.fromkeys(names)), "COLUMN")


def fit_logs(
    logs: Sequence[Path], law: LawOptions, reading: ReadingOptions
) -> tuple[RunsFit, list[Run]]:
    """The fit, and the runs of the role held_out."""
    from farwide.fitting import certainty, with_comparison

    form, mapping = check(logs, law, reading)
    options = {
        "bootstrap": law.bootstrap, "seed": law.seed, "loss": law.loss, "delta": law.delta,
        "tau": law.tau, "hold_out": _rule(law),
    }  # fmt: skip
    fitted, held_out = _fit(logs, form, mapping, reading, options)
    if law.compare:
        try:
            fitted = with_comparison(fitted, _compared(law))
        except ValueError as error:
            raise CommandError(f"--compare {law.compare}: {error}") from None
    if fitted.fit.status != "failed":
        fitted = replace(fitted, certainty=certainty(fitted.fit))
    return fitted, held_out


def _compared(law: LawOptions) -> list[str]:
    return [name for name in (text.strip() for text in law.compare.split(",")) if name]


def _rule(law: LawOptions) -> HoldOut | None:
    from farwide.fitting import parse_hold_out

    try:
        return None if law.hold_out is None else parse_hold_out(law.hold_out)
    except ValueError as error:
        raise CommandError(f"--hold-out {error}") from None


def inputs(form: Form) -> tuple[str, ...]:
    """The columns to read: N and D in place of C and M, which follow from them."""
    from theory.scaling.columns import DERIVED

    if not set(form.columns) & set(DERIVED):
        return form.columns
    return ("N", "D", *(name for name in form.columns if name not in (*DERIVED, "N", "D")))


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
    plain = reading.rows in (None, "last") and not ends and reading.drop_diverged is None
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
            raise CommandError(f"{show.shown(logs)}: {error}") from None
        return fitted, [run for run in kept if run.role == "held_out"]
    own = set(law.columns) & set(mapping)
    columns = law.columns if own - {"N", "D"} else inputs(law)
    rule = options["hold_out"]
    known = {*columns, law.target, "C", "run"}
    extra = [rule.column] if rule is not None and rule.column and rule.column not in known else []
    table = reading.read(logs, (*columns, law.target, *extra), mapping)
    try:
        return fit_table(table, form=law, **options), []
    except ValueError as error:
        raise CommandError(f"{table.origin[-1]}: {error}") from None


def _print_forms(forms: Mapping[str, Form]) -> None:
    rows = [(name, form.formula, " ".join(form.columns)) for name, form in forms.items()]
    print_table("Laws that --form takes", ("name", "law", "columns"), rows)


def point_of(
    option: str, texts: Sequence[str], columns: Sequence[str], name: str
) -> dict[str, float]:
    """The numbers of NAME=VALUE for all of some columns; empty for no texts."""
    found = pairs(option, texts, columns, "VALUE")
    if found and (missing := [column for column in columns if column not in found]):
        raise CommandError(f"{option} lacks {missing[0]}; {name} needs {' and '.join(columns)}")
    point = {}
    for column, text in found.items():
        try:
            point[column] = float(text)
        except ValueError:
            raise CommandError(f"{option} {column}={text}: not a number") from None
        if not 0 < point[column] < float("inf"):
            raise CommandError(f"{option} {column}={text}: expected a positive finite number")
    return point


def pairs(option: str, texts: Sequence[str], names: Sequence[str], value: str) -> dict[str, str]:
    """{NAME: VALUE} of texts NAME=VALUE, each of a known name and given once."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        text = " ".join(text.split())  # messages are of one line
        if not equals or not rest:
            raise CommandError(f"{option} {text}: expected NAME={value} (LOGS come before options)")
        if name not in names:
            raise CommandError(
                f"{option} {text}: {name!r} is unknown; accepted: {', '.join(names)}"
            )
        if name in found:
            raise CommandError(f"{option} {text}: {name} is given twice")
        found[name] = rest
    return found


def flat(texts: Sequence[Sequence[str]]) -> list[str]:
    """All texts of an option that was given once or repeatedly."""
    return [text for group in texts for text in group]
