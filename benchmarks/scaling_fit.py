"""Bootstrapped fits of the Chinchilla form, scipy's multi-start protocol beside ours.

    python -m benchmarks.scaling_fit [--points 240] [--bootstrap 4000] [--inits 64] [--out FILE]

Peer: L-BFGS-B from a grid of starts with an analytic gradient (Hoffmann et al., 2022; Besiroglu et
al., 2024, use 4500 starts). It is timed per start; its time for the whole job is that times 4500
starts times the number of fits, and is marked as extrapolated. Ours is timed cold (compilation
included, in this process) and warm. Both minimize the same sum of Huber losses of log residuals,
delta = 1e-3, on the same planted data, noise 1%.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import scipy
from scipy import optimize

from theory import scaling

DELTA = 1e-3
PEER_STARTS = 4500
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


def peer_fit(data: dict[str, np.ndarray], starts: np.ndarray) -> tuple[float, float, float]:
    """Seconds a start, least objective, and share of starts that reach it to 1e-6."""
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

    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 2000, "maxfun": 20000}
    begin = time.perf_counter()
    values = np.array(
        [
            optimize.minimize(objective, s, jac=True, method="L-BFGS-B", options=options).fun
            for s in starts
        ]
    )
    seconds = (time.perf_counter() - begin) / len(starts)
    best = float(np.min(values))
    return seconds, best, float(np.mean(values < best * (1 + 1e-6)))


def provenance() -> dict[str, str | int | None]:
    """Where and with what the figures were measured."""
    here = Path(__file__).resolve().parent
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    model = platform.processor() or None
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {
        "device": model,
        "cores": os.cpu_count(),
        "load_average_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "commit": commit.stdout.strip() if commit.returncode == 0 else None,
        "command": " ".join(["python", "-m", "benchmarks.scaling_fit", *sys.argv[1:]]),
    }


def measure(points: int, bootstrap: int, inits: int) -> dict[str, object]:
    """One size of problem: ours cold and warm, the peer a start."""
    data = planted(points, seed=0)
    seconds = []
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        fit = scaling.fit("chinchilla", data, delta=DELTA, bootstrap=bootstrap)
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    a_start, best, share = peer_fit(data, peer_starts(inits))
    return {
        "points": points,
        "bootstrap": bootstrap,
        "delta": DELTA,
        "ours": {
            "cold_s": seconds[0][0],
            "warm_s": seconds[1][0],
            "cold_cpu_s": seconds[0][1],
            "warm_cpu_s": seconds[1][1],
            "objective": fit.objective,
            "status": str(fit.status),
            "bootstrap_status": fit.bootstrap_status,
        },
        "scipy_lbfgsb": {
            "inits_timed": inits,
            "s_per_init": a_start,
            "objective": best,
            "share_of_inits_at_the_best": share,
            "extrapolated_s": a_start * PEER_STARTS * (bootstrap + 1),
        },
    }


def main() -> None:
    """Measure, print, and write the JSON where --out says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=240)
    parser.add_argument("--bootstrap", type=int, default=4000)
    parser.add_argument("--inits", type=int, default=64, help="starts of the peer to time")
    parser.add_argument("--out", type=Path, help="file to write; its folder is made")
    arguments = parser.parse_args()
    result = {
        "benchmark": "scaling_fit",
        **measure(arguments.points, arguments.bootstrap, arguments.inits),
        "provenance": provenance(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
