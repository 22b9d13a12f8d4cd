"""`farwide fit`: a scaling law from logged results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from farwide.cli.errors import CommandError
from farwide.cli.output import interval, number, percent, print_table

if TYPE_CHECKING:
    from farwide.fitting import RunsFit
    from farwide.runlog import Run
    from theory.scaling import Form

LEVEL = 0.95


def fit_command(
    logs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOGS...")],
    /,
    *,
    form: str = "chinchilla",
    bootstrap: int = 1000,
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    columns: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=COLUMN...")] = (),
    loss: Literal["huber", "squared", "l1"] = "huber",
    delta: float = 1e-3,
    skip_bad: bool = False,
    seed: int = 0,
    parameters: Literal["non_embedding", "total"] = "non_embedding",
    at: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE...")] = (),
) -> None:
    """Fit a scaling law to CSV files, JSON Lines files and folders of our runs.

    Prints the parameters with 95% bootstrap intervals, what exactly was minimised, how the fit
    ended, and every row or run that was left out. Held-out runs are compared with their
    prediction and never fitted.

    Args:
        logs: Files (CSV with a header, or one JSON object a line) and folders of runs.
        form: The law: chinchilla (columns N, D, loss), m1 or m2 (columns x, y).
        bootstrap: Replicates of the bootstrap, which gives the intervals; 0 for none.
        out: Folder to write fit.json into.
        columns: What the law's columns are called in the files, such as N=params D=tokens;
            nested JSON by dots, loss=eval.loss. Also run= (the bootstrap resamples runs) and
            weight=.
        loss: What is summed over the log residuals.
        delta: Where the Huber loss turns from squared to linear, in log loss.
        skip_bad: Leave bad rows and files out and list them, instead of stopping at the first.
        seed: Of the bootstrap.
        parameters: What N counts, for runs of ours.
        at: Also predict here, such as N=1e9 D=2e10.
    """
    if not logs:
        raise CommandError("LOGS is missing; give CSV or JSON Lines files, or folders of runs")
    if bootstrap < 0:
        raise CommandError(f"--bootstrap is {bootstrap}; expected 0 or more")
    if not 0 < delta < float("inf"):
        raise CommandError(f"--delta is {delta}; expected a positive number")

    from theory import scaling

    if form not in scaling.forms:
        raise CommandError(f"--form is {form!r}; accepted are {', '.join(scaling.forms)}")
    law = scaling.forms[form]
    names = (*law.columns, law.target, "run", "weight")
    mapping = _pairs("--columns", columns, names, "COLUMN")
    point = _point(at, law)

    fitted, held_out = _fit(
        logs, law, mapping, skip_bad, parameters,
        {"bootstrap": bootstrap, "seed": seed, "loss": loss, "delta": delta},
    )  # fmt: skip
    _print_fit(fitted, law, logs)
    if held_out or fitted.held_out:
        _print_held_out(fitted, held_out)
        _print_recorded(logs, held_out)
    if point:
        _print_prediction(fitted, point, at)
    _save(fitted, out)


def _fit(
    logs: Sequence[Path],
    law: Form,
    mapping: Mapping[str, str],
    skip_bad: bool,
    parameters: Literal["non_embedding", "total"],
    options: Mapping,
) -> tuple[RunsFit, list[Run]]:
    """The fit, and the runs that were held out of it."""
    from farwide.fitting import fit_runs, fit_table
    from farwide.runlog import LogError, read_runs
    from farwide.tables import LeftOut, is_our_runs, read_table

    if law.name == "chinchilla" and not mapping and all(map(is_our_runs, logs)):
        bad: list[LogError] = []
        runs = read_runs(*logs, on_error=bad.append if skip_bad else None)
        if not runs:
            raise LogError(bad[0].path, f"{bad[0].reason} (no run is left)", line=bad[0].line)
        unread = tuple(LeftOut(error.where, error.reason) for error in bad)
        try:
            fitted = fit_runs(runs, parameters=parameters, unread=unread, **options)
        except ValueError as error:
            raise CommandError(f"{_shown(logs)}: {error}") from None
        return fitted, [run for run in runs if run.role == "held_out"]
    table = read_table(
        logs, columns=mapping, required=(*law.columns, law.target), skip_bad=skip_bad,
        parameters=parameters,
    )  # fmt: skip
    try:
        return fit_table(table, form=law, **options), []
    except ValueError as error:
        raise CommandError(f"{table.origin[-1]}: {error}") from None


def _print_fit(fitted: RunsFit, law: Form, logs: Sequence[Path]) -> None:
    from farwide.fitting import compute_optimal_exponents, objective_name, parameter_estimates

    fit = fitted.fit
    counted = f", N counts {fitted.parameters} parameters" if fitted.parameters else ""
    print(f"law        {law.formula}")
    print(f"data       {fit.n_points} points from {_shown(logs)}{counted}")
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
    print(f"noise      {fitted.noise.sentence}")
    print()
    header = ("parameter", "value", f"{percent(LEVEL)} interval")
    rows = [
        (name, number(estimate.value), interval(estimate.low, estimate.high))
        for name, estimate in parameter_estimates(fit, LEVEL).items()
    ]
    print_table("Parameters", header, rows)
    exponents = compute_optimal_exponents(fit, LEVEL)
    if exponents:
        rows = [
            (f"{name}, {power}", number(estimate.value), interval(estimate.low, estimate.high))
            for (name, estimate), power in zip(
                exponents.items(), ("N* ~ C^a", "D* ~ C^b"), strict=True
            )
        ]
        print_table("Compute-optimal exponents, C = 6 N D", ("exponent", *header[1:]), rows)
    if fitted.left_out:
        rows = [(item.run, item.reason) for item in fitted.left_out]
        print_table(f"Left out: {len(rows)}", ("where", "reason"), rows)
    else:
        print("Left out: nothing\n")


def _print_held_out(fitted: RunsFit, held_out: Sequence[Run]) -> None:
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


def _print_recorded(logs: Sequence[Path], held_out: Sequence[Run]) -> None:
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


def _print_prediction(fitted: RunsFit, point: Mapping[str, float], at: Sequence[str]) -> None:
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
        if not columns[name].min() <= value <= columns[name].max()
    ]
    if outside:
        print(f"  beyond the fitted range in {', '.join(outside)}")
    print()


def _save(fitted: RunsFit, out: Path | None) -> None:
    from farwide.fitting import save_fit

    if out is None:
        print("Not saved; --out DIR writes DIR/fit.json.")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_fit(out / "fit.json", fitted, level=LEVEL)
    except OSError as error:
        raise CommandError(f"{out}: cannot write fit.json: {error.strerror or error}") from None
    print(f"Saved {out / 'fit.json'}")


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


def _shown(logs: Sequence[Path]) -> str:
    return str(logs[0]) + (f" and {len(logs) - 1} more" if len(logs) > 1 else "")
