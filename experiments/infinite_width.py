"""How well do infinitely wide networks classify images, and do they know how sure to be?

Question: NNGP regression (a Bayesian network) and NTK regression (an ensemble trained to the end)
on digits and Fashion-MNIST, by fully connected and convolutional networks: test accuracy,
calibration of the class probabilities, learning curves, and the time of a kernel entry.

Command: `python -m experiments.infinite_width --preset demo`
Time: preset demo 2 to 3 minutes on 2 CPU cores, smoke under 1; cpu not measured.
Expected result: runs/infinite_width-demo with a table (results.json), reliability.png and
learning_curves.png. Test accuracy about 99% on digits (FC, 1000 examples), 97% to 98% (pooled CNN,
300), 84% on Fashion-MNIST (FC, 4000); expected calibration errors of 1% to 5%.

Targets are one-hot minus 1/classes. Ridge and prior scale are chosen by the likelihood of a fifth
of the training examples; test examples choose nothing. What is finished is skipped by a second
call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy import optimize

from farwide.calibration import Reliability, log_probabilities, reliability, scores
from farwide.data import DataError, LabelledImages, balanced, digits, fashion_mnist
from farwide.endings import plain_endings
from farwide.plotting import LearningCurve, learning_curves, reliability_diagrams, save_png
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory import predict, stax

KERNELS: tuple[str, ...] = ("nngp", "ntk")
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # times the mean variance of the training examples
SCALES = (-7.0, 5.0)  # natural log of the factor of the prior's variance
DATA: dict[str, Callable[[], LabelledImages]] = {"digits": digits, "fashion-mnist": fashion_mnist}


@dataclass(frozen=True)
class Cell:
    """One kernel: a network on so many examples of a data set."""

    data: str
    network: str
    train: int
    test: int

    @property
    def name(self) -> str:
        return f"{self.data}-{self.network}-{self.train}"


PRESETS = {
    "smoke": (
        Cell("digits", "FC", 300, 300),
        Cell("digits", "CNN", 100, 200),
    ),
    "demo": (
        Cell("digits", "FC", 1000, 797),
        Cell("digits", "pooled CNN", 300, 797),
        Cell("fashion-mnist", "FC", 4000, 2000),
        Cell("fashion-mnist", "CNN", 1000, 1000),
    ),
    "cpu": (
        Cell("digits", "FC", 1000, 797),
        Cell("digits", "pooled CNN", 1000, 797),
        Cell("fashion-mnist", "FC", 10000, 10000),
        Cell("fashion-mnist", "CNN", 4000, 5000),
    ),
}


@dataclass(frozen=True)
class Arguments:
    """Classify images by kernel regression with infinitely wide networks."""

    preset: Literal["smoke", "demo", "cpu"] = "demo"
    name: str | None = None
    """Folder below --out; infinite_width-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the choice of examples."""


class Kernels(NamedTuple):
    """Covariances of a cell, float64.

    Attributes:
      train: name -> (n, n) of each kernel.
      cross: name -> (test, n).
      variance: (test,) of the NNGP.
    """

    train: dict[str, np.ndarray]
    cross: dict[str, np.ndarray]
    variance: np.ndarray


class Fitted(NamedTuple):
    """What the held-back training examples chose."""

    ridge: float
    scale: float
    nll: float


def network(name: str) -> stax.Layer:
    """FC: 3 hidden layers. CNN: 4 convolutions, flattened. pooled CNN: 3, pooled twice."""

    def conv() -> stax.Layer:
        return stax.serial(stax.Conv(1, (3, 3), (1, 1), "SAME", 2**0.5, 0.1), stax.Relu())

    if name == "FC":
        hidden = [stax.serial(stax.Dense(1, 2**0.5, 0.1), stax.Relu())] * 3
        return stax.serial(*hidden, stax.Dense(1))
    if name == "CNN":
        return stax.serial(*[conv()] * 4, stax.Flatten(), stax.Dense(1))
    if name == "pooled CNN":
        pool = stax.AvgPool((2, 2), strides=(2, 2))
        return stax.serial(conv(), conv(), pool, conv(), stax.GlobalAvgPool(), stax.Dense(1))
    raise ValueError(f"network must be FC, CNN or pooled CNN, got {name!r}")


def examples(cell: Cell, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """(x_train, y_train, x_test, y_test, classes); every first part of the first is balanced."""
    data = DATA[cell.data]()
    train = balanced(data.y_train, cell.train, seed)
    test = np.random.default_rng(seed).permutation(len(data.y_test))[: cell.test]
    mean, deviation = data.x_train[train].mean(), data.x_train[train].std()
    x_train, x_test = ((x - mean) / deviation for x in (data.x_train[train], data.x_test[test]))
    if cell.network == "FC":  # pixels are channels
        x_train, x_test = (x.reshape(len(x), -1) for x in (x_train, x_test))
    return x_train, data.y_train[train], x_test, data.y_test[test], len(data.classes)


def compute(
    cell: Cell, x_train: np.ndarray, x_test: np.ndarray
) -> tuple[Kernels, dict[str, float]]:
    """The kernels of a cell, and the seconds that compiling and computing them took."""
    kernel_fn = network(cell.network).kernel_fn

    def both(x, other=None):
        kernel = kernel_fn(x, other, KERNELS)
        return kernel.nngp, kernel.ntk

    def variances(x):
        return jax.lax.map(lambda one: kernel_fn(one[None], None, "cov1")[0], x, batch_size=64)

    jobs = (both, (x_train,)), (both, (x_test, x_train)), (variances, (x_test,))
    start = time.perf_counter()
    compiled = [jax.jit(f).lower(*xs).compile() for f, xs in jobs]
    ready = time.perf_counter()
    results = []
    seconds = []
    for run, (_, xs) in zip(compiled, jobs, strict=True):
        before = time.perf_counter()
        results.append(jax.block_until_ready(run(*xs)))
        seconds.append(time.perf_counter() - before)
    train, cross = (
        {name: np.asarray(k, np.float64) for name, k in zip(KERNELS, result, strict=True)}
        for result in results[:2]
    )
    times = {
        "compile_seconds": ready - start,
        "train_seconds": seconds[0],
        "cross_seconds": seconds[1],
        "train_us_an_entry": 1e6 * seconds[0] / len(x_train) ** 2,
        "cross_us_an_entry": 1e6 * seconds[1] / (len(x_train) * len(x_test)),
    }
    return Kernels(train, cross, np.asarray(results[2], np.float64)), times


class Pair(NamedTuple):
    """Both kernels, as theory.predict takes them."""

    nngp: Any
    ntk: Any


def posterior(
    name: str, kernels: Kernels, y: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Means (test, classes) and variances (test,) of the outputs at the test examples."""
    # only the diagonal of the test covariance is used: the rest of it need not be known
    own = np.diag(kernels.variance)
    with jax.enable_x64(True):
        predict_fn = predict.gp_inference(Pair(**kernels.train), jnp.asarray(y), diag_reg=ridge)
        out = predict_fn(name, Pair(**kernels.cross), Pair(own, own))
        mean, variance = np.asarray(out.mean), np.diagonal(np.asarray(out.covariance)).copy()
    return mean, np.maximum(variance, 1e-12 * kernels.variance)


