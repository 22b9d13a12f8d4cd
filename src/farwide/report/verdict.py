"""The five-second answer: what was predicted, what came out, and, if it missed, why it might."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from farwide.plotting import HeldOut, trends
from farwide.report import numbers
from farwide.report.sweep import Sweep, held_out, points, times


@dataclass(frozen=True)
class Gauge:
    """Where the interval, the prediction and the outcome stand on a line, percent of its length."""

    low: float
    high: float
    predicted: float
    observed: float | None
    low_text: str
    high_text: str
    predicted_text: str
    observed_text: str | None


@dataclass(frozen=True)
class Verdict:
    """The head of the report."""

    headline: str
    sentence: str
    tone: str  # inside, outside or pending
    gauge: Gauge | None
    reasons: tuple[str, ...]  # why an outcome may lie outside
    warnings: tuple[str, ...]  # what weakens the claim
    timeline: str


def verdict(sweep: Sweep) -> Verdict:
    """Judge a sweep as it stands."""
    held = held_out(sweep)
    if sweep.prediction is None or held is None:
        return Verdict(*_without_prediction(sweep), "pending", None, (), (), "")
    decimals = numbers.digits_for(held.high - held.low)  # pyright: ignore
    decimals = min(4, max(3, decimals))
    predicted, low, high = (
        numbers.fixed(v, decimals)
        for v in (sweep.prediction.loss, sweep.prediction.low, sweep.prediction.high)
    )
    level = f"{100 * held.level:g}%"
    gauge = _gauge(held, decimals)
    if held.observed is None:
        return Verdict(
            f"Predicted {predicted} nats per byte for a run that has not ended yet.",
            f"The {level} interval is {low} to {high}. {_state_of_outcome(sweep)}",
            "pending",
            gauge,
            (),
            _warnings(sweep),
            timeline(sweep),
        )
    error = held.relative_error
    assert error is not None
    observed = numbers.fixed(held.observed, decimals)
    side = "too high" if error > 0 else "too low"
    size = numbers.percent(abs(error))
    inside = bool(held.inside)
    verb = "inside" if inside else "outside"
    return Verdict(
        f"Predicted {predicted} nats per byte, came out {observed}: {verb} the interval.",
        f"The {level} prediction interval was {low} to {high}. "
        f"The prediction was {size} {side}, for {_distance(sweep)}.",
        verb,
        gauge,
        () if inside else _reasons(sweep, held),
        _warnings(sweep),
        timeline(sweep),
    )


def _without_prediction(sweep: Sweep) -> tuple[str, str]:
    done = f"{sweep.finished} of {sweep.planned or len(sweep.runs)} runs are finished"
    if sweep.runs_fit is None:
        return "No law yet: the sweep is in progress.", f"{done}. The fit waits: {sweep.no_fit}."
    held = held_out(sweep)
    n = sweep.runs_fit.fit.n_points
    if held is not None:
        return (
            f"A law of {n} runs, and a held-out run that was never predicted.",
            f"{done}. There is no prediction.json, so nothing can be claimed about run {held.run}.",
        )
    return (
        f"A law of {n} runs; no run has been predicted yet.",
        f"{done}. There is no prediction.json in this folder.",
    )


def _state_of_outcome(sweep: Sweep) -> str:
    run = sweep.held_out_run
    if run is None:
        return "The run has not started."
    if run.state == "diverged":
        return "The held-out run diverged, so the prediction was not tested."
    if not run.records:
        return "The run has started and has no log line yet."
    if run.state == "finished":
        return f"The run ended, but cannot be compared: {sweep.outcome}."
    done = run.records[-1].tokens / sweep.prediction.D if sweep.prediction else 0.0
    return f"The run has done {numbers.percent(done)} of its tokens."


def _distance(sweep: Sweep) -> str:
    """How far the held-out run lies from what was fitted, in words."""
    p = sweep.prediction
    assert p is not None
    text = f"a run of {numbers.factor(p.extrapolation)} times the largest fitted compute"
    if sweep.runs_fit is not None:
        columns = sweep.runs_fit.table.columns
        n, d = p.N / columns["N"].max(), p.D / columns["D"].max()
        text += f" ({numbers.factor(n)} times the parameters, {numbers.factor(d)} times the tokens)"
    return text


def _reasons(sweep: Sweep, held: HeldOut) -> tuple[str, ...]:
    """Candidates for a miss, each from a measured fact. None of them is proved."""
    found = []
    assert sweep.prediction is not None
    if sweep.prediction.extrapolation > 1:
        found.append(
            f"Distance: it is {_distance(sweep)}; the interval covers noise and the "
            "uncertainty of the parameters, not a law whose form is wrong out there."
        )
    if sweep.runs_fit is not None:
        fit, noise = sweep.runs_fit.fit, sweep.runs_fit.noise
        drifting = [t for t in trends(points(sweep.runs_fit), fit) if t.p < 0.05]
        for t in drifting:
            slope = numbers.percent(t.slope / 100, signed=True)
            found.append(
                f"Residual pattern: the fitted runs' residuals drift with {t.name}, "
                f"{slope} a factor of 10, which the law does not follow."
            )
        if not drifting:
            found.append("The fitted runs' residuals show no trend in N, D, C or D/N.")
        if noise.seed_sd is not None and noise.residual_sd > 2 * noise.seed_sd:
            found.append(
                f"Lack of fit: residuals scatter by {numbers.percent(noise.residual_sd)}, seeds "
                f"by only {numbers.percent(noise.seed_sd)}."
            )
        if str(fit.status) != "converged":
            found.append(f"The fit is {fit.status}: " + " ".join(fit.notes))
    assert held.low is not None
    assert held.high is not None
    found.append(
        f"Chance: a {100 * held.level:g}% interval misses one time in "
        f"{round(1 / (1 - held.level))}."
    )
    return tuple(found)


def _warnings(sweep: Sweep) -> tuple[str, ...]:
    found = []
    prediction, run = sweep.prediction, sweep.held_out_run
    assert prediction is not None
    if run is not None:
        began = times(run).began
        made = _parse(prediction.made_at)
        if began and made and (made - began).total_seconds() > 1:
            found.append(
                f"The prediction (made {moment(made)}) is younger than the held-out run's first "
                f"file ({moment(began)}): it is not shown to have come first."
            )
    if sweep.runs_fit is not None:
        fitted = {str(name) for name in sweep.runs_fit.table.columns["run"]}
        before = set(prediction.fitted_runs)
        if fitted != before:
            more, fewer = len(fitted - before), len(before - fitted)
            found.append(
                f"The fit shown here is not the one that predicted: {more} runs more and {fewer} "
                "fewer."
            )
        if prediction.run in before:
            found.append("The held-out run was among the fitted runs: this is no prediction.")
        again = float(sweep.runs_fit.fit.predict({"N": prediction.N, "D": prediction.D}))
        if abs(again / prediction.loss - 1) > 1e-3 and fitted == before:
            found.append(
                f"Fitting again gives {numbers.loss(again)} where the prediction says "
                f"{numbers.loss(prediction.loss)}."
            )
    return tuple(found)


def timeline(sweep: Sweep) -> str:
    """When the prediction was made and when the run it speaks of trained."""
    prediction, run = sweep.prediction, sweep.held_out_run
    if prediction is None:
        return ""
    made = _parse(prediction.made_at)
    text = f"Prediction made {moment(made) if made else prediction.made_at}"
    if run is None:
        return text + "; the held-out run has not started."
    when = times(run)
    if when.began is None:
        text += "; the held-out run's file times were not kept"
    else:
        text += f"; held-out run started {moment(when.began)}"
    if when.ended is not None:
        text += f", ended {moment(when.ended)}"
    if run.records:
        text += f" ({numbers.seconds(run.records[-1].wall_seconds)} of training)"
    return text + "."


def moment(when: datetime) -> str:
    """A time as a reader takes it in."""
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def _parse(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo else None


def _gauge(held: HeldOut, decimals: int) -> Gauge:
    assert held.low is not None
    assert held.high is not None
    assert held.predicted is not None
    places = [held.low, held.high, held.predicted]
    if held.observed is not None:
        places.append(held.observed)
    span = max(places) - min(places) or 1.0
    start, length = min(places) - 0.25 * span, 1.5 * span

    def place(value: float) -> float:
        return round(100 * (value - start) / length, 2)

    def text(value: float) -> str:
        return numbers.fixed(value, decimals)

    return Gauge(
        place(held.low),
        place(held.high),
        place(held.predicted),
        None if held.observed is None else place(held.observed),
        text(held.low),
        text(held.high),
        text(held.predicted),
        None if held.observed is None else text(held.observed),
    )
