"""Scaling laws on public logs: how well does each predict the runs that it was not fitted to?

Question: on real logs, which law extrapolates, by how much does it miss, and how sure are its
    parameters?
Command: `python -m benchmarks.scaling_real_logs --data DIR [--bootstrap 1000] [--quick]
    [--out DIR]`
Time: about 15 minutes on 2 CPU cores, `--quick` about 4, mostly compilation; without logs in DIR it
    says so and ends.
Expected result: OUT/<device>/scaling_real_logs.json, and its table in Markdown on the terminal; for
    losses on text the laws of Chinchilla and Gadre miss the held-out runs by at most a few percent,
    on code by more; Kaplan's by several times that.

Held out are the runs of the largest compute C = 6 N D: a quarter of the rows, and all above half of
the largest C where that is more, so that the reach (largest held-out C over largest fitted C) is at
least 2. Gemstones are checkpoints: their curves continue from the fitted into the held-out part,
so a second split holds out whole runs, those of the most parameters. RMSLE is the root mean square
of log loss minus log prediction; AICc is of a fit to all rows, and supposes that rows are
independent, which checkpoints are not. All fits minimize the sum of Huber losses of log residuals,
delta = 1e-3. Intervals are 95%: of a bootstrap over runs, and of the profile likelihood.

Loss against compute alone (m1, m2, m4, bnsl) is fitted to the frontier of each log: the rows
that no row of less or equal compute beats; and to single training curves of Gemstones, loss
against tokens.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import logs_of_others, timing
from theory import scaling

SURFACES = ("chinchilla", "gadre", "kaplan")
CURVES = ("m1", "m2", "m4", "bnsl")
SHARE = 0.25  # of the rows held out, at least
REACH = 2.0  # at least
DELTA = 1e-3
LEVEL = 0.95
CURVES_OF = ("256x23", "1024x28", "2048x27")  # Gemstones of few, more and most parameters


def largest(size: np.ndarray) -> np.ndarray:
    """The rows to hold out: the largest quarter, and all beyond half of the largest size."""
    edge = min(float(np.quantile(size, 1 - SHARE)), float(np.max(size)) / REACH)
    return size > edge


def compared(
    forms: Sequence[str], data: dict[str, np.ndarray], by: str, named: dict[str, str] | None = None
) -> dict[str, Any]:
    """Laws on one split. `named` renames columns to those of the laws."""
    held = largest(data[by])
    given = {(named or {}).get(name, name): column for name, column in data.items()}
    size = (named or {}).get(by, by)
    rows = scaling.compare(forms, given, holdout=held, by=size, delta=DELTA)
    return {
        "by": by,
        "fitted": int(np.sum(~held)),
        "held_out": int(np.sum(held)),
        "reach": rows[0].reach,
        "forms": {
            row.form: {
                "parameters": row.parameters,
                "aicc": row.aicc,
                "rmsle_fitted": row.rmsle_fit,
                "rmsle_held_out": row.rmsle_held_out,
                "status": str(row.status),
                "notes": list(row.notes),
            }
            for row in rows
        },
    }


def parameters(form: str, data: dict[str, np.ndarray], bootstrap: int) -> dict[str, Any]:
    """A fit to all rows with both intervals."""
    law = scaling.forms[form]
    wanted = {*law.columns, law.target, "run"} | ({"N", "D"} if form == "gadre" else set())
    given = {name: column for name, column in data.items() if name in wanted - {"C"}}
    fit = scaling.fit(law, given, delta=DELTA, bootstrap=bootstrap)
    by_profile, by_bootstrap = fit.profile(level=LEVEL), fit.interval(level=LEVEL)
    return {
        "status": str(fit.status),
        "notes": list(fit.notes),
        "points": fit.n_points,
        "objective": fit.objective,
        "rmsle": float(np.sqrt(np.mean(fit.residuals**2))),
        "bootstrap_status": fit.bootstrap_status,
        "bootstrap_redrawn": fit.bootstrap_redrawn,
        "params": {
            name: {
                "value": value,
                "bootstrap": list(by_bootstrap[name]),
                "profile": list(by_profile[name]),
            }
            for name, value in fit.params.items()
        },
    }


def frontier_rows(data: dict[str, np.ndarray]) -> np.ndarray:
    """The rows that no row of less or equal compute beats."""
    order = np.lexsort((data["loss"], data["C"]))
    best = np.minimum.accumulate(data["loss"][order])
    first = np.concatenate([[True], data["loss"][order][1:] < best[:-1]])
    return np.sort(order[first])


def one_log(log: logs_of_others.Log, bootstrap: int) -> dict[str, Any]:
    """Everything that is fitted to one log."""
    data: dict[str, Any] = dict(log.data)
    forms: list[str] = [*SURFACES]
    if "width" in data:  # the shape of the model against compute
        data |= {"x": data["width"] / data["depth"], "t": data["C"]}
        forms.append("shape")
    out: dict[str, Any] = {
        "title": log.title,
        "points": len(data["loss"]),
        "runs": log.runs,
        "largest_compute": compared(forms, data, "C"),
    }
    if "run" in data:
        out["largest_models"] = compared(forms, data, "N")
    plain = {name: data[name] for name in ("N", "D", "loss", "run") if name in data}
    out["chinchilla"] = parameters("chinchilla", plain, bootstrap)
    if log.source == "gadre":
        out["gadre"] = parameters("gadre", plain, bootstrap)
    at = frontier_rows(data)
    edge = {name: data[name][at] for name in ("C", "loss")}
    out["frontier"] = compared(CURVES, edge, "C", {"C": "x", "loss": "y"})
    return out


def training_curves(log: logs_of_others.Log) -> dict[str, Any]:
    """Loss against tokens along single runs."""
    out = {}
    for size in CURVES_OF:
        mine = np.char.find(log.data["run"].astype(str), f"-{size}_") >= 0
        data = {name: log.data[name][mine] for name in ("D", "loss")}
        out[size] = compared(CURVES, data, "D", {"D": "x", "loss": "y"})
    return out


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if not np.isfinite(row["rmsle_held_out"]):
        return row["status"]
    aicc = f"{row['aicc']:.0f}" if np.isfinite(row["aicc"]) else "none"
    told = "" if row["status"] == "converged" else f", {row['status']}"
    return f"{100 * row['rmsle_held_out']:.1f} ({100 * row['rmsle_fitted']:.1f}), {aicc}{told}"


def _splits(log: dict[str, Any]) -> dict[str, dict[str, Any]]:
    words = {"largest_compute": "compute", "largest_models": "model size"}
    return {word: log[key] for key, word in words.items() if key in log}


def markdown(logs: dict[str, Any]) -> str:
    """The tables of docs/scaling_fits.md."""
    surfaces, lines = (*SURFACES, "shape"), []

    def table(first: Sequence[str], forms: Sequence[str]) -> None:
        lines.extend(["", f"| {' | '.join((*first, *forms))} |"])
        lines.append("| " + " | ".join("---" for _ in (*first, *forms)) + " |")

    def line(name: Sequence[str], part: dict[str, Any], forms: Sequence[str]) -> None:
        size = [f"{part['fitted']}, {part['held_out']}", f"{part['reach']:.3g}"]
        cells = [_cell(part["forms"].get(form)) for form in forms]
        lines.append(f"| {' | '.join((*name, *size, *cells))} |")

    table(("log", "held out by", "fitted, held out", "reach"), surfaces)
    for log in logs.values():
        for word, part in _splits(log).items():
            line((log["title"], word), part, surfaces)
    table(("curve", "fitted, held out", "reach"), CURVES)
    for log in logs.values():
        line((f"{log['title']}: frontier",), log["frontier"], CURVES)
    for log in logs.values():
        for size, part in log.get("training_curves", {}).items():
            line((f"{log['title']}: run {size}, tokens",), part, CURVES)
    for form in ("chinchilla", "gadre"):
        names = scaling.forms[form].params
        table(("log", "points, runs", "status"), names)
        for log in logs.values():
            if form not in log:
                continue
            found = log[form]
            cells = [
                f"{one['value']:.4g} ({one['bootstrap'][0]:.3g} to {one['bootstrap'][1]:.3g}; "
                f"{one['profile'][0]:.3g} to {one['profile'][1]:.3g})"
                for one in (found["params"][name] for name in names)
            ]
            about = (log["title"], f"{log['points']}, {log['runs']}", found["status"])
            lines.append(f"| {' | '.join((*about, *cells))} |")
    return "\n".join(lines).strip()


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="of the logs")
    parser.add_argument("--bootstrap", type=int, default=1000, help="replicates, over runs")
    parser.add_argument("--quick", action="store_true", help="one loss of Gadre, 50 replicates")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the results")
    arguments = parser.parse_args(argv)
    losses = tuple(logs_of_others.GADRE_LOSSES)
    if arguments.quick:
        arguments.bootstrap, losses = 50, losses[:1]
    logs = logs_of_others.read(arguments.data, losses)
    if arguments.quick:
        logs = [log for log in logs if log.source != "gemstones" or log.name == "gemstones_hot"]
    if not logs:
        print(f"none of the public logs is in {arguments.data}: nothing to fit. "
              "docs/logs.md says where they are from.")  # fmt: skip
        return
    command = f"python -m benchmarks.scaling_real_logs --data DIR --bootstrap {arguments.bootstrap}"
    out: dict[str, Any] = {
        "benchmark": "scaling_real_logs",
        "loss": "huber",
        "delta": DELTA,
        "level": LEVEL,
        "bootstrap": arguments.bootstrap,
        "provenance": timing.provenance(command + (" --quick" if arguments.quick else "")),
        "logs": {},
    }
    start, results, path = time.perf_counter(), out["logs"], None
    for log in logs:
        results[log.name] = one_log(log, arguments.bootstrap)
        if log.name == "gemstones_hot_100b":
            results[log.name]["training_curves"] = training_curves(log)
        path = timing.write("scaling_real_logs", out, arguments.out)
        print(f"{log.name}: {time.perf_counter() - start:.0f} s", flush=True)
    print(markdown(results))
    print(path)


if __name__ == "__main__":
    main()
