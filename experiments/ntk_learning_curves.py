"""Does the spectrum of a kernel predict how fast regression with it learns Fashion-MNIST?

Question: a network's NTK and NNGP on M images give a spectrum. Learning curves are predicted from
it and measured on other images: how far apart are they, up to n = M/2, with and without a
correction for the finite M? Does the error at the best ridge fall in n and in the number of
features?

Command: `python -m experiments.ntk_learning_curves --preset demo`
Time: preset demo (M = 8000) 8 CPU minutes, smoke a quarter of one; cpu (M = 16000) not measured.
Expected result: runs/ntk_learning_curves-demo with results.json and ntk_learning_curves.png. NTK:
uncorrected predictions are within 3% up to n = M/50 and 26% too low at M/4; those for a part of M
points are within 3% up to M/4, those with a power-law tail within 11%. The error at the best ridge
falls in n and in features, predicted and measured: True, four times a kernel.

Targets are one-hot minus 1/10, the error is the squared one summed over classes; the targets alone
have 0.9. The network is fully connected with three hidden ReLU layers. Measured: n of other
training images at random, all 10000 test images, the mean over draws. The best of the measured
ridges is the best on these test images, as theory's best ridge is on the population. What is
finished is skipped by a second call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy import linalg

from farwide.data import DataError, LabelledImages, digits, fashion_mnist
from farwide.endings import plain_endings
from farwide.plotting import Measured, Predicted, TheoryPanel, save_png, theory_curves
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory import spectra, stax

KERNELS = ("ntk", "nngp")
RIDGES = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)  # times the kernel's mean variance
DATA: dict[str, Callable[[], LabelledImages]] = {"digits": digits, "fashion-mnist": fashion_mnist}
FIT = (10, 30)  # the tail's law is fitted over the modes M/300 to M/30, from mode 10 on


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    data: str
    points: int  # M of the spectrum
    pool: int  # images that training sets are drawn from
    test: int
    draws: int  # of training sets, at most
    features_at: int  # examples of the sweep over features


PRESETS = {
    "smoke": Size("digits", 400, 400, 797, 4, 100),
    "demo": Size("fashion-mnist", 8000, 8000, 10000, 20, 1000),
    "cpu": Size("fashion-mnist", 16000, 16000, 10000, 20, 2000),
}


@dataclass(frozen=True)
class Arguments:
    """Predict learning curves of kernel regression from a spectrum, and measure them."""

    preset: Literal["smoke", "demo", "cpu"] = "demo"
    name: str | None = None
    """Folder below --out; ntk_learning_curves-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the choice of images and of random features."""


class Grams(NamedTuple):
    """A kernel on three sets of images, float64, in units of its mean variance, and the targets."""

    points: np.ndarray  # (M, M)
    pool: np.ndarray  # (pool, pool)
    cross: np.ndarray  # (test, pool)
    test: np.ndarray  # (some test, same test), for features
    y_points: np.ndarray  # (M, classes)
    y_pool: np.ndarray
    y_test: np.ndarray


def grams(name: str, size: Size, seed: int) -> Grams:
    """Spectrum points and pool are disjoint images of the training part, in random order."""
    data = DATA[size.data]()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.y_train))[: size.points + size.pool]
    mine, pool = order[: size.points], order[size.points :]
    test = rng.permutation(len(data.y_test))[: size.test]
    x = data.x_train[mine]
    mean, deviation = x.mean(), x.std()

    def flat(images: np.ndarray) -> np.ndarray:
        return ((images - mean) / deviation).reshape(len(images), -1).astype(np.float64)

    hidden = [stax.serial(stax.Dense(1, 2**0.5, 0.1), stax.Relu())] * 3
    kernel_fn = stax.serial(*hidden, stax.Dense(1)).kernel_fn
    parts = flat(data.x_train[mine]), flat(data.x_train[pool]), flat(data.x_test[test])
    with jax.enable_x64(True):
        own = jax.jit(lambda a: kernel_fn(a, None, name))
        cross = jax.jit(lambda a, b: kernel_fn(a, b, name))
        K = [own(parts[0]), own(parts[1]), cross(parts[2], parts[1]), own(parts[2][:2000])]
        K = [np.array(each) for each in K]
    scale = np.trace(K[0]) / len(K[0])
    classes = len(data.classes)
    targets = np.eye(classes) - 1 / classes
    ys = data.y_train[mine], data.y_train[pool], data.y_test[test]
    return Grams(*(each / scale for each in K), *(targets[y] for y in ys))


def sizes(size: Size) -> list[int]:
    """Training set sizes: doublings of M/800 up to M/2; M/50, M/4 and M/2 are among them."""
    M = size.points
    steps = {max(4, M // 800) * 2**i for i in range(30)}
    return sorted({n for n in steps if n < M / 2} | {M // 50, M // 4, M // 2})


def regress(K: np.ndarray, y: np.ndarray, cross: np.ndarray, ridge: float) -> np.ndarray:
    """Predictions at test points; without a ridge that of a jitter of 1e-10."""
    K = K + max(ridge, 1e-10) * np.eye(len(K))
    return cross @ linalg.solve(K, y, assume_a="pos", overwrite_a=True, check_finite=False)


class Sum:
    """Mean squared errors over draws and test points, for each ridge, and their standard errors."""

    def __init__(self, ridges: tuple[float, ...], test: int) -> None:
        self.draws: list[list[float]] = []
        self.points = np.zeros((len(ridges), test))

    def add(self, errors: np.ndarray) -> None:
        """(ridges, test) squared errors of one draw."""
        self.draws.append(errors.mean(1).tolist())
        self.points += errors

    def result(self) -> dict[str, list[float]]:
        """Variance over draws and over test points add up."""
        each = np.array(self.draws)
        count = len(each)
        over_draws = each.var(0, ddof=1) / count if count > 1 else np.zeros(each.shape[1])
        over_points = (self.points / count).var(1, ddof=1) / self.points.shape[1]
        error = np.sqrt(over_draws + over_points)
        return {"error": each.mean(0).tolist(), "standard_error": error.tolist(), "draws": [count]}


def measured_curve(g: Grams, size: Size, seed: int) -> list[dict[str, Any]]:
    """Test error at every n and ridge."""
    rows = []
    for n in sizes(size):
        rng = np.random.default_rng([seed, n])
        total = Sum(RIDGES, len(g.y_test))
        for _ in range(int(np.clip(2 * size.pool // n, 2, size.draws))):
            chosen = rng.permutation(len(g.pool))[:n]
            K, y, cross = g.pool[np.ix_(chosen, chosen)], g.y_pool[chosen], g.cross[:, chosen]
            guesses = (regress(K, y, cross, ridge) for ridge in RIDGES)
            total.add(np.stack([((f - g.y_test) ** 2).sum(1) for f in guesses]))
        rows.append({"n": n, "ridges": RIDGES} | total.result())
    return rows


def measured_features(g: Grams, size: Size, seed: int) -> list[dict[str, Any]]:
    """Test error at n = features_at of K random features with the kernel as covariance.

    Features are draws of the Gaussian process with this kernel on training and test images.
    """
    n, test = size.features_at, len(g.test)
    rows = []
    for K in [int(n * 2.0**e) for e in range(-4, 4)]:
        rng = np.random.default_rng([seed, n, K])
        total = Sum(RIDGES[1:], test)
        for _ in range(3):
            chosen = rng.permutation(len(g.pool))[:n]
            cross = g.cross[:test, chosen]
            joint = np.block([[g.pool[np.ix_(chosen, chosen)], cross.T], [cross, g.test]])
            joint[np.diag_indices(n + test)] += 1e-9
            root = linalg.cholesky(joint, lower=True, overwrite_a=True, check_finite=False)
            Z = root @ rng.standard_normal((n + test, K)) / np.sqrt(K)
            gram, cross, y = Z[:n] @ Z[:n].T, Z[n:] @ Z[:n].T, g.y_pool[chosen]
            guesses = (regress(gram, y, cross, ridge) for ridge in RIDGES[1:])
            total.add(np.stack([((f - g.y_test[:test]) ** 2).sum(1) for f in guesses]))
        rows.append({"features": K, "n": n, "ridges": RIDGES[1:]} | total.result())
    return rows


def spectrum_of(g: Grams) -> dict[str, Any]:
    s = spectra.empirical_spectrum(g.points, g.y_points)
    return {"eigenvalues": s.eigenvalues.tolist(), "coefficients": s.coefficients.tolist()}


def predicted(s: spectra.Spectrum, curve: list[dict], features: list[dict]) -> dict[str, Any]:
    """Every prediction at the measured places, and the checks."""
    M = len(s.eigenvalues)
    first = max(FIT[0], M // 300)
    tail = spectra.extend_tail(s, first, max(M // FIT[1], first + 8))
    n = np.array([row["n"] for row in curve])
    K = np.array([row["features"] for row in features])
    at = features[0]["n"]
    best = spectra.best_ridge(s, n, population=M)
    wide = spectra.best_ridge_features(s, at, K, population=M)
    many = np.unique(np.round(np.geomspace(10, M - 1, 60)))
    curves = {
        "uncorrected": spectra.learning_curve(s, n),
        "corrected": spectra.learning_curve(s, n, population=M),
        "tail": spectra.learning_curve(tail.spectrum, n),
    }
    found = {name: each.test.tolist() for name, each in curves.items()}
    by_ridge = [spectra.learning_curve(s, n, ridge=r, population=M).test.tolist() for r in RIDGES]
    every = spectra.best_ridge_features(s, many[:, None], [100, 1000, np.inf], population=M).test
    return found | {
        "by_ridge": by_ridge,
        "best": best.test.tolist(),
        "best_ridge": best.ridge.tolist(),
        "features": wide.test.tolist(),
        "features_ridge": wide.ridge.tolist(),
        "tail_exponents": [tail.a, tail.b],
        "exponents": [
            plain(spectra.exponents(s, first, last))
            for first, last in ((M // 800 or 1, max(M // 100, 12)), (M // 100, max(M // 10, 12)))
        ]
        + [plain(tail.fitted)],
        "monotone_in_n": bool((np.diff(every, axis=0) <= 1e-9).all()),
        "monotone_in_features": bool((np.diff(every, axis=1) <= 1e-9).all()),
        "measured_monotone_in_n": falls([min(row["error"]) for row in curve]),
        "measured_monotone_in_features": falls([min(row["error"]) for row in features]),
    }


def plain(found: spectra.Exponents) -> dict[str, Any]:
    return found._asdict() | {"a": found.a._asdict(), "b": found.b._asdict()}


def falls(values: list[float]) -> bool:
    return bool((np.diff(values) <= 0).all())


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """Predicted over measured without a ridge, its worst up to M/50, M/4, M/2; at other ridges."""
    curve, theory, M = found["curve"], found["predicted"], found["points"]
    n = np.array([row["n"] for row in curve])
    measured = np.array([row["error"] for row in curve])  # (n, ridges)
    out: dict[str, Any] = {}
    for name in ("uncorrected", "corrected", "tail"):
        ratio = np.array(theory[name]) / measured[:, 0]
        out[name] = ratio.tolist()
        for part, limit in (("M/50", M / 50), ("M/4", M / 4), ("M/2", M / 2)):
            out[f"{name}, worst to {part}"] = float(np.abs(ratio[n <= limit] - 1).max())
    each = np.array(theory["by_ridge"]).T / measured
    out["corrected, worst to M/2 at any ridge"] = float(np.abs(each - 1).max())
    late = n >= M / 50
    x, y = np.log(n[late]), np.log(measured[late, 0])
    out["measured slope from M/50"] = float(np.polyfit(x, y, 1)[0])
    best = np.array(theory["best"]) / measured.min(1)
    out["best ridge"] = best.tolist()
    wide = np.array([min(row["error"]) for row in found["features"]])
    out["features"] = (np.array(theory["features"]) / wide).tolist()
    return out


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"ntk_learning_curves-{arguments.preset}")
    size, seed = PRESETS[arguments.preset], arguments.seed
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": seed,
            "size": asdict(size),
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        kernels = {}
        for name in KERNELS:
            path = folder / f"{name}.json"
            if not path.is_file():
                start = time.perf_counter()
                console.print(
                    f"{name}: kernels of {size.points} + {size.pool} + {size.test} images"
                )
                g = grams(name, size, seed)
                console.print(f"{name}: regression, {len(sizes(size))} sizes")
                found: dict[str, Any] = {"points": size.points}
                found["curve"] = measured_curve(g, size, seed)
                found["features"] = measured_features(g, size, seed)
                g = g._replace(pool=np.empty(0), cross=np.empty(0), test=np.empty(0))
                console.print(f"{name}: {size.points} eigenvalues")
                found["spectrum"] = spectrum_of(g)
                write_json(path, found | {"seconds": time.perf_counter() - start})
            found = read_json(path)
            s = spectra.spectrum(*found.pop("spectrum").values())
            found["predicted"] = predicted(s, found["curve"], found["features"])
            kernels[name] = found | {"ratios": ratios(found)}
        results = {"environment": environment_record(), "kernels": kernels}
        write_json(folder / "results.json", description | results)
        save_png(draw(kernels), folder / "ntk_learning_curves.png")
    console.print(table(kernels))
    for name, found in kernels.items():
        checks = {k: v for k, v in found["predicted"].items() if "monotone" in k}
        console.print(f"{name}: best ridge, {checks}", soft_wrap=True)
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def draw(kernels: dict[str, Any]) -> Any:
    """Curves of the NTK without a ridge, their ratios, and both sweeps at the best ridge."""
    found = kernels["ntk"]
    M, curve, theory = found["points"], found["curve"], found["predicted"]
    n = [row["n"] for row in curve]
    K = [row["features"] for row in found["features"]]
    looks = {
        "uncorrected": ("uncorrected", 1, "dashed"),
        "tail": ("power-law tail", 2, "dotted"),
        "corrected": ("part of M points", 0, "solid"),
    }
    marks = [("M/50", M / 50), ("M/4", M / 4)]

    def points(rows: list[dict], x: list[int], at: int | None, label: str, group: int) -> Measured:
        chosen = [int(np.argmin(row["error"])) if at is None else at for row in rows]
        y = [row["error"][i] for row, i in zip(rows, chosen, strict=True)]
        bars = [row["standard_error"][i] for row, i in zip(rows, chosen, strict=True)]
        return Measured(label, x, y, bars, group)

    lines = [Predicted(a, n, theory[key], b, c) for key, (a, b, c) in looks.items()]
    ratio = [Predicted(a, n, found["ratios"][key], b, c) for key, (a, b, c) in looks.items()]
    nngp = kernels["nngp"]["predicted"]
    other = [Predicted(a, n, nngp[key], b, c) for key, (a, b, c) in looks.items()]
    bars = [row["standard_error"][0] / row["error"][0] for row in curve]
    at = found["features"][0]["n"]
    best = [Predicted("best ridge, in n", n, theory["best"], 0)]
    wide = [Predicted(f"in features, n = {at}", K, theory["features"], 3)]
    panels = {
        "NTK regression without a ridge": TheoryPanel(
            lines, [points(curve, n, 0, "measured", 4)], "training images n",
            "squared error, sum over classes", marks=marks,
        ),
        "Predicted over measured": TheoryPanel(
            ratio, [Measured("measured ± its error", n, np.ones(len(n)).tolist(), bars, 4)],
            "training images n", "ratio", log=False, marks=marks,
            bands=[("15%", 0.85, 1.15), ("5%", 0.95, 1.05)],
        ),
        "NTK regression at the best ridge": TheoryPanel(
            [*best, *wide],
            [
                points(curve, n, None, "measured", 0),
                points(found["features"], K, None, "measured, random features", 3),
            ],
            "training images n, or features K", "squared error, sum over classes",
        ),
        "NNGP regression without a ridge": TheoryPanel(
            other, [points(kernels["nngp"]["curve"], n, 0, "measured", 4)], "training images n",
            "squared error, sum over classes", marks=marks,
        ),
    }  # fmt: skip
    data = "Fashion-MNIST" if M >= 4000 else "digits"
    return theory_curves(panels, f"{data}: learning curves predicted from a spectrum on {M} images")


def table(kernels: dict[str, Any]) -> Table:
    """A line for each kernel and size."""
    shown = Table(
        title="Squared error without a ridge; predicted over measured", box=None, pad_edge=False
    )
    for column in ("kernel", "n", "measured", "uncorrected", "power-law tail", "part of M points"):
        shown.add_column(column, justify="right")
    for name, found in kernels.items():
        for i, row in enumerate(found["curve"]):
            shown.add_row(
                name,
                str(row["n"]),
                f"{row['error'][0]:.4f} ± {row['standard_error'][0]:.4f}",
                *(f"{found['ratios'][key][i]:.3f}" for key in ("uncorrected", "tail", "corrected")),
            )
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
