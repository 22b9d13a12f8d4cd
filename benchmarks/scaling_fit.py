"""Bootstrapped fits of the Chinchilla form, scipy's multi-start protocol beside ours.

Question: how long does a bootstrapped fit take, does it reach the minimum that thousands of starts
    reach, and the same one whatever the units?
Command: `python -m benchmarks.scaling_fit [--points 240] [--bootstrap 4000] [--inits 48]
    [--replicates 12] [--data DIR] [--out DIR]`
Time: about 10 minutes on 2 CPU cores, and 10 more with `--data`; `--quick` a minute.
Expected result: OUT/<device>/scaling_fit_POINTS.json; the fit takes seconds, and no replicate is
    above an exhaustive search by more than 1e-9 of the objective.

Peer: L-BFGS-B with an analytic gradient from the grid of 4500 starts of Besiroglu et al. (2024),
after Hoffmann et al. (2022), once with scipy's default tolerances and once with tight ones.
The exhaustive search (`scaling_search`) takes all 4500 starts down by Newton for each of the first
replicates, scipy with tight tolerances takes `--inits` of them down for each, and all 4500 for the
first replicate. With `--data` the fits of public logs are repeated with N and D in nine pairs of
units and searched exhaustively in the units of the data.

scipy is timed per start; `extrapolated_s` is that times 4500 starts times the number of fits. Ours
is timed cold (compilation included, once a process) and warm. All minimize the same sum of Huber
losses of log residuals, delta = 1e-3, on the same planted data with 1% noise. CPU seconds stand
beside wall seconds because a shared machine stretches the latter.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import logs_of_others, timing
from benchmarks import scaling_search as search
from theory import scaling
from theory.scaling import api, losses, problem, solve
from theory.scaling import bootstrap as resampling
from theory.scaling.precision import float64_on_host

DELTA = 1e-3
UNITS = (1.0, 1e6, 1e-6)  # of N and of D, all pairs
POLISHED = 45  # of scipy's ends with default tolerances
EXHAUSTIVE_ROWS = 300  # logs of more rows are not searched exhaustively
TOLERANCES = {
    "default": {},
    "tight": {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 2000, "maxfun": 20000},
}
TRUTH = {"E": 1.82, "A": 482.0, "B": 2085.0, "alpha": 0.348, "beta": 0.366}


def planted(points: int, seed: int) -> dict[str, np.ndarray]:
    """Log-uniform N in 4e7..1e10 and D in 1e9..4e11, log loss with Student t noise of scale 1%."""
    rng = np.random.default_rng(seed)
    N = np.exp(rng.uniform(np.log(4e7), np.log(1e10), points))
    D = np.exp(rng.uniform(np.log(1e9), np.log(4e11), points))
    loss = scaling.forms["chinchilla"].predict(TRUTH, {"N": N, "D": D})
    return {"N": N, "D": D, "loss": loss * np.exp(0.01 * rng.standard_t(5, points))}


def replicates(data: dict[str, np.ndarray], fit: scaling.Fit, count: int) -> list[dict[str, Any]]:
    """The first replicates of a bootstrap: its resampled rows as weights, and what it fitted."""
    points = len(data["loss"])
    assert fit.bootstrap is not None
    assert fit.bootstrap_status is not None
    total = len(fit.bootstrap["E"])
    if fit.bootstrap_redrawn or fit.bootstrap_status["failed"]:
        raise RuntimeError("replicates were redrawn or failed: their draws cannot be matched")
    ones = np.ones(points)
    order = problem.canonical_order(
        {name: data[name] for name in fit.law.columns}, data["loss"], ones, np.zeros(points, int)
    )
    drawn = resampling.draw(
        np.random.default_rng([fit.seed, 0]), total, ones, np.arange(points),
        lambda weights: np.zeros(len(weights), bool),
    )  # fmt: skip
    out = []
    for i in range(count):
        weight = np.empty(points)
        weight[order] = drawn.weights[i]
        params = {name: float(values[i]) for name, values in fit.bootstrap.items()}
        out.append({"data": {**data, "weight": weight}, "params": params})
    return out


def exhaustive(data: dict[str, np.ndarray], fit: scaling.Fit, count: int, inits: int) -> Any:
    """Replicates of the bootstrap beside 4500 starts of Newton and beside scipy on some of them."""
    gaps, settled, beside, some = [], [], [], []
    for one in replicates(data, fit, count):
        ours = float(search.objective(one["params"], one["data"], "huber", DELTA))
        found = search.newton(one["data"], "huber", DELTA)
        gaps.append(ours / float(np.min(found.values)) - 1)
        settled.append(found.settled)
        peer = search.lbfgsb(one["data"], search.grid(inits), TOLERANCES["tight"], DELTA)
        beside.append(float(np.min(peer["values"]) / np.min(found.values)) - 1)
        some.append(float(np.min(peer["values"])) / ours - 1)
    one = replicates(data, fit, 1)[0]
    ours = float(search.objective(one["params"], one["data"], "huber", DELTA))
    wide = search.lbfgsb(one["data"], search.grid(), TOLERANCES["default"], DELTA)
    best = wide["ends"][np.argsort(wide["values"])[:POLISHED]]
    fine = search.lbfgsb(one["data"], best, TOLERANCES["tight"], DELTA)
    return {
        "starts": search.STARTS,
        "replicates": count,
        "ours_over_newton_minus_1": {"largest": max(gaps), "least": min(gaps)},
        "share_of_newton_starts_settled": float(np.mean(settled)),
        "scipy_tight": {
            "starts": inits,
            "over_newton_minus_1": {"largest": max(beside), "least": min(beside)},
            "over_ours_minus_1": {"largest": max(some), "least": min(some)},
        },
        "scipy_4500_starts_of_replicate_0": {
            "options": "default, then tight from the best 45 ends",
            "over_ours_minus_1": float(np.min(fine["values"])) / ours - 1,
        },
    }


def units(log: logs_of_others.Log) -> dict[str, Any]:
    """Fits of one log with N and D in other units; and beside 4500 starts if it has few rows."""
    data = {name: log.data[name] for name in ("N", "D", "loss")}
    out: dict[str, Any] = {"points": len(data["loss"])}
    for kind in ("huber", "squared", "l1"):
        values, moved, statuses = [], 0.0, set()
        first: dict[str, float] = {}
        for by_n, by_d in itertools.product(UNITS, UNITS):
            scaled = {"N": data["N"] * by_n, "D": data["D"] * by_d, "loss": data["loss"]}
            fit = scaling.fit("chinchilla", scaled, loss=kind, delta=DELTA)
            params = dict(fit.params)
            params["A"] *= by_n ** -params["alpha"]  # A N^-alpha in the units of the data
            params["B"] *= by_d ** -params["beta"]
            first = first or params
            moved = max(moved, *(abs(params[n] / first[n] - 1) for n in first if first[n]))
            values.append(float(search.objective(params, data, kind, DELTA)))
            statuses.add(str(fit.status))
        out[kind] = {
            "status": sorted(statuses),
            "objective": values[0],
            "objective_largest_over_least_minus_1": max(values) / min(values) - 1,
            "parameters_move_by": moved,
        }
        if len(data["loss"]) <= EXHAUSTIVE_ROWS:
            found = search.newton(data, kind, DELTA)
            gap = max(values) / float(np.min(found.values)) - 1
            out[kind]["over_4500_starts_minus_1"] = gap
    return out


def search_gap(data: dict[str, np.ndarray], replicates: int) -> dict[str, float | int]:
    """How often, and by how much, the effort spent on a replicate misses a lower minimum.

    The same resampled weights are searched with the effort of a bootstrap replicate and with that
    of a fit, which is some forty times more.
    """
    form, loss = scaling.forms["chinchilla"], losses.resolve("huber", DELTA)
    points = len(data["loss"])
    counts = np.random.default_rng(1).multinomial(points, np.full(points, 1 / points), replicates)
    columns = {name: data[name] for name in form.columns}
    with float64_on_host():
        task = problem.build(form, columns, data["loss"], np.ones(points))
        weights = np.pad(counts.astype(float), ((0, 0), (0, task.v.size - points)))
        starts = solve.prepare(form, task, loss)

        def lowest(w: np.ndarray, effort: solve.Effort, warm: np.ndarray | None) -> solve.Minima:
            return solve.search(task, loss, starts, w, effort, np.random.default_rng(2), warm)

        full = lowest(task.weights[None], api.EFFORT, None)
        warm = np.broadcast_to(full.theta, (replicates, 1, full.theta.shape[1]))
        quick = lowest(weights, api.replicate_effort(points), warm)
        hard = lowest(weights, api.EFFORT, warm)
    gap = quick.value / np.minimum(quick.value, hard.value) - 1
    return {
        "replicates": replicates,
        "share_above_the_lower_minimum_by_1e-9": float(np.mean(gap > 1e-9)),
        "largest_relative_gap": float(np.max(gap)),
    }


def measure(points: int, bootstrap: int, inits: int, searched: int) -> dict[str, object]:
    """One size of problem: ours cold and warm, the peer a start."""
    data = planted(points, seed=0)
    ours = {}
    fit = None
    for name in ("cold", "warm"):
        wall, cpu = time.perf_counter(), time.process_time()
        fit = scaling.fit("chinchilla", data, delta=DELTA, bootstrap=bootstrap)
        ours[f"{name}_s"] = time.perf_counter() - wall
        ours[f"{name}_cpu_s"] = time.process_time() - cpu
    assert fit is not None
    peers = {}
    for name, options in TOLERANCES.items():
        peer = search.lbfgsb(data, search.grid(inits), options, DELTA)
        values = np.asarray(peer["values"])
        peers[name] = {
            "options": options,
            "inits_timed": inits,
            "s_per_init": peer["wall"],
            "cpu_s_per_init": peer["cpu"],
            "extrapolated_cpu_s": peer["cpu"] * search.STARTS * (bootstrap + 1),
            "best_objective_over_ours": float(np.min(values) / fit.objective),
            "share_of_inits_within_1e-6_of_ours": float(
                np.mean(values < fit.objective * (1 + 1e-6))
            ),
        }
    return {
        "points": points,
        "bootstrap": bootstrap,
        "delta": DELTA,
        "ours": {
            **ours,
            "objective": fit.objective,
            "status": str(fit.status),
            "bootstrap_status": fit.bootstrap_status,
        },
        "scipy_lbfgsb": peers,
        "search_gap": search_gap(data, replicates=300),
        "exhaustive": exhaustive(data, fit, searched, inits) if searched else None,
    }


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=240)
    parser.add_argument("--bootstrap", type=int, default=4000)
    parser.add_argument("--inits", type=int, default=48, help="starts of the peer to time")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the results")
    parser.add_argument("--replicates", type=int, default=12, help="to search exhaustively")
    parser.add_argument("--data", type=Path, help="folder of public logs, for the test of units")
    parser.add_argument("--quick", action="store_true", help="a small size, to see it run")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.points, arguments.bootstrap, arguments.inits = 60, 200, 4
        arguments.replicates = 0
    command = (
        f"python -m benchmarks.scaling_fit --points {arguments.points} --bootstrap "
        f"{arguments.bootstrap} --inits {arguments.inits} --replicates {arguments.replicates}"
    )
    measured = measure(arguments.points, arguments.bootstrap, arguments.inits, arguments.replicates)
    logs = []
    if arguments.data is not None:
        command += " --data DIR"
        logs = logs_of_others.read(arguments.data, losses=("loss_c4_val",))
        if not logs:
            print(f"none of the public logs is in {arguments.data}; the test of units is left out")
    result: dict[str, Any] = {
        "benchmark": "scaling_fit",
        **measured,
        "provenance": timing.provenance(command),
    }
    name = f"scaling_fit_{arguments.points}"
    timing.write(name, result, arguments.out)  # what follows takes long
    for log in logs:
        result.setdefault("units", {})[log.name] = found = units(log)
        print(log.name, json.dumps(found), flush=True)
    print(json.dumps(result, indent=1))
    print(timing.write(name, result, arguments.out))


if __name__ == "__main__":
    main()
