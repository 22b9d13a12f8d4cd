"""What `farwide fit` says of a fit, and what it writes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from farwide.cli.errors import CommandError
from farwide.cli.output import count, interval, number, percent, print_table
from farwide.cli.reading import print_left_out

if TYPE_CHECKING:
    from farwide.fitting import RunsFit
    from farwide.runlog import Run
    from theory.scaling import Form

LEVEL = 0.95


def print_fit(fitted: RunsFit, law: Form, logs: Sequence[Path], saved: bool) -> None:
    """The law, what was minimised, how it ended, its parameters and what was left out."""
    from farwide.fitting import (
        compute_optimal_exponents,
        log_errors,
        objective_name,
        parameter_estimates,
        score,
    )
    from farwide.fitting.comparison import HEADER, comparison_cells
    from farwide.fitting.hold_out import shared_runs

    fit = fitted.fit
    counted = f", N counts {fitted.parameters} parameters" if fitted.parameters else ""
    print(f"law        {law.formula}")
    print(f"data       {fit.n_points} points from {shown(logs)}{counted}")
    for note in fitted.table.notes:
        print(f"read       {note}")
    print(f"objective  {objective_name(fit)} = {number(fit.objective)}")
    print(f"status     {fit.status}")
    for note in fit.notes:
        print(f"note       {note}")
    if fit.bootstrap_status is not None:
        counts = ", ".join(f"{n} {name}" for name, n in fit.bootstrap_status.items() if n)
        print(f"bootstrap  {sum(fit.bootstrap_status.values())} replicates: {counts}")
        if fit.bootstrap_redrawn:
            print(f"           {fit.bootstrap_redrawn} draws that cannot determine the law redrawn")
    else:
        print("bootstrap  none, so no intervals (--bootstrap 1000 gives them)")
    if fitted.certainty is not None:
        print(f"design     condition number {fitted.certainty.condition:.3g} (1 is best)")
        for sentence in fitted.certainty.sentences:
            if sentence not in fit.notes:
                print(f"           {sentence}")
    print(f"noise      {fitted.noise.sentence}")
    found = score(fit.residuals, fit.data["weight"])
    print(f"RMSLE      {found.rmsle:.3%} of {count(found.points, 'fitted point')}")
    if fitted.held is not None:
        held = score(log_errors(fit, fitted.held), fitted.held.columns.get("weight"))
        print(f"held out   {held.rmsle:.3%} of {count(held.points, 'point')}: {fitted.hold_out}")
        if both := shared_runs(fitted.table, fitted.held):
            print(f"           {count(len(both), 'run')} with points on both sides")
    print()
    level = percent(LEVEL)
    header = ("parameter", "value", f"{level} interval, bootstrap", "profile likelihood")
    profile = fitted.certainty.profile if fitted.certainty is not None else {}
    rows = [
        (name, number(estimate.value), interval(estimate.low, estimate.high),
         interval(profile[name][0], profile[name][1]) if name in profile else "-")
        for name, estimate in parameter_estimates(fit, LEVEL).items()
    ]  # fmt: skip
    print_table("Parameters", header, rows)
    exponents = compute_optimal_exponents(fit, LEVEL)
    if exponents:
        rows = [
            (f"{name}, {power}", number(estimate.value), interval(estimate.low, estimate.high))
            for (name, estimate), power in zip(
                exponents.items(), ("N* ~ C^a", "D* ~ C^b"), strict=True
            )
        ]
        print_table("Compute-optimal exponents, C = 6 N D", ("exponent", *header[1:3]), rows)
    if fitted.comparison:
        title, cells = comparison_cells(fitted)
        print_table(title, HEADER, cells)
    print_left_out(fitted.left_out, saved)


def print_held_out(fitted: RunsFit, held_out: Sequence[Run]) -> None:
    """Runs of ours of the role held_out, beside their prediction."""
    from farwide.fitting import predict_run
    from farwide.tables import final_or_reason

    rows = []
    for run in held_out:
        final = final_or_reason(run, ("held_out",))
        if isinstance(final, str):
            rows.append((run.run, "-", "-", "-", "-", "-", "-", final))
            continue
        N, D = getattr(final, f"params_{fitted.parameters}"), final.tokens
        observed = final.validation_loss or float("nan")
        if fitted.fit.bootstrap is None:
            predicted, ends, verdict = float(fitted.fit.predict({"N": N, "D": D})), "-", "-"
        else:
            prediction = predict_run(fitted, run.run, N, D, final.flops, level=LEVEL)
            predicted, ends = prediction.loss, interval(prediction.low, prediction.high)
            verdict = "inside" if prediction.low <= observed <= prediction.high else "outside"
        rows.append(
            (run.run, str(N), str(D), number(predicted), ends, number(observed),
             f"{predicted / observed - 1:+.2%}", verdict)
        )  # fmt: skip
    header = ("run", "N", "D", "predicted", f"{percent(LEVEL)} interval", "observed", "error",
              "observed is")  # fmt: skip
    print_table(f"Held out, not fitted: {len(rows)}", header, rows)


def print_recorded(logs: Sequence[Path], held_out: Sequence[Run]) -> None:
    """What a prediction.json in the folder of a sweep said before its run was trained."""
    from farwide.fitting import load_prediction
    from farwide.tables import final_or_reason

    runs = {run.run: run for run in held_out}
    for path in (log / "prediction.json" for log in logs):
        if not path.is_file():
            continue
        recorded = load_prediction(path)
        ends = interval(recorded.low, recorded.high)
        line = (
            f"Recorded {recorded.made_at} in {path}: {recorded.run} {number(recorded.loss)}, "
            f"{percent(recorded.level)} interval {ends}"
        )
        run = runs.get(recorded.run)
        final = final_or_reason(run, ("held_out",)) if run else "it is not among these runs"
        if isinstance(final, str):
            print(f"{line}; {final}\n")
            continue
        observed = final.validation_loss or float("nan")
        verdict = "inside" if recorded.low <= observed <= recorded.high else "outside"
        print(f"{line}; observed {number(observed)}, {verdict}\n")


def print_prediction(fitted: RunsFit, point: Mapping[str, float], at: Sequence[str]) -> None:
    """The law at a point, with intervals, and whether it is beyond the data."""
    fit, noise = fitted.fit, fitted.noise
    predicted = number(float(fit.predict(point)))
    line = f"At {' '.join(at)}: {fit.law.target} {predicted}"
    if fit.bootstrap is not None:
        run = fit.interval(point, level=LEVEL, noise=noise.sd, noise_df=noise.df)
        mean = fit.interval(point, level=LEVEL)
        line += (
            f", {percent(LEVEL)} interval {interval(float(run.low), float(run.high))} for one run, "
            f"{interval(float(mean.low), float(mean.high))} for the law"
        )
    print(line)
    columns = fitted.table.columns
    outside = [
        f"{name} = {number(value)} ({number(columns[name].min())} to {number(columns[name].max())})"
        for name, value in point.items()
        if name in columns and not columns[name].min() <= value <= columns[name].max()
    ]
    if outside:
        print(f"  beyond the fitted range in {', '.join(outside)}")
    print()


def save(fitted: RunsFit, out: Path | None, logs: Sequence[Path], settings: Mapping) -> None:
    """Write fit.json and report.html into a folder; without plotly, fit.json and what to do."""
    from farwide.fit_report import MissingPlotly, build
    from farwide.fitting import save_fit

    if out is None:
        print("Not saved; --out DIR writes DIR/fit.json and DIR/report.html.")
        return
    files = {str(log): _sha256(log) for log in logs if log.is_file()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_fit(out / "fit.json", fitted, level=LEVEL, files=files, settings=dict(settings))
    except OSError as error:
        raise CommandError(f"{out}: cannot write fit.json: {error.strerror or error}") from None
    print(f"Saved {out / 'fit.json'}")
    try:
        print(f"Saved {build(out)}")
    except MissingPlotly as error:
        print(f"Not drawn: {error}")
    except OSError as error:
        raise CommandError(f"{out}: cannot write report.html: {error.strerror or error}") from None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown(logs: Sequence[Path]) -> str:
    """The logs in a few words."""
    return str(logs[0]) + (f" and {len(logs) - 1} more" if len(logs) > 1 else "")
