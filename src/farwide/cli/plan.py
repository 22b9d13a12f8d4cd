"""`farwide plan`: which runs to do next, and how a budget of compute is best split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from farwide.cli.errors import CommandError
from farwide.cli.fit import LawOptions, fit_logs, flat, inputs, point_of
from farwide.cli.output import count, interval, number, percent, print_table
from farwide.cli.reading import Many, ReadingOptions, option

if TYPE_CHECKING:
    from farwide.fitting import RunsFit
    from farwide.fitting.best_split import BestSplit
    from farwide.fitting.candidates import Candidates
    from theory.scaling import Plan

LEVEL = 0.95
FIT = "fit.json"
MOST = 8  # runs that are chosen when --runs is not given


@dataclass(frozen=True)
class TargetOptions:
    """What is to be known better, and what that may cost."""

    target_compute: Annotated[
        float | None,
        option("FLOPS", "The loss of the best run of so much compute, C = 6 N D: 1e21."),
    ] = None
    at: Annotated[
        Many, option("NAME=VALUE...", "The law at this point instead: N=1e9 D=2e10.")
    ] = ()
    of: Annotated[
        Literal["loss", "size"],
        tyro.conf.arg(
            metavar="loss|size",
            help="With --target-compute: whether to shrink the interval of the loss there, or "
            "that of the best size N.",
        ),
    ] = "loss"
    budget: Annotated[
        float | None,
        option("FLOPS", "What the new runs may cost together. Without it, none are proposed."),
    ] = None
    runs: Annotated[int | None, option("K", f"At most so many runs; {MOST} if not given.")] = None
    cost: Annotated[
        str | None,
        option("NAME", "The column that a run costs, for a law without N and D, such as x."),
    ] = None


def plan_command(
    sources: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        option("FIT|LOGS...", "A fit.json of `farwide fit --out`, or its folder; or logs to fit."),
    ] = (),
    /,
    *,
    target: Annotated[TargetOptions, tyro.conf.OmitArgPrefixes] = TargetOptions(),
    law: Annotated[LawOptions, tyro.conf.OmitArgPrefixes] = LawOptions(),  # noqa: B008
    reading: Annotated[ReadingOptions, tyro.conf.OmitArgPrefixes] = ReadingOptions(),  # noqa: B008
) -> None:
    """Say how compute is best split, and which runs to do next.

    From a saved fit: the best N and D for 1e21 FLOPs, and the runs, for 1e20 FLOPs together, that
    most shrink the interval of the loss there:

        farwide plan fit/ --target-compute 1e21 --budget 1e20

    From logs, three runs that most shrink the interval of the law at one point:

        farwide plan runs.csv --at N=7e9 D=1.4e11 --budget 5e20 --runs 3

    Each run is printed with its size, tokens, price and the interval of the target once it and
    those before it are done: the first-order interval of the fitted law, for runs that scatter
    about it as the present ones do.
    """
    if not sources:
        raise CommandError("FIT is missing; give a fit.json, its folder, or logs to fit")
    for name, value in (("--target-compute", target.target_compute), ("--budget", target.budget)):
        if value is not None and not 0 < value < float("inf"):
            raise CommandError(f"{name} is {value:g}; expected a positive finite number")
    if target.runs is not None and target.runs < 1:
        raise CommandError(f"--runs is {target.runs}; expected 1 or more")
    if (target.target_compute is None) == (not flat(target.at)):
        raise CommandError("expected one target: --target-compute FLOPS, or --at NAME=VALUE...")
    if target.of == "size" and target.target_compute is None:
        raise CommandError("--of size needs --target-compute: it speaks of the best size there")

    fitted = _fitted(sources, law, reading)
    point, fixed = _target(fitted, target)
    best = None
    if target.target_compute is not None:
        best = _best(fitted, target.target_compute, fixed)
    proposed = None if target.budget is None else _propose(fitted, target, point, fixed)
    _print_state(fitted)
    if best is not None and target.target_compute is not None:
        _print_best(fitted, target.target_compute, best)
    else:
        _print_point(fitted, point)
    if proposed is None:
        print("No runs are proposed; --budget FLOPS says what they may cost.")
        return
    _print_runs(fitted, target, point, *proposed)


def _fitted(sources: Sequence[Path], law: LawOptions, reading: ReadingOptions) -> RunsFit:
    """The saved fit, or a fit of the logs."""
    saved = [_saved(source) for source in sources]
    if not any(saved):
        return fit_logs(sources, law, reading)[0]
    if len(sources) > 1:
        raise CommandError(f"{count(len(sources), 'source')}; a saved fit stands alone")
    from farwide.fitting import load_fit

    assert saved[0] is not None
    return load_fit(saved[0]).runs_fit


def _saved(source: Path) -> Path | None:
    """The fit.json that a source means, if it means one."""
    if source.is_dir() and (source / FIT).is_file():
        return source / FIT
    return source if source.is_file() and source.name == FIT else None


def _target(fitted: RunsFit, target: TargetOptions) -> tuple[dict[str, float], dict[str, float]]:
    """The point that is meant ({"C": FLOPs} for a budget), and what the law's other columns are."""
    from farwide.fitting.best_split import SIZED, can_split

    law = fitted.fit.law
    columns = inputs(law)
    if target.target_compute is None:
        point = point_of("--at", flat(target.at), columns, law.name)
        others = {name: value for name, value in point.items() if name not in SIZED}
        return point, others if can_split(law, others) and len(others) < len(point) else {}
    if not can_split(law):
        raise CommandError(
            f"--target-compute: form {law.name} does not say how compute is split; give --at "
            + " ".join(f"{name}=VALUE" for name in columns)
        )
    return {"C": target.target_compute}, {}


