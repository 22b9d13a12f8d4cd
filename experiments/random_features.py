"""Does theory know the error of random-feature regression in all four regimes of scaling?

Question: data n and features K each are either the bottleneck or not. Where width is (data are
plenty) more data remove a variance as 1/n, and the same the other way round; where it is not, the
error falls with an exponent of the kernel's spectrum. Does regression on drawn features follow
the predicted error, and these four exponents?

Command: `python -m experiments.random_features --preset demo`
Time: preset demo 5 CPU minutes, smoke a quarter of one.
Expected result: runs/random_features-demo with results.json and random_features.png. Measured
errors within 3 standard errors of theory at all 20 settings; slopes -1.10 and -1.11 where variance
limits (theory -1.09 at these sizes, -1 far out), -0.77 and -0.76 where resolution does (theory
-0.76 at these sizes, -0.8 far out).

Kernel eigenvalues i^-1.6, target coefficients i^-1.8, 4000 modes; Gaussian modes and features, no
noise. Test errors are exact given the draw. What is finished is skipped by a second call.
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
from scipy import linalg

from farwide.endings import plain_endings
from farwide.plotting import Measured, Predicted, TheoryPanel, save_png, theory_curves
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory import spectra

A, B = 0.6, 0.8  # l_i = i^-(1+A), v_i^2 = i^-(1+B)


@dataclass(frozen=True)
class Size:
    """How much is drawn."""

    modes: int
    small: int  # the resource that is fixed and scarce, in the variance limited panels
    large: int  # the one that is plenty, in the resolution limited panels
    counts: tuple[int, ...]  # of the other resource in these panels
    draws: int


PRESETS = {
    "smoke": Size(300, 20, 200, (10, 20, 40), 40),
    "demo": Size(4000, 50, 2000, (20, 40, 80, 160, 320), 100),
}
# panel -> (which resource varies, which regime it is in)
PANELS = {
    "variance limited in n": ("n", "variance"),
    "variance limited in K": ("K", "variance"),
    "resolution limited in n": ("n", "resolution"),
    "resolution limited in K": ("K", "resolution"),
}


@dataclass(frozen=True)
class Arguments:
    """Regress on random features in the four regimes, beside theory."""

    preset: Literal["smoke", "demo"] = "demo"
    name: str | None = None
    """Folder below --out; random_features-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the draws."""


def settings(size: Size, panel: str) -> list[tuple[int, int]]:
    """(n, K) of a panel's points. Variance limited: the resource that varies is the plenty one."""
    which, kind = PANELS[panel]
    if kind == "variance":
        fixed, counts = size.small, [size.small * 2**i for i in range(2, 7)]
    else:
        fixed, counts = size.large, list(size.counts)
    return [(c, fixed) if which == "n" else (fixed, c) for c in counts]


