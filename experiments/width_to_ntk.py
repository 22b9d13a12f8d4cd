"""Do finite networks become their infinite limit, and how fast?

Question: On the unit circle, with ReLU networks of three hidden layers in the NTK parametrisation:
is the kernel of a wide network the limit's, before and after training; do trained networks have the
limit's distribution over functions; and how do both depend on the width?

Command: `python -m experiments.width_to_ntk --preset demo`
Time: preset demo about 1 minute on 2 idle CPU cores, smoke seconds; cpu and gpu not measured.
Expected result: runs/width_to_ntk-demo with results.json and width_to_ntk.png. The relative errors
of the empirical NNGP and NTK at the start fall with slopes of about -1/2 in log-log, the change of
the NTK in training with a slope between -1 and -1/2; the 10th to 90th percentiles of the limit hold
about 80% of the wide networks' functions.

The figures are those of Jacot et al. 2018, "Neural Tangent Kernel", 1 (kernels on the circle at the
start and after training) and 2 (functions found from 4 points), beside the limit of
`theory.predict.gradient_descent_mse_ensemble`; f = x_1 x_2 at the training points.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import theory
from farwide.endings import plain_endings
from farwide.plotting import Decay, Draws, Spread, finite_width, save_png
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from theory import predict, stax

TRAIN_ANGLES = (-2.5, -1.0, 0.6, 2.1)  # radians
TENTH = 1.2815515655446004  # standard deviations from the median to the 90th percentile


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
      widths: of the hidden layers; the first two of `shown` are drawn.
      shown: a narrow and a wide one of them.
      seeds: networks of each width.
      angles: points on the circle where curves are drawn.
      steps: of full-batch gradient descent.
      learning_rate: of the mean over targets of (f - y)^2 / 2.
    """

    widths: tuple[int, ...]
    shown: tuple[int, int]
    seeds: int
    angles: int = 49
    steps: int = 400
    learning_rate: float = 0.5


PRESETS = {
    "smoke": Size((8, 32), (8, 32), 4, angles=9, steps=40),
    "demo": Size((32, 64, 128, 256, 512), (64, 512), 20),
    "cpu": Size((32, 64, 128, 256, 512, 1024, 2048), (64, 2048), 30, angles=97, steps=1000),
    "gpu": Size((32, 128, 512, 2048, 8192), (128, 8192), 100, angles=97, steps=1000),
}


@dataclass(frozen=True)
class Arguments:
    """Compare finite networks on the circle with their infinite limit."""

    preset: Literal["smoke", "demo", "cpu", "gpu"] = "demo"
    name: str | None = None
    """Folder below --out; width_to_ntk-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the initial weights."""


def network(width: int) -> stax.Layer:
    """Three hidden ReLU layers, W_std = sqrt 2 and b_std = 0.1; the readout has W_std 1."""
    return stax.serial(*hidden(width), stax.Dense(1))


def hidden(width: int) -> list[stax.Layer]:
    return [stax.serial(stax.Dense(width, 2**0.5, 0.1), stax.Relu())] * 3


def circle(angles: Any) -> jax.Array:
    """(n, 2) points at angles (n,) in radians."""
    angles = jnp.asarray(angles, jnp.float32)
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)


def grid(size: Size) -> np.ndarray:
    return np.linspace(-np.pi, np.pi, size.angles)


def targets(points: jax.Array) -> jax.Array:
    """f = x_1 x_2, (n, 1)."""
    return points[:, :1] * points[:, 1:]