def _print_state(fitted: RunsFit) -> None:
    fit = fitted.fit
    print(f"law        {fit.law.formula}")
    print(f"data       {fit.n_points} points")
    print(f"status     {fit.status}")
    for note in fit.notes:
        print(f"note       {note}")
    print(f"noise      {fitted.noise.sentence}")
    print()


def _best(fitted: RunsFit, C: float, fixed: Mapping[str, float]) -> BestSplit:
    import numpy as np

    from farwide.fitting.best_split import best_split

    try:
        return best_split(fitted.fit, np.array([C]), level=LEVEL, fixed=fixed)
    except ValueError as error:
        raise CommandError(f"--target-compute {C:g}: {error}") from None


def _propose(
    fitted: RunsFit, target: TargetOptions, point: Mapping[str, float], fixed: Mapping[str, float]
) -> tuple[Candidates, Plan]:
    """The candidates, and which of them to run."""
    from farwide.fitting.candidates import candidates
    from theory import scaling

    fit = fitted.fit
    assert target.budget is not None
    try:
        grid = candidates(fit, fitted.table.columns, target.budget, cost=target.cost, fixed=fixed)
        plan = scaling.next_runs(
            fit, target=point, candidates=grid.columns, cost=grid.cost, budget=target.budget,
            noise=fitted.noise.sd, runs=target.runs or MOST, level=LEVEL,
            of="size" if target.of == "size" else "value",
        )  # fmt: skip
    except ValueError as error:
        raise CommandError(str(error)) from None
    return grid, plan


def _print_best(fitted: RunsFit, C: float, best: BestSplit) -> None:
    fit, columns = fitted.fit, fitted.table.columns
    rows = [
        (
            name,
            number(float(value[0])),
            interval(float(band[0][0]), float(band[1][0])) if band else "-",
        )
        for name, value, band in (
            ("N*, parameters", best.N, best.N_band),
            ("D*, tokens", best.D, best.D_band),
            ("D*/N*, tokens per parameter", best.ratio, best.ratio_band),
            (f"{fit.law.target} of the law", best.value, best.value_band),
        )
    ]
    header = ("best", "value", f"{percent(LEVEL)} interval, bootstrap")
    print_table(f"Best split of {number(C)} FLOPs, C = 6 N D", header, rows)
    most = float((6 * columns["N"] * columns["D"]).max())
    if C > most:
        print(f"That is {number(C / most, 3)} times the largest compute of the runs.\n")


def _print_point(fitted: RunsFit, point: Mapping[str, float]) -> None:
    fit = fitted.fit
    at = " ".join(f"{name}={value:g}" for name, value in point.items())
    line = f"At {at}: {fit.law.target} {number(float(fit.predict(point)))}"
    if fit.bootstrap is not None:
        ends = fit.interval(point, level=LEVEL)
        line += f", {percent(LEVEL)} interval {interval(float(ends.low), float(ends.high))}"
    print(f"{line}\n")


def _print_runs(
    fitted: RunsFit,
    target: TargetOptions,
    point: Mapping[str, float],
    grid: Candidates,
    plan: Plan,
) -> None:
    fit = fitted.fit
    what = "best size N*" if target.of == "size" else fit.law.target
    names = list(grid.columns)
    sized = {"N", "D"} <= set(names)
    header = (
        "run", *names, *(["D/N"] if sized else []), grid.unit, "cumulative",
        f"{percent(LEVEL)} interval of the {what}", "half-width",
    )  # fmt: skip
    rows = [("now", *["-"] * (len(header) - 3), *_ends(plan.value, plan.half_width_before))]
    spent = plan.cost.cumsum()
    for k, row in enumerate(plan.rows):
        cells = [number(float(grid.columns[name][row])) for name in names]
        if sized:
            cells.append(number(float(grid.columns["D"][row] / grid.columns["N"][row]), 3))
        rows.append(
            (str(k + 1), *cells, number(float(plan.cost[k]), 3), number(float(spent[k]), 3),
             *_ends(plan.value, float(plan.half_width_after[k])))
        )  # fmt: skip
    place = (
        f"best {'size' if target.of == 'size' else fit.law.target} at {target.target_compute:g} "
        "FLOPs"
        if target.target_compute is not None
        else "law at " + " ".join(f"{name}={value:g}" for name, value in point.items())
    )
    assert target.budget is not None
    title = f"Next runs for {target.budget:g} {grid.unit}: what most shrinks the {place}"
    print_table(title, header, rows)
    print(grid.sentence + ".")
    objective = f"a {fit.loss} fit" if fit.loss != "squared" else "a least-squares fit"
    print(
        f"Intervals: the law linearised at the fit, {objective}, runs that scatter by "
        f"{fitted.noise.sd:.2%}; misfit that grows beyond the runs is not in them."
    )
    if plan.fixed:
        print(f"Taken as known, for they are 0: {', '.join(plan.fixed)}.")


def _ends(value: float, half_width: float) -> tuple[str, str]:
    """The interval and its half-width in percent; in words where there is no end."""
    if not half_width < 50:
        return "not determined", "-"
    low, high = value * math.exp(-half_width), value * math.exp(half_width)
    return interval(low, high), f"{math.expm1(half_width):.2%}"
