"""Does the best learning rate move with the width?

Question: A perceptron on Fashion-MNIST and a byte language model of long convolutions are trained
by Adam at widths that differ by a factor of 8, in muP and in the standard parametrisation: where is
the best learning rate at each width?

Command: `python -m experiments.mup_transfer --preset demo`
Time: preset demo about 2 minutes on 2 CPU cores; smoke seconds; cpu and gpu not measured.
Expected result: runs/mup_transfer-demo with results.json and mup_transfer.png. From the narrowest
to the widest model the best learning rate moves by less than a factor 2 in muP, and by more in the
standard parametrisation, where it falls.

At the smallest width the two parametrisations are the same model with the same learning rates. The
loss is the mean training loss over the last quarter of the steps; every example is seen once, so
that it is a test loss as well. The optimum is the vertex of the parabola through the lowest point
and its neighbours, in log2 of the learning rate, for each seed by itself (of initial weights and of
the order of the data); errors are standard errors over seeds. In the standard parametrisation the
tied readout of the language model is divided by the root of the width, in muP by the width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

from farwide.data import DataError, fashion_mnist, read_corpus
from farwide.data.corpus import CorpusError
from farwide.data.windows import Windows
from farwide.endings import plain_endings
from farwide.models import LongConvLMConfig, MLPConfig, Model, long_conv_lm, mlp
from farwide.mup import infer_roles, mup_init, scale_by_mup
from farwide.plotting import RateCurve, learning_rate_transfer, save_png
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json

PARAMETRISATIONS = ("mup", "standard")
LENGTH = 64  # bytes of a window


@dataclass(frozen=True)
class Workload:
    """What is trained, and how long.

    Attributes:
      name: "perceptron" or "language model".
      widths: ascending; the first is muP's base width.
      depth: hidden layers, or blocks.
      batch: examples a step.
      steps: of Adam.
      rates: exponents of two of the learning rates, ascending.
    """

    name: str
    widths: tuple[int, ...]
    depth: int
    batch: int
    steps: int
    rates: tuple[float, ...]


def halves(low: float, high: float) -> tuple[float, ...]:
    return tuple(float(e) for e in np.arange(low, high + 0.25, 0.5))


def wholes(low: int, high: int) -> tuple[float, ...]:
    return tuple(float(e) for e in range(low, high + 1))


PRESETS: dict[str, tuple[int, tuple[Workload, ...]]] = {  # seeds, workloads
    "smoke": (
        2,
        (
            Workload("perceptron", (8, 16), 2, 16, 12, wholes(-7, -3)),
            Workload("language model", (8, 16), 1, 2, 8, wholes(-7, -3)),
        ),
    ),
    "demo": (
        3,
        (
            Workload("perceptron", (32, 96, 256), 3, 64, 150, wholes(-12, -3)),
            Workload("language model", (16, 48, 128), 1, 4, 150, wholes(-10, -2)),
        ),
    ),
    "cpu": (
        5,
        (
            Workload("perceptron", (64, 128, 256, 512), 3, 64, 600, halves(-12, -3)),
            Workload("language model", (16, 32, 64, 128), 2, 8, 600, halves(-10, -2)),
        ),
    ),
    "gpu": (
        8,
        (
            Workload("perceptron", (128, 256, 512, 1024, 2048), 3, 64, 900, halves(-14, -3)),
            Workload("language model", (64, 128, 256, 512), 4, 32, 2000, halves(-12, -2)),
        ),
    ),
}


@dataclass(frozen=True)
class Arguments:
    """Find the best learning rate at several widths, with muP and without."""

    preset: Literal["smoke", "demo", "cpu", "gpu"] = "demo"
    name: str | None = None
    """Folder below --out; mup_transfer-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of initial weights and of the order of the data."""


class Problem(NamedTuple):
    """A workload's models and data.

    Attributes:
      make: (width, parametrisation) -> a model.
      inputs, targets: (seeds, steps, batch, ...), every example at most once a seed.
    """

    make: Callable[[int, str], Model]
    inputs: np.ndarray
    targets: np.ndarray


def problem(workload: Workload, seeds: int, seed: int) -> Problem:
    """The models and the data of a workload."""
    return {"perceptron": images, "language model": text}[workload.name](workload, seeds, seed)


def images(workload: Workload, seeds: int, seed: int) -> Problem:
    """Fashion-MNIST, of mean 0 and variance 1 over all pixels."""
    data = fashion_mnist()
    x = (data.x_train - data.x_train.mean()) / data.x_train.std()
    count = workload.steps * workload.batch
    orders = [np.random.default_rng([seed, s]).permutation(len(x))[:count] for s in range(seeds)]
    chosen = np.stack(orders).reshape(seeds, workload.steps, workload.batch)

    def make(width: int, parametrisation: str) -> Model:
        del parametrisation  # all of it is in the initial values and the learning rates
        return mlp(MLPConfig(width, workload.depth, x[0].size, len(data.classes)))

    return Problem(make, x.reshape(len(x), -1)[chosen], data.y_train[chosen])


def text(workload: Workload, seeds: int, seed: int) -> Problem:
    """Bytes of Python's standard library."""
    corpus, count = read_corpus().train, workload.steps * workload.batch
    windows = np.stack(
        [Windows(corpus, LENGTH, seed=(seed, s)).batch(0, count) for s in range(seeds)]
    ).reshape(seeds, workload.steps, workload.batch, LENGTH + 1)

    def make(width: int, parametrisation: str) -> Model:
        wider = (width / workload.widths[0]) ** 0.5 if parametrisation == "standard" else 1.0
        config = LongConvLMConfig(
            width, workload.depth, sequence_length=LENGTH, output_scale=4.0 * wider
        )
        return long_conv_lm(config)

    return Problem(make, windows[..., :-1], windows[..., 1:])


