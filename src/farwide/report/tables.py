"""The report's tables, as rows of text."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from farwide.fitting import compute_optimal_exponents, parameter_estimates
from farwide.plotting.data import FLOPS_PER_PARAMETER_TOKEN
from farwide.report import numbers
from farwide.report.sweep import Sweep
from farwide.runlog import Run

LOW_LEVEL = ("schema", "started", "process", "command")
MEANINGS = {
    "E": "loss that no size or data removes, nats per byte",
    "A": "weight of the size term",
    "B": "weight of the data term",
    "alpha": "exponent of the size N",
    "beta": "exponent of the tokens D",
}
SYMBOLS = {"alpha": "α", "beta": "β"}


class EstimateRow(NamedTuple):
    symbol: str
    value: str
    interval: str
    meaning: str


@dataclass(frozen=True)
class RunRow:
    """One run as text; '' where a cell does not apply."""

    run: str
    role: str
    state: str
    shape: str
    N: str
    D: str
    flops: str
    train: str
    validation: str
    predicted: str
    residual: str
    seconds: str
    speed: str


def estimates(sweep: Sweep) -> list[EstimateRow]:
    """The law's parameters with 95% intervals."""
    if sweep.runs_fit is None:
        return []
    return [
        EstimateRow(SYMBOLS.get(name, name), *numbers.estimate(*e), MEANINGS.get(name, ""))
        for name, e in parameter_estimates(sweep.runs_fit.fit).items()
    ]


def exponents(sweep: Sweep) -> list[EstimateRow]:
    """The compute-optimal exponents; empty where the law has no optimum."""
    if sweep.runs_fit is None:
        return []
    meanings = {
        "a": "the optimal size grows as C to this power",
        "b": "the optimal tokens grow as C to this power",
    }
    return [
        EstimateRow(name, *numbers.estimate(*e), meanings[name])
        for name, e in compute_optimal_exponents(sweep.runs_fit.fit).items()
    ]


def run_rows(sweep: Sweep) -> list[RunRow]:
    """Every run of the folder, in the order of size, tokens and seed."""
    return [_row(sweep, run) for run in sweep.runs]


def _row(sweep: Sweep, run: Run) -> RunRow:
    last, final = (run.records[-1] if run.records else None), run.final
    n = sweep.size_of(run)
    predicted = residual = ""
    if final is not None and n is not None:
        expected = _expected(sweep, run, n, final.tokens)
        if expected is not None and run.finished and final.validation_loss is not None:
            predicted = numbers.loss(expected)
            residual = numbers.signed_percent(math.log(final.validation_loss / expected))
    seconds = last.wall_seconds if last else 0.0
    return RunRow(
        run=run.run,
        role=run.role.replace("_", "-"),
        state=run.state,
        shape=_shape(run),
        N="" if n is None else numbers.count(n),
        D="" if last is None else numbers.count(last.tokens),
        flops="" if last is None else numbers.scientific(last.flops),
        train="" if last is None else numbers.loss(last.train_loss),
        validation=""
        if final is None or final.validation_loss is None
        else numbers.loss(final.validation_loss),
        predicted=predicted,
        residual=residual,
        seconds="" if last is None else numbers.fixed(seconds, 0 if seconds >= 10 else 1),
        speed="" if last is None or seconds <= 0 else numbers.count(last.tokens / seconds),
    )


def _expected(sweep: Sweep, run: Run, n: float, tokens: float) -> float | None:
    """The law at a run; for the predicted run what was predicted before it trained."""
    if sweep.prediction is not None and run.run == sweep.prediction.run:
        return sweep.prediction.loss
    if sweep.runs_fit is None:
        return None
    return float(sweep.runs_fit.fit.predict({"N": n, "D": tokens}))


def _shape(run: Run) -> str:
    model = run.config.get("model")
    if not isinstance(model, dict) or "width" not in model or "depth" not in model:
        return ""
    return f"{model['width']} × {model['depth']}"


def left_out(sweep: Sweep) -> list[tuple[str, str]]:
    """Runs that were not fitted, with reasons; the held-out runs are named as such."""
    if sweep.runs_fit is None:
        return [(run.run, "it is " + run.state) for run in sweep.runs if not run.finished]
    rows = [(name, reason) for name, reason in sweep.runs_fit.left_out]
    return rows + [(name, "held out to be predicted") for name in sweep.runs_fit.held_out]


def flops_ratio(sweep: Sweep) -> str:
    """The model's own FLOP count over 6 N D, over all runs: '1.9 to 2.6', or ''."""
    ratios = []
    for run in sweep.runs:
        n = sweep.size_of(run)
        if n is not None and run.records[-1].tokens > 0:
            last = run.records[-1]
            ratios.append(last.flops / (FLOPS_PER_PARAMETER_TOKEN * n * last.tokens))
    if not ratios:
        return ""
    low, high = numbers.fixed(min(ratios), 2), numbers.fixed(max(ratios), 2)
    return low if low == high else f"{low} to {high}"


def provenance(sweep: Sweep) -> list[tuple[str, str]]:
    """Device, versions, commit and command of every process that worked on a run."""
    records = [record for run in sweep.runs for record in run.environments]
    rows = []
    started = sorted(str(r["started"]) for r in records if "started" in r)
    if started:
        first, last = started[0], started[-1]
        text = first if first == last else f"{first} to {last}"
        rows.append(("processes started", text))
    commands = sorted({str(r["command"]) for r in records if r.get("command")})
    rows += [("command", command) for command in commands[:5]]
    if commands[5:]:
        rows.append(("command", f"and {len(commands) - 5} more"))
    names = dict.fromkeys(name for record in records for name in record if name not in LOW_LEVEL)
    for name in names:
        values = dict.fromkeys(_plain(r[name]) for r in records if name in r)
        shown = [value for value in values if value]
        if shown:
            more = f"; and {len(shown) - 3} more" if shown[3:] else ""
            rows.append((name, "; ".join(shown[:3]) + more))
    return rows + _corpus(sweep.corpus)


def _plain(value: Any) -> str:
    if value is None:
        return "not recorded"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _corpus(corpus: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if "root" in corpus:
        rows.append(("corpus", str(corpus["root"])))
    if "sha256" in corpus:
        rows.append(("corpus SHA-256", str(corpus["sha256"])))
    sizes = [
        f"{numbers.count(corpus[f'{side}_bytes'])} bytes {side}"
        for side in ("train", "validation")
        if isinstance(corpus.get(f"{side}_bytes"), int | float)
    ]
    if sizes:
        rows.append(("corpus size", ", ".join(sizes)))
    return rows


FILES = {
    "report.html": "this page",
    "sweep.json": "the sweep's configuration",
    "corpus.json": "every file of the corpus, with its side",
    "fit.json": "the law, its intervals and the points it was fitted to",
    "prediction.json": "what was predicted, and when",
    "train": "one folder a run: config.json, environment.jsonl, metrics.jsonl, summary.json",
}


def files(sweep: Sweep, figures: list[str]) -> list[tuple[str, str]]:
    """What lies in the sweep's folder."""
    rows = [
        (name, meaning)
        for name, meaning in FILES.items()
        if name == "report.html" or (sweep.directory / name).exists()
    ]
    return rows + [(name, "figure") for name in figures]