def part_of(kernels: Kernels, n: int) -> Kernels:
    """The same with the first n training examples."""
    return Kernels(
        {name: k[:n, :n] for name, k in kernels.train.items()},
        {name: k[:, :n] for name, k in kernels.cross.items()},
        kernels.variance,
    )


def held_back(kernels: Kernels) -> tuple[int, Kernels]:
    """(examples kept, kernels whose test examples are the last fifth of the training examples)."""
    n = len(kernels.train["nngp"])
    kept = n - n // 5
    return kept, Kernels(
        {name: k[:kept, :kept] for name, k in kernels.train.items()},
        {name: k[kept:, :kept] for name, k in kernels.train.items()},
        np.diagonal(kernels.train["nngp"])[kept:],
    )


def choose(name: str, kernels: Kernels, targets: np.ndarray, labels: np.ndarray) -> Fitted:
    """The ridge and the scale under which the held-back training examples are likeliest."""
    kept, inner = held_back(kernels)
    best = None
    for ridge in RIDGES:
        mean, variance = posterior(name, inner, targets[:kept], ridge)

        def nll(log_scale: float, mean=mean, variance=variance) -> float:
            log_p = log_probabilities(mean, np.exp(log_scale) * variance)
            return scores(log_p, labels[kept:]).nll

        found: Any = optimize.minimize_scalar(
            nll, bounds=SCALES, method="bounded", options={"xatol": 0.05}
        )
        if best is None or found.fun < best.nll:
            best = Fitted(ridge, float(np.exp(found.x)), float(found.fun))
    assert best is not None
    return best