def draw_errors(
    size: Size, n: int, K: int, ridge: float, excess: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(draws,) test errors of regression with n examples on K random features, and their limits.

    The test error given the draw is the sum over modes of (estimate - v)^2: modes are orthonormal.
    The limit is that of the same draw with the larger of n and K without end, so that error less
    limit has little noise; zero where `excess` is false.
    """
    s = spectra.power_law(size.modes, A, B)
    root, v = np.sqrt(s.eigenvalues), np.sqrt(s.coefficients)
    rng = np.random.default_rng([seed, n, K])
    errors, limits = [], []
    for _ in range(size.draws):
        F = root[:, None] * rng.standard_normal((size.modes, K)) / np.sqrt(K)
        X = rng.standard_normal((n, size.modes))
        P, y = X @ F, X @ v
        if n <= K:
            w = P.T @ linalg.solve(P @ P.T + ridge * np.eye(n), y, assume_a="pos")
        else:
            w = linalg.solve(P.T @ P + ridge * np.eye(K), P.T @ y, assume_a="pos")
        errors.append(float(((F @ w - v) ** 2).sum()))
        if not excess:
            limits.append(0.0)
        elif n > K:  # examples without end: the best that these features can do
            best = F @ linalg.solve(F.T @ F, F.T @ v, assume_a="pos")
            limits.append(float(((best - v) ** 2).sum()))
        else:  # features without end: kernel regression on these examples
            gram = (X * s.eigenvalues) @ X.T + ridge * np.eye(n)
            best = s.eigenvalues * (X.T @ linalg.solve(gram, y, assume_a="pos"))
            limits.append(float(((best - v) ** 2).sum()))
    return np.array(errors), np.array(limits)


def one(size: Size, n: int, K: int, excess: bool, seed: int) -> dict[str, Any]:
    """A setting: theory, measurement, and how many standard errors lie between."""
    s = spectra.power_law(size.modes, A, B)
    ridge = 1e-8 * s.trace  # none, but for rounding
    start = time.perf_counter()
    errors, limits = draw_errors(size, n, K, ridge, excess, seed)
    above = errors - limits
    deviation, spread = (each.std(ddof=1) / np.sqrt(len(errors)) for each in (errors, above))
    theory = float(spectra.random_feature_curve(s, n, K, ridge=ridge).test)
    limit = 0.0
    if excess:
        endless = (np.inf, K) if n > K else (n, np.inf)
        limit = float(spectra.random_feature_curve(s, *endless, ridge=ridge).test)
    return {
        "n": n,
        "features": K,
        "ridge": ridge,
        "measured": float(errors.mean()),
        "standard_error": float(deviation),
        "predicted": theory,
        "off_by_standard_errors": float((errors.mean() - theory) / deviation),
        "above_limit": float(above.mean()),
        "above_limit_error": float(spread),
        "above_limit_predicted": theory - limit,
        "limit": limit,
        "regime": spectra.regime(s, n, K, ridge=ridge)._asdict(),
        "seconds": time.perf_counter() - start,
    }


def slope(x: np.ndarray, y: list[float]) -> float:
    """Of log y against log x, least squares; NaN where a y is not positive."""
    if min(y) <= 0:
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def varied(which: str, rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([row["n" if which == "n" else "features"] for row in rows], float)


def summarise(panel: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Slopes of a panel: measured, predicted at the same places, and the regime's exponent."""
    which, kind = PANELS[panel]
    x = varied(which, rows)
    e = spectra.scaling_exponents(A, B)
    exponent = {"n": (e.data_variance, e.data), "K": (e.width_variance, e.width)}[which]
    return {
        "measured_slope": slope(x, [row["above_limit"] for row in rows]),
        "predicted_slope": slope(x, [row["above_limit_predicted"] for row in rows]),
        "exponent": -exponent[kind == "resolution"],
        "rows": rows,
    }


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"random_features-{arguments.preset}")
    size = PRESETS[arguments.preset]
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "size": asdict(size),
            "exponents": {"a": A, "b": B},
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        panels = {}
        for panel in PANELS:
            console.print(panel)
            rows = []
            for n, K in settings(size, panel):
                path = folder / f"n-{n}-features-{K}.json"
                if not path.is_file():
                    excess = PANELS[panel][1] == "variance"
                    write_json(path, one(size, n, K, excess, arguments.seed))
                rows.append(read_json(path))
            panels[panel] = summarise(panel, rows)
        off = [abs(row["off_by_standard_errors"]) for p in panels.values() for row in p["rows"]]
        counts = {"settings": len(off), "within_3_standard_errors": int(np.sum(np.array(off) < 3))}
        results = {"environment": environment_record(), "counts": counts, "panels": panels}
        write_json(folder / "results.json", description | results)
        save_png(draw(size, panels), folder / "random_features.png")
    console.print(table(panels))
    console.print(
        f"{counts['within_3_standard_errors']} of {counts['settings']} settings are within 3 "
        "standard errors"
    )
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def draw(size: Size, panels: dict[str, Any]) -> Any:
    """Error, less its limit in the variance limited panels, against the resource that varies."""
    s = spectra.power_law(size.modes, A, B)
    shown = {}
    for name, found in panels.items():
        which, kind = PANELS[name]
        rows, x = found["rows"], varied(which, found["rows"])
        other = rows[0]["features" if which == "n" else "n"]
        fine = np.geomspace(x[0], x[-1], 60)
        n, K = (fine, other) if which == "n" else (other, fine)
        y = spectra.random_feature_curve(s, n, K, ridge=rows[0]["ridge"]).test - rows[0]["limit"]
        guide = 0.7 * y[-1] * (x / x[-1]) ** found["exponent"]
        sloped = f"slope {found['exponent']:.2g}".replace("-", "−")
        shown[f"{name}, {'K' if which == 'n' else 'n'} = {other}"] = TheoryPanel(
            [Predicted("theory", fine.tolist(), y.tolist())],
            [
                Measured(
                    "measured ± 1 standard error",
                    x.tolist(),
                    [row["above_limit"] for row in rows],
                    [row["above_limit_error"] for row in rows],
                )
            ],
            "training examples n" if which == "n" else "random features K",
            "test error above its limit" if kind == "variance" else "test error",
            guides=[(sloped, x.tolist(), guide.tolist())],
        )
    return theory_curves(
        shown, "Regression on random features in the four regimes: theory and measurement"
    )


def table(panels: dict[str, Any]) -> Table:
    """A line for each setting."""
    shown = Table(title="Test error; off: in standard errors", box=None, pad_edge=False)
    for column in ("panel", "n", "K", "measured", "theory", "off", "slope (theory, regime)"):
        shown.add_column(column, justify="left" if column == "panel" else "right")
    for name, found in panels.items():
        for i, row in enumerate(found["rows"]):
            slopes = (
                f"{found['measured_slope']:.2f} "
                f"({found['predicted_slope']:.2f}, {found['exponent']:.2f})"
            )
            shown.add_row(
                name if i == 0 else "",
                str(row["n"]),
                str(row["features"]),
                f"{row['measured']:.5f} ± {row['standard_error']:.5f}",
                f"{row['predicted']:.5f}",
                f"{row['off_by_standard_errors']:+.1f}",
                slopes if i == 0 else "",
            )
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
