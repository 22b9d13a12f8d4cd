"""Which examples should a perceptron keep, and how many?

Question: of the examples of a teacher, those of a small margin (hard), of a large margin (easy) or
any are kept, and a maximum-margin student is trained on them. Does its error follow the theory of
Sorscher et al. 2022, which examples are worth keeping, and does pruning beat a power law?

Command: `python -m experiments.data_pruning --preset demo`
Time: preset demo 2 CPU minutes, smoke a quarter of one.
Expected result: runs/data_pruning-demo with results.json and data_pruning.png. Measured errors
within 3 standard errors of theory at 47 of 48 settings, all but the steepest point; of the shares
0.3 the easy one is the better below 2.16 kept for each dimension, the hard one above; with 1000
drawn for each dimension the error falls from 0.020 to 0.0005 between 2 and 4 kept, without
selection from 0.19 to 0.11.

Inputs of 200 dimensions, no label noise, margins known exactly (the teacher's own). What is
finished is skipped by a second call.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy.optimize import nnls

from farwide.endings import plain_endings
from farwide.plotting import Measured, Predicted, TheoryPanel, save_png, theory_curves
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory import spectra


@dataclass(frozen=True)
class Size:
    """How much is drawn."""

    dimension: int
    draws: int
    alphas: tuple[float, ...]  # kept for each dimension
    fractions: tuple[float, ...]
    drawn: tuple[float, ...]  # for each dimension, where that is fixed


PRESETS = {
    "smoke": Size(40, 20, (0.5, 2.0, 4.0), (1.0, 0.3), (10.0,)),
    "demo": Size(200, 50, (0.25, 0.5, 1.0, 2.0, 4.0, 8.0), (1.0, 0.6, 0.3, 0.1), (10.0, 100.0)),
}
RANGE = (0.2, 10.0)  # of alpha, of the lines
DRAWN_LINES = (10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Arguments:
    """Train perceptrons on pruned examples of a teacher, beside theory."""

    preset: Literal["smoke", "demo"] = "demo"
    name: str | None = None
    """Folder below --out; data_pruning-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the draws."""


@dataclass(frozen=True)
class Setting:
    """One point of the experiment."""

    keep: str
    alpha: float  # kept for each dimension
    fraction: float

    @property
    def name(self) -> str:
        return f"{self.keep}-{self.alpha:g}-{self.fraction:g}"


def settings(size: Size) -> dict[str, list[Setting]]:
    """Panel -> its points."""
    hard = [Setting("hard", a, f) for f in size.fractions for a in size.alphas]
    easy = [Setting("easy", a, f) for f in size.fractions if f < 1 for a in size.alphas]
    kept = [(d, a) for d in size.drawn for a in size.alphas if 1 <= a <= d / 2]
    return {
        "hard": hard,
        "easy": easy,
        "drawn": [Setting("hard", a, a / d) for d, a in kept],
    }


def maximum_margin(X: np.ndarray) -> np.ndarray:
    """The least w with X w >= 1: of separable examples, rows of X being label times input.

    As a least-squares problem with non-negative variables u: the residual r of (X, 1)^T u against
    (0, 1) gives w = -r_x/r_1 (Lawson and Hanson 1974, problem LDP), exactly and without a step
    size.
    """
    E = np.vstack([X.T, np.ones(len(X))])
    target = np.zeros(len(E))
    target[-1] = 1
    u, _ = nnls(E, target, maxiter=20 * len(X))
    left = E @ u - target
    return -left[:-1] / left[-1]


def draw_error(setting: Setting, dimension: int, rng: np.random.Generator) -> float:
    """The generalisation error of one student: its angle to the teacher over pi."""
    kept = round(setting.alpha * dimension)
    drawn = round(kept / setting.fraction)
    # the margins first: the rest of an input is drawn for kept examples alone
    margin = np.abs(rng.standard_normal(drawn))
    order = np.argsort(margin if setting.keep == "hard" else -margin)[:kept]
    X = rng.standard_normal((kept, dimension))
    X[:, 0] = margin[order]
    w = maximum_margin(X)
    return float(np.arccos(np.clip(w[0] / np.linalg.norm(w), -1, 1)) / np.pi)


def one(setting: Setting, size: Size, seed: int) -> dict[str, Any]:
    """A setting: theory, measurement, and how many standard errors lie between."""
    start = time.perf_counter()
    rng = np.random.default_rng([seed, *setting.name.encode()])
    errors = np.array([draw_error(setting, size.dimension, rng) for _ in range(size.draws)])
    deviation = errors.std(ddof=1) / np.sqrt(size.draws)
    theory = spectra.pruned_perceptron(setting.alpha, setting.fraction, setting.keep)
    return asdict(setting) | {
        "measured": float(errors.mean()),
        "standard_error": float(deviation),
        "predicted": theory.error,
        "off_by_standard_errors": float((errors.mean() - theory.error) / deviation),
        "seconds": time.perf_counter() - start,
    }


def answers(alphas: tuple[float, ...]) -> dict[str, Any]:
    """What theory says of the question, without measurement."""
    choices = []
    for alpha in alphas:
        row: dict[str, Any] = {"alpha": alpha}
        for keep in ("hard", "easy"):
            for fixed in ("kept", "drawn"):
                best = spectra.best_fraction(alpha, keep, fixed=fixed)
                row[f"{keep}, {fixed} fixed"] = best._asdict()
        choices.append(row)
    low, high = 1.0, 6.0  # where easy and hard examples are worth the same, at f = 0.3
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        hard, easy = (spectra.pruned_perceptron(middle, 0.3, k).error for k in ("hard", "easy"))
        low, high = (middle, high) if hard > easy else (low, middle)
    curves = {
        f"{drawn:g}": {
            f"{alpha:g}": spectra.pruned_perceptron(alpha, alpha / drawn).error
            for alpha in (2.0, 3.0, 4.0, 6.0, 8.0)
        }
        for drawn in DRAWN_LINES
    }
    return {"choices": choices, "easy_and_hard_equal_at": low, "hard, by drawn and kept": curves}


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"data_pruning-{arguments.preset}")
    size = PRESETS[arguments.preset]
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "size": asdict(size),
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        panels: dict[str, list[dict[str, Any]]] = {}
        for panel, points in settings(size).items():
            console.print(f"{panel}: {len(points)} settings of {size.draws} students")
            panels[panel] = []
            for setting in points:
                path = folder / f"{setting.name}.json"
                if not path.is_file():
                    write_json(path, one(setting, size, arguments.seed))
                panels[panel].append(read_json(path))
        off = {
            (row["keep"], row["alpha"], row["fraction"]): abs(row["off_by_standard_errors"])
            for rows in panels.values()
            for row in rows
        }
        counts = {
            "settings": len(off),
            "within_3_standard_errors": sum(each < 3 for each in off.values()),
        }
        results = {"environment": environment_record(), "counts": counts, "panels": panels}
        write_json(
            folder / "results.json", description | results | {"theory": answers(size.alphas)}
        )
        save_png(draw(panels, size), folder / "data_pruning.png")
    console.print(table(panels))
    console.print(
        f"{counts['within_3_standard_errors']} of {counts['settings']} settings are within 3 "
        "standard errors"
    )
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def line(label: str, keep: str, fraction: float | None, drawn: float, group: int) -> Predicted:
    """Theory over alpha at a fixed share, or at a fixed number drawn."""
    top = RANGE[1] if fraction is not None else min(RANGE[1], drawn)
    alphas = np.geomspace(RANGE[0] if fraction is not None else 1.0, top, 20)
    if keep == "hard":  # where the error falls at once
        alphas = np.unique(np.append(alphas, np.arange(1.5, 2.6, 0.1)))
    shares = [min(1.0, fraction if fraction is not None else a / drawn) for a in alphas]
    errors = [
        spectra.pruned_perceptron(a, f, keep).error for a, f in zip(alphas, shares, strict=True)
    ]
    return Predicted(label, alphas.tolist(), errors, group)


def points(rows: list[dict[str, Any]], label: str, group: int) -> Measured:
    x, y, e = ([row[k] for row in rows] for k in ("alpha", "measured", "standard_error"))
    return Measured(label, x, y, e, group)


def draw(panels: dict[str, list[dict[str, Any]]], size: Size) -> Any:
    """Error against what is kept: hard, easy, one share of each, and at fixed numbers drawn."""
    kept = "examples kept for each dimension, α"
    shown = {}
    for keep, title in (
        ("hard", "the hardest share f is kept"),
        ("easy", "the easiest share f is kept"),
    ):
        rows = panels[keep] + (
            [] if keep == "hard" else [r for r in panels["hard"] if r["fraction"] == 1]
        )
        shown[title] = TheoryPanel(
            [line(f"f = {f:g}", keep, f, 0, i) for i, f in enumerate(size.fractions)],
            [
                points([r for r in rows if r["fraction"] == f], f"measured, f = {f:g}", i)
                for i, f in enumerate(size.fractions)
            ],
            kept,
            "test error",
        )
    lines = [line("at random", "random", 1.0, 0, 0)]
    lines += [line(f"{k}, f = 0.3", k, 0.3, 0, i + 1) for i, k in enumerate(("hard", "easy"))]
    measured = [points([r for r in panels["hard"] if r["fraction"] == 1], "measured, random", 0)]
    measured += [
        points([r for r in panels[k] if r["fraction"] == 0.3], f"measured, {k}", i + 1)
        for i, k in enumerate(("hard", "easy"))
    ]
    shown["which to keep"] = TheoryPanel(lines, measured, kept, "test error")
    lines = [line("as many as are kept (random)", "random", 1.0, 0, 0)]
    lines += [line(f"{d:g} drawn", "hard", None, d, i + 1) for i, d in enumerate(DRAWN_LINES)]
    measured = []
    for i, d in enumerate(size.drawn):
        rows = [r for r in panels["drawn"] if np.isclose(r["alpha"] / r["fraction"], d)]
        measured.append(points(rows, f"measured, {d:g} drawn", i + 1))
    shown["the hardest of a fixed number drawn for each dimension"] = TheoryPanel(
        lines, measured, kept, "test error"
    )
    return theory_curves(
        shown, "Data pruning in the teacher-student perceptron: theory and measurement"
    )


def table(panels: dict[str, list[dict[str, Any]]]) -> Table:
    """A line for each setting."""
    shown = Table(title="Test error; off: in standard errors", box=None, pad_edge=False)
    for column in ("panel", "kept α", "share f", "measured", "theory", "off"):
        shown.add_column(column, justify="left" if column == "panel" else "right")
    for name, rows in panels.items():
        for row in rows:
            shown.add_row(
                name,
                f"{row['alpha']:g}",
                f"{row['fraction']:.3g}",
                f"{row['measured']:.5f} ± {row['standard_error']:.5f}",
                f"{row['predicted']:.5f}",
                f"{row['off_by_standard_errors']:+.1f}",
            )
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