def finite(width: int, size: Size, key: jax.Array) -> dict[str, jax.Array]:
    """One network: its kernels at the start and after training, and what it then predicts."""
    layer = network(width)
    ntk_fn = theory.empirical_ntk_fn(layer.apply_fn, vmap_axes=0)
    nngp_fn = theory.empirical_nngp_fn(stax.serial(*hidden(width)).apply_fn)
    points, train = circle(grid(size)), circle(TRAIN_ANGLES)
    start, y = circle([0.0]), targets(train)

    def step(params: Any, _: None) -> tuple[Any, None]:
        gradients = jax.grad(lambda p: jnp.mean((layer.apply_fn(p, train) - y) ** 2) / 2)(params)
        return jax.tree.map(lambda p, g: p - size.learning_rate * g, params, gradients), None

    _, before = layer.init_fn(key, (-1, 2))
    after, _ = jax.lax.scan(step, before, None, length=size.steps)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), before, after)
    curves, ntks = jax.lax.map(
        lambda p: (ntk_fn(start, points, p)[0], ntk_fn(train, None, p)), both
    )
    # The NNGP is the covariance of one output over many networks. Within one network it is that of
    # the last hidden layer, which the readout (W_std 1, no offset) passes on.
    return {
        "curve_before": curves[0],
        "curve_after": curves[1],
        "ntk_before": ntks[0],
        "ntk_after": ntks[1],
        "nngp_before": nngp_fn(train, None, before[:-1]),
        "function": layer.apply_fn(after, points)[:, 0],
        "loss": jnp.mean((layer.apply_fn(after, train) - y) ** 2) / 2,
    }


