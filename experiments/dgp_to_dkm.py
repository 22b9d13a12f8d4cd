"""Do wide deep Gaussian processes have the Gram matrices of a deep kernel machine?

Question: a deep Gaussian process with N features in its hidden layer and every output seen N times
is sampled for N = 4 to 256. How far is the posterior mean of its Gram matrix from the one that
maximises the deep kernel machine's objective, and does the distance fall as 1/N?

Command: `python -m experiments.dgp_to_dkm --preset demo`
Time: preset demo 2 to 3 minutes on 2 CPU cores, smoke a quarter of one.
Expected result: runs/dgp_to_dkm-demo with a table (results.json) and dgp_to_dkm.png. Relative error
about 0.017 at N = 16, 0.005 at 64 and 0.001 to 0.002 at 256, where sampling alone accounts for half
of it; the NNGP, which learns no representation, is 0.32 away.

Six inputs of two dimensions, one target, squared exponential kernels, one hidden layer, nu = 1, the
Metropolis-adjusted Langevin algorithm. What is finished is skipped by a second call.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from farwide.endings import plain_endings
from farwide.plotting import gram_convergence, save_png
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory.dkm.deep_gp import sample_deep_gp
from theory.dkm.optimise import fit_grams

KERNEL, NU, NOISE_VARIANCE, JITTER = "squared_exponential", 1.0, 0.1, 1e-6


@dataclass(frozen=True)
class Size:
    """How much is sampled."""

    widths: tuple[int, ...]
    chains: int
    warmup: int
    steps: int


PRESETS = {
    "smoke": Size((4, 16), 4, 300, 1000),
    "demo": Size((4, 8, 16, 32, 64, 128, 256), 16, 2000, 30000),
}


@dataclass(frozen=True)
class Arguments:
    """Sample deep Gaussian processes of growing width beside their deep kernel machine."""

    preset: Literal["smoke", "demo"] = "demo"
    name: str | None = None
    """Folder below --out; dgp_to_dkm-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the chains."""


class Problem(NamedTuple):
    """The toy data set, float64.

    Attributes:
      G0: (6, 6), X X^T / 2.
      y: (6,).
    """

    G0: np.ndarray
    y: np.ndarray


def problem() -> Problem:
    """y = sin(2 x_1) + 0.3 x_2 at six standard normal inputs."""
    X = np.random.default_rng(0).standard_normal((6, 2))
    return Problem(X @ X.T / 2, np.sin(2 * X[:, 0]) + 0.3 * X[:, 1])


def limit(data: Problem) -> dict[str, Any]:
    """The deep kernel machine and the NNGP as plain values."""
    settings = {"kernel": KERNEL, "noise_variance": NOISE_VARIANCE, "jitter": JITTER}
    with jax.enable_x64(True):
        fitted = fit_grams(*data, depth=1, nu=NU, **settings)
        nngp = fit_grams(*data, depth=1, nu=np.inf, **settings)
    G, K = (np.asarray(each.grams[0]) for each in (fitted, nngp))
    return {
        "objective": float(fitted.objective.value),
        "nngp_objective": float(nngp.objective.value),
        "moved": float(np.linalg.norm(G - K) / np.linalg.norm(K)),
        "nngp_distance": float(np.linalg.norm(G - K) / np.linalg.norm(G)),
        "converged": bool(fitted.converged),
        "gram": G.tolist(),
    }


def finite(data: Problem, width: int, size: Size, seed: int) -> dict[str, Any]:
    """One width: the mean Gram matrix of every chain, and how it was sampled."""
    start = time.perf_counter()
    with jax.enable_x64(True):
        sampled = sample_deep_gp(
            jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), width),
            *data,
            width=width,
            depth=1,
            nu=NU,
            kernel=KERNEL,
            noise_variance=NOISE_VARIANCE,
            jitter=JITTER,
            chains=size.chains,
            warmup=size.warmup,
            steps=size.steps,
        )
        chains = np.asarray(sampled.grams[0])
    return {
        "width": width,
        "seconds": time.perf_counter() - start,
        "acceptance": float(np.asarray(sampled.acceptance).mean()),
        "step_size": float(np.asarray(sampled.step_size).mean()),
        "grams": chains.tolist(),
    }


def compare(chains: np.ndarray, G: np.ndarray) -> dict[str, float]:
    """Relative error of the mean over chains, its standard error (jackknife), and its noise floor.

    The floor is the error that sampling gives on average where there is no other.
    """
    count, norm = len(chains), np.linalg.norm(G)
    error = np.linalg.norm(chains.mean(0) - G) / norm
    left_out = (chains.sum(0) - chains) / (count - 1)
    each = np.linalg.norm(left_out - G, axis=(1, 2)) / norm
    variance = chains.var(0, ddof=1).sum() / count
    return {
        "error": float(error),
        "standard_error": float(np.sqrt((count - 1) * each.var())),
        "noise_floor": float(np.sqrt(variance) / norm),
    }


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"dgp_to_dkm-{arguments.preset}")
    size, data = PRESETS[arguments.preset], problem()
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "size": asdict(size),
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        machine = limit(data)
        G, found = np.asarray(machine["gram"]), []
        for width in size.widths:
            path = folder / f"width-{width}.json"
            if not path.is_file():
                console.print(f"width {width}: {size.chains} chains of {size.steps} steps")
                write_json(path, finite(data, width, size, arguments.seed))
            result = read_json(path)
            compared = compare(np.asarray(result.pop("grams")), G)
            found.append(result | compared)
        results = {"environment": environment_record(), "limit": machine, "widths": found}
        write_json(folder / "results.json", description | results)
        draw(folder, machine, found)
    console.print(table(machine, found))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def draw(folder: Path, machine: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """The figure."""
    columns = ("width", "error", "standard_error", "noise_floor")
    figure = gram_convergence(
        *([each[name] for each in found] for name in columns),
        title="Wide deep Gaussian processes have the Gram matrix of the deep kernel machine",
        without=("NNGP: no representation is learned", machine["nngp_distance"]),
    )
    save_png(figure, folder / "dgp_to_dkm.png")


def table(machine: dict[str, Any], found: list[dict[str, Any]]) -> Table:
    """One line for each width."""
    title = (
        f"Deep kernel machine: objective {machine['objective']:.6f} nats, the NNGP's "
        f"{machine['nngp_objective']:.6f}; its Gram matrix moved by {machine['moved']:.3f}"
    )
    shown = Table(title=title, box=None, pad_edge=False)
    for column in ("width", "relative error", "noise floor", "acceptance", "seconds"):
        shown.add_column(column, justify="right")
    for each in found:
        shown.add_row(
            str(each["width"]),
            f"{each['error']:.4f} ± {each['standard_error']:.4f}",
            f"{each['noise_floor']:.4f}",
            f"{each['acceptance']:.2f}",
            f"{each['seconds']:.1f}",
        )
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
