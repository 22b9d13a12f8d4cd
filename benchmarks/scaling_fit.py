"""Bootstrapped fits of the Chinchilla form, scipy's multi-start protocol beside ours.

Question: how long does a bootstrapped fit take, and does it reach the minimum that many starts of
    scipy reach?
Command: `python -m benchmarks.scaling_fit [--points 240] [--bootstrap 4000] [--inits 48]
    [--out DIR]`
Time: about 3 minutes on 2 CPU cores.
Expected result: OUT/<device>/scaling_fit_POINTS.json; the fit takes seconds and is never above the
    best of scipy's starts.

Peer: L-BFGS-B with an analytic gradient from the grid of 4500 starts of Besiroglu et al. (2024),
after Hoffmann et al. (2022), once with scipy's default tolerances and once with tight ones. It is
timed per start; `extrapolated_s` is that times 4500 starts times the number of fits. Ours is timed
cold (compilation included, once a process) and warm. All minimize the same sum of Huber losses of
log residuals, delta = 1e-3, on the same planted data with 1% noise. CPU seconds stand beside wall
seconds because a shared machine stretches the latter.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
from scipy import optimize

from benchmarks import timing
from theory import scaling
from theory.scaling import api, losses, problem, solve
from theory.scaling.precision import float64_on_host

DELTA = 1e-3
PEER_STARTS = 4500
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


def peer_starts(count: int) -> np.ndarray:
    """`count` of the 4500 starts of Besiroglu et al., evenly spaced in their order."""
    grid = itertools.product(
        np.arange(0, 2.5, 0.5),  # alpha
        np.arange(0, 2.5, 0.5),  # beta
        np.arange(-1, 1.5, 0.5),  # log E
        np.arange(0, 30, 5),  # log A
        np.arange(0, 30, 5),  # log B
    )
    starts = np.array(list(grid))
    return starts[np.linspace(0, len(starts) - 1, count).astype(int)]


def peer_fit(
    data: dict[str, np.ndarray], starts: np.ndarray, options: dict[str, float]
) -> dict[str, np.ndarray | float]:
    """Wall and CPU seconds a start, and the objective that each start reached."""
    log_n, log_d, log_y = (np.log(data[name]) for name in ("N", "D", "loss"))

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        alpha, beta, e, a, b = theta
        z = np.stack([np.full_like(log_y, e), a - alpha * log_n, b - beta * log_d])
        top = z.max(axis=0)
        share = np.exp(z - top)
        total = share.sum(axis=0)
        r = log_y - top - np.log(total)
        share /= total
        size = np.minimum(np.abs(r), DELTA)
        pull = -np.clip(r, -DELTA, DELTA)
        slope = np.stack([-share[1] * log_n, -share[2] * log_d, *share])
        return float(np.sum(size * (np.abs(r) - size / 2))), slope @ pull

    wall, cpu = time.perf_counter(), time.process_time()
    values = [
        optimize.minimize(objective, s, jac=True, method="L-BFGS-B", options=options).fun
        for s in starts
    ]
    return {
        "wall": (time.perf_counter() - wall) / len(starts),
        "cpu": (time.process_time() - cpu) / len(starts),
        "values": np.array(values),
    }


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

        def search(w: np.ndarray, effort: solve.Effort, warm: np.ndarray | None) -> solve.Minima:
            return solve.search(task, loss, starts, w, effort, np.random.default_rng(2), warm)

        full = search(task.weights[None], api.EFFORT, None)
        quick = search(weights, api.replicate_effort(points), full.theta[0])
        hard = search(weights, api.EFFORT, full.theta[0])
    gap = quick.value / np.minimum(quick.value, hard.value) - 1
    return {
        "replicates": replicates,
        "share_above_the_lower_minimum_by_1e-9": float(np.mean(gap > 1e-9)),
        "largest_relative_gap": float(np.max(gap)),
    }


def measure(points: int, bootstrap: int, inits: int) -> dict[str, object]:
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
        peer = peer_fit(data, peer_starts(inits), options)
        values = np.asarray(peer["values"])
        peers[name] = {
            "options": options,
            "inits_timed": inits,
            "s_per_init": peer["wall"],
            "cpu_s_per_init": peer["cpu"],
            "extrapolated_cpu_s": peer["cpu"] * PEER_STARTS * (bootstrap + 1),
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
    }


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=240)
    parser.add_argument("--bootstrap", type=int, default=4000)
    parser.add_argument("--inits", type=int, default=48, help="starts of the peer to time")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    command = (
        f"python -m benchmarks.scaling_fit --points {arguments.points} "
        f"--bootstrap {arguments.bootstrap} --inits {arguments.inits}"
    )
    result = {
        "benchmark": "scaling_fit",
        **measure(arguments.points, arguments.bootstrap, arguments.inits),
        "provenance": timing.provenance(command),
    }
    print(json.dumps(result, indent=1))
    print(timing.write(f"scaling_fit_{arguments.points}", result, arguments.out))


if __name__ == "__main__":
    main()