def losses(
    given: Problem, workload: Workload, width: int, parametrisation: Any, seeds: int, seed: int
) -> list[list[float]]:
    """Loss (seeds, rates) over the last quarter of the steps, nats; infinite where it diverged."""
    base = workload.widths[0]
    roles = infer_roles(lambda w: given.make(w, parametrisation), width, base)
    model = mup_init(given.make(width, parametrisation), roles, parametrisation=parametrisation)
    rule = optax.chain(
        optax.scale_by_adam(0.9, 0.95, eps=1e-12),
        scale_by_mup(roles, "adam", parametrisation=parametrisation),
    )
    # warm-up over a tenth of the steps, then down to a tenth
    shape = optax.schedules.join_schedules(
        [
            optax.schedules.linear_schedule(0.1, 1.0, workload.steps // 10),
            optax.schedules.linear_schedule(1.0, 0.1, workload.steps - workload.steps // 10),
        ],
        [workload.steps // 10],
    )

    def train(params: Any, inputs: jax.Array, targets: jax.Array, rate: jax.Array) -> jax.Array:
        def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
            logits = model.apply(params, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        def step(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
            params, state = carry
            x, y, now = batch
            value, gradients = jax.value_and_grad(loss)(params, x, y)
            updates, state = rule.update(gradients, state, params)
            params = jax.tree.map(lambda p, u: p - rate * now * u, params, updates)
            return (params, state), value

        scales = jax.vmap(shape)(jnp.arange(workload.steps))
        each = jax.lax.scan(step, (params, rule.init(params)), (inputs, targets, scales))[1]
        return each[-(workload.steps // 4) :].mean()

    init = jax.jit(model.init)
    run = jax.jit(jax.vmap(train, (None, None, None, 0)))
    rates = 2.0 ** jnp.asarray(workload.rates)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), width), seeds)
    found = [
        run(init(key), jnp.asarray(given.inputs[s]), jnp.asarray(given.targets[s]), rates)
        for s, key in enumerate(keys)
    ]
    return [np.where(np.isfinite(row), row, np.inf).tolist() for row in map(np.asarray, found)]


def optimum(rates: Any, values: Any) -> tuple[float, bool]:
    """Where the loss is least, and whether that is inside the grid.

    Args:
      rates: (points,) log2 of learning rates, ascending and evenly spaced.
      values: (points,) losses; those that are not finite are no neighbours.

    Returns:
      (log2 of the best rate, True), or (the end of the finite points, False).
    """
    rates, values = np.asarray(rates, float), np.asarray(values, float)
    at = int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))
    if at in (0, len(values) - 1) or not np.isfinite(values[at - 1 : at + 2]).all():
        return float(rates[at]), False
    left, middle, right = values[at - 1 : at + 2]
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
    return float(rates[at] + shift * (rates[1] - rates[0])), True


def summarise(workload: Workload, found: dict[str, dict[int, Any]]) -> dict[str, Any]:
    """Optima at every width, and how far they move from the narrowest to the widest."""
    result = {}
    for parametrisation, by_width in found.items():
        rows, best = [], {}
        for width in workload.widths:
            values = np.array(by_width[width], float)
            each = [optimum(workload.rates, row) for row in values]
            best[width] = np.array([place for place, _ in each])
            rows.append(
                {
                    "width": width,
                    "log2_best": float(best[width].mean()),
                    "log2_best_error": standard_error(best[width]),
                    "inside": all(inside for _, inside in each),
                    "loss": values.mean(0).tolist(),
                    "best_loss": float(values.min(1).mean()),
                }
            )
        moved = best[workload.widths[-1]] - best[workload.widths[0]]
        result[parametrisation] = {
            "rows": rows,
            "log2_moved": float(moved.mean()),
            "log2_moved_error": standard_error(moved),
            "moved_factor": float(2 ** abs(moved.mean())),
        }
    return result


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"mup_transfer-{arguments.preset}")
    seeds, workloads = PRESETS[arguments.preset]
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "seeds": seeds,
            "workloads": [asdict(workload) for workload in workloads],
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        summaries = {}
        for workload in workloads:
            found = {
                name: all_widths(folder, workload, name, seeds, arguments.seed, console)
                for name in PARAMETRISATIONS
            }
            summaries[workload.name] = summarise(workload, found)
        results = {"environment": environment_record(), "results": summaries}
        write_json(folder / "results.json", description | results)
        save_png(draw(workloads, summaries), folder / "mup_transfer.png")
    console.print(table(summaries))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def all_widths(
    folder: Path, workload: Workload, parametrisation: str, seeds: int, seed: int, console: Console
) -> dict[int, Any]:
    """width -> losses (seeds, rates), from the files where they are there."""
    found, given = {}, None
    for width in workload.widths:
        # at the base width every parametrisation is the same
        which = "mup" if width == workload.widths[0] else parametrisation
        path = folder / f"{workload.name.replace(' ', '_')}-{which}-{width}.json"
        if not path.is_file():
            runs = seeds * len(workload.rates)
            console.print(f"{workload.name}, {which}, width {width}: {runs} runs")
            given = problem(workload, seeds, seed) if given is None else given
            write_json(path, {"loss": losses(given, workload, width, which, seeds, seed)})
        rows = read_json(path)["loss"]  # null stands for a loss that is not finite
        found[width] = [[np.inf if value is None else value for value in row] for row in rows]
    return found


def draw(workloads: tuple[Workload, ...], summaries: dict[str, Any]) -> Any:
    """Loss against learning rate, a panel for each workload and parametrisation."""
    panels = {}
    words = {"mup": "muP", "standard": "standard"}
    for workload in workloads:
        for name, found in summaries[workload.name].items():
            panels[f"{workload.name}, {words[name]}"] = [
                RateCurve(
                    row["width"], workload.rates, row["loss"], row["log2_best"],
                    row["log2_best_error"], row["best_loss"],
                )
                for row in found["rows"]
            ]  # fmt: skip
    return learning_rate_transfer(
        panels, "Loss against Adam's learning rate, with muP and without, and each width's optimum"
    )


def table(summaries: dict[str, Any]) -> Table:
    """Optima, a line for each workload, parametrisation and width."""
    shown = Table(title="Best learning rate of Adam", box=None, pad_edge=False)
    for column in ("workload", "parametrisation"):
        shown.add_column(column)
    for column in ("width", "log2 of the best rate", "its loss", "moved by"):
        shown.add_column(column, justify="right")
    for workload, found in summaries.items():
        for name, each in found.items():
            for row in each["rows"]:
                last = row is each["rows"][-1]
                moved = f"2^({each['log2_moved']:+.2f} ± {each['log2_moved_error']:.2f})"
                edge = "" if row["inside"] else " (end of the grid)"
                shown.add_row(
                    workload, name, str(row["width"]),
                    f"{row['log2_best']:.2f} ± {row['log2_best_error']:.2f}{edge}",
                    f"{row['best_loss']:.4f}", moved if last else "",
                )  # fmt: skip
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, CorpusError, LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