def networks(width: int, size: Size, seed: int) -> dict[str, Any]:
    """Every network of a width; arrays (seeds, ...)."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), width), size.seeds)
    found = jax.jit(lambda ks: jax.lax.map(partial(finite, width, size), ks))(keys)
    return {name: np.asarray(value).tolist() for name, value in found.items()}


def limit(size: Size) -> dict[str, Any]:
    """Kernels of the infinite network, and the Gaussian of the trained ensemble, in float64."""
    kernel_fn = network(1).kernel_fn
    with jax.enable_x64(True):
        points, train = (circle(a).astype(jnp.float64) for a in (grid(size), TRAIN_ANGLES))
        start = circle([0.0]).astype(jnp.float64)
        predict_fn = predict.gradient_descent_mse_ensemble(
            kernel_fn, train, targets(train), learning_rate=size.learning_rate
        )
        gaussian = predict_fn(size.steps, points, "ntk", compute_cov=True)
        kernel = kernel_fn(train, None, ("nngp", "ntk"))
        found = {
            "curve": kernel_fn(start, points, "ntk")[0],
            "ntk": kernel.ntk,
            "nngp": kernel.nngp,
            "mean": gaussian.mean[:, 0],
            "deviation": jnp.sqrt(jnp.diagonal(gaussian.covariance)),
        }
        return {name: np.asarray(value).tolist() for name, value in found.items()}


def relative(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """|A - B| / |B| in Frobenius norm, over the last two axes."""
    norm = partial(np.linalg.norm, axis=(-2, -1))
    return norm(values - reference) / norm(reference)


def root_mean_square(values: np.ndarray) -> dict[str, float]:
    """Over draws, with its standard error."""
    squares = values**2
    mean = float(np.sqrt(squares.mean()))
    error = float(squares.std(ddof=1) / len(squares) ** 0.5 / (2 * mean))
    return {"value": mean, "error": error}


def summarise(size: Size, found: dict[int, dict[str, Any]], ideal: dict[str, Any]) -> dict:
    """Errors and movements at each width, their slopes, and where the functions fall."""
    rows, mean, deviation = [], np.array(ideal["mean"]), np.array(ideal["deviation"])
    # at the training points the limit has no spread: shares are counted elsewhere
    free = deviation > 0.1 * deviation.max()
    for width, draws in found.items():
        arrays = {name: np.array(value) for name, value in draws.items()}
        inside = np.abs(arrays["function"] - mean)[:, free] < TENTH * deviation[free]
        rows.append(
            {
                "width": width,
                "ntk_error": root_mean_square(relative(arrays["ntk_before"], ideal["ntk"])),
                "nngp_error": root_mean_square(relative(arrays["nngp_before"], ideal["nngp"])),
                "ntk_change": root_mean_square(relative(arrays["ntk_after"], arrays["ntk_before"])),
                "inside_percentiles": float(inside.mean()),
                "train_loss": float(arrays["loss"].mean()),
            }
        )
    slopes = {name: slope(rows, name) for name in ("ntk_error", "nngp_error", "ntk_change")}
    return {"rows": rows, "slopes": slopes}


def slope(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Weighted least squares of log value on log width, with its standard error."""
    x = np.log([row["width"] for row in rows])
    y = np.log([row[name]["value"] for row in rows])
    weight = np.array([row[name]["value"] / row[name]["error"] for row in rows]) ** 2
    x = x - np.average(x, weights=weight)
    precision = (weight * x**2).sum()
    return {"value": float((weight * x * y).sum() / precision), "error": float(precision**-0.5)}


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"width_to_ntk-{arguments.preset}")
    size = PRESETS[arguments.preset]
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "size": asdict(size),
            "train_angles": TRAIN_ANGLES,
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        ideal = limit(size)
        found = {}
        for width in size.widths:
            path = folder / f"width_{width}.json"
            if not path.is_file():
                console.print(f"width {width}: {size.seeds} networks")
                write_json(path, networks(width, size, arguments.seed))
            found[width] = read_json(path)
        summary = summarise(size, found, ideal)
        results = description | {"environment": environment_record(), "limit": ideal} | summary
        write_json(folder / "results.json", results)
        save_png(draw(size, found, ideal, summary), folder / "width_to_ntk.png")
    console.print(table(summary))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def draw(size: Size, found: dict[int, Any], ideal: dict[str, Any], summary: dict) -> Any:
    """The figure of the experiment."""
    kernels, functions = [], []
    for width in size.shown:
        before, after, f = (
            np.array(found[width][name]) for name in ("curve_before", "curve_after", "function")
        )
        kernels.append(Draws(width, before[:10], after[:10]))
        functions.append(Spread(f"width {width}", *np.percentile(f, [10, 50, 90], axis=0)))
    mean, deviation = np.array(ideal["mean"]), np.array(ideal["deviation"])
    edges = mean - TENTH * deviation, mean, mean + TENTH * deviation
    functions.append(Spread("limit", *edges))

    def decay(name: str, label: str) -> Decay:
        fitted = summary["slopes"][name]
        text = f"{label}, slope {fitted['value']:.2f} ± {fitted['error']:.2f}".replace("-", "−")
        rows = [row[name] for row in summary["rows"]]
        return Decay(text, [row["value"] for row in rows], [row["error"] for row in rows])

    return finite_width(
        grid(size), kernels, np.array(ideal["curve"]), functions,
        (np.array(TRAIN_ANGLES), np.asarray(targets(circle(TRAIN_ANGLES)))[:, 0]),
        size.widths,
        [decay("ntk_error", "NTK"), decay("nngp_error", "NNGP")],
        [decay("ntk_change", "NTK")],
        f"Finite networks approach their limit: {size.seeds} of each width, "
        f"{size.steps} steps on 4 points",
    )  # fmt: skip


def table(summary: dict[str, Any]) -> Table:
    """A line for each width, and the slopes."""
    shown = Table(title="Relative errors and changes of kernels", box=None, pad_edge=False)
    for column in ("width", "NTK error", "NNGP error", "NTK change", "inside 10-90%"):
        shown.add_column(column, justify="right")
    names = ("ntk_error", "nngp_error", "ntk_change")
    for row in summary["rows"]:
        cells = (f"{row[name]['value']:.4f} ± {row[name]['error']:.4f}" for name in names)
        shown.add_row(str(row["width"]), *cells, f"{100 * row['inside_percentiles']:.0f}%")
    fitted = (summary["slopes"][name] for name in names)
    shown.add_row("slope", *(f"{each['value']:.3f} ± {each['error']:.3f}" for each in fitted), "")
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