def curve_sizes(n: int) -> list[int]:
    """Training set sizes of a learning curve: 1, 2, 5 times powers of ten up to n, and n."""
    steps = [m * 10**e for e in range(1, 6) for m in (1, 2, 5)]
    return [s for s in steps if 50 <= s < 0.9 * n] + [n]


def classify(cell: Cell, seed: int) -> dict[str, Any]:
    """A cell's results as plain values."""
    x_train, y_train, x_test, y_test, classes = examples(cell, seed)
    kernels, times = compute(cell, x_train, x_test)
    targets = np.eye(classes)[y_train] - 1 / classes
    found: dict[str, Any] = {
        "cell": asdict(cell),
        "classes": classes,
        "times": times,
        "kernels": {},
    }
    for name in KERNELS:
        fitted = choose(name, kernels, targets, y_train)
        curve = []
        for n in curve_sizes(cell.train):
            mean, variance = posterior(name, part_of(kernels, n), targets[:n], fitted.ridge)
            log_p = log_probabilities(mean, fitted.scale * variance)
            curve.append({"examples": n} | scores(log_p, y_test)._asdict())
        found["kernels"][name] = {
            "chosen": fitted._asdict(),
            "scores": scores(log_p, y_test)._asdict(),
            "reliability": {k: v.tolist() for k, v in reliability(log_p, y_test)._asdict().items()},
            "curve": curve,
        }
    return found


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"infinite_width-{arguments.preset}")
    cells = PRESETS[arguments.preset]
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "cells": [asdict(cell) for cell in cells],
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        for cell in cells:
            path = folder / f"{cell.name.replace(' ', '_')}.json"
            if not path.is_file():
                console.print(f"{cell.data}, {cell.network}: {cell.train} and {cell.test} images")
                write_json(path, classify(cell, arguments.seed))
        found = [read_json(folder / f"{cell.name.replace(' ', '_')}.json") for cell in cells]
        write_json(
            folder / "results.json",
            description | {"environment": environment_record(), "cells": found},
        )
        draw(folder, found)
    console.print(table(found))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def draw(folder: Path, found: list[dict[str, Any]]) -> None:
    """The two figures; where no test example is wrong, half of one is drawn."""
    panels, errors = {}, {}
    curves: dict[str, list[LearningCurve]] = {}
    for result in found:
        cell = Cell(**result["cell"])
        title = f"{cell.data}, {cell.network}"
        panels[title], errors[title] = {}, {}
        for name, each in result["kernels"].items():
            points = {k: np.array(v, float) for k, v in each["reliability"].items()}
            panels[title][name.upper()] = Reliability(**points)
            errors[title][name.upper()] = each["scores"]["ece"]
            curve = each["curve"]
            curves.setdefault(cell.data, []).append(
                LearningCurve(
                    cell.network,
                    name,
                    [point["examples"] for point in curve],
                    [max(1 - point["accuracy"], 0.5 / cell.test) for point in curve],
                    [point["accuracy_error"] for point in curve],
                )
            )
    save_png(reliability_diagrams(panels, errors), folder / "reliability.png")
    title = "Test error falls with the number of training examples; bars are one standard error"
    save_png(learning_curves(curves, title), folder / "learning_curves.png")


def table(found: list[dict[str, Any]]) -> Table:
    """One line for each cell and kernel."""
    title = "Test images; accuracy and ECE in percent, NLL in nats, us for a kernel entry"
    shown = Table(title=title, box=None, pad_edge=False)
    for column in ("data", "network", "kernel"):
        shown.add_column(column)
    for column in ("train", "accuracy", "NLL", "Brier", "ECE", "us"):
        shown.add_column(column, justify="right")
    for result in found:
        cell = Cell(**result["cell"])
        for name, each in result["kernels"].items():
            s = each["scores"]
            shown.add_row(
                cell.data,
                cell.network,
                name.upper(),
                str(cell.train),
                f"{100 * s['accuracy']:.1f} ± {100 * s['accuracy_error']:.1f}",
                f"{s['nll']:.3f}",
                f"{s['brier']:.3f}",
                f"{100 * s['ece']:.1f}",
                f"{result['times']['cross_us_an_entry']:.3g}",
            )
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
