"""Does a model that changes its shape in training use compute better than one that does not?

Question: a vision transformer on Fashion-MNIST whose patches become smaller (or whose width grows)
in training, at the compute where the law of the next shape is steeper at equal loss, against fixed
shapes that spend the same FLOPs (Anagnostidis et al. 2023).

Command: `python -m experiments.adaptive_shape --preset demo`
Time: preset demo about 2 minutes on 2 CPU cores, smoke under 1; cpu and gpu not measured.
Expected result: runs/adaptive_shape-width-demo with results.json and adaptive_shape.png: the laws
of the fixed shapes, the plan, test losses at equal FLOPs. In the demo (one seed) the adaptive run
does not win: it grows early and ends about 0.05 nats above the best fixed width, 16. With
`--change patch` the largest patch is best at all of the demo's compute, so nothing is changed.

Laws are fitted to losses on one half of the test examples, and the final losses are of the other.
A finished run is not done again by a second call; one that was killed starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from farwide import data
from farwide.data import Batch, DataError, Task
from farwide.endings import plain_endings
from farwide.models import (
    ImageConfig,
    dense_kernels,
    image_model,
    reshape_image_model,
    reshape_moments,
    training_flops_per_image,
)
from farwide.plotting import ShapeCurve, adaptive_shape, save_png
from farwide.progress import counting_progress
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json
from farwide.training import AdamW, StepOptions, Trainer, TrainState, make_trainer
from farwide.training.shape_plan import ComputeLaw, shape_plan
from theory import scaling

Part = tuple[ImageConfig, int]  # a shape and its updates


@dataclass(frozen=True)
class Setting:
    """The shapes, and how they are trained.

    Attributes:
      shapes: coarse to fine, or narrow to wide; they differ in patch, or in width and heads.
      budget: FLOPs of a run.
      batch_size, learning_rate, warmup: examples of an update; the rate, constant after so many
        updates of a shape, so that a law holds whatever the length of the run.
      seeds: each is another order of the data and other initial parameters.
      examples: of the test set; a half for the laws, a half for the final losses.
      points: validation losses of a run, evenly spaced in log FLOPs.
      first: share of the budget at which they begin.
    """

    shapes: tuple[ImageConfig, ...]
    budget: float
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup: int = 20
    seeds: int = 1
    examples: int = 2000
    points: int = 12
    first: float = 0.04


SMALL = ImageConfig((28, 28), mixer="attention", width=32, depth=2, heads=2)
LARGE = replace(SMALL, width=128, depth=6, heads=4)


def _patches(config: ImageConfig, *patches: int) -> tuple[ImageConfig, ...]:
    return tuple(replace(config, patch=patch) for patch in patches)


def _widths(config: ImageConfig, *widths: int) -> tuple[ImageConfig, ...]:
    head = config.width // config.heads
    return tuple(replace(config, width=w, heads=w // head) for w in widths)


TINY = replace(SMALL, width=8, depth=1, heads=1)
FOUR = replace(SMALL, patch=4)
PRESETS: dict[str, dict[str, Setting]] = {
    "smoke": {
        "patch": Setting(_patches(TINY, 14, 7), 8e7, 16, warmup=5, examples=200, points=8),
        "width": Setting(
            _widths(replace(TINY, patch=14), 8, 16), 8e7, 16, warmup=5, examples=200, points=8
        ),
    },
    "demo": {
        "patch": Setting(_patches(SMALL, 28, 14, 7), 1.2e11),
        "width": Setting(_widths(replace(SMALL, patch=14), 16, 32, 64), 3e10),
    },
    "cpu": {
        "patch": Setting(_patches(SMALL, 14, 7, 4, 2), 3e12, seeds=3, examples=10_000, points=20),
        "width": Setting(_widths(FOUR, 16, 32, 64), 3e12, seeds=3, examples=10_000, points=20),
    },
    "gpu": {
        "patch": Setting(
            _patches(LARGE, 14, 7, 4, 2), 5e15, 128, 1e-3, 200, 3, examples=10_000, points=24
        ),
        "width": Setting(
            _widths(replace(LARGE, patch=4), 64, 128, 256), 5e15, 128, 1e-3, 200, 3, 10_000, 24
        ),
    },
}


@dataclass(frozen=True)
class Arguments:
    """Train fixed shapes and one that changes on the way, at equal compute."""

    preset: Literal["smoke", "demo", "cpu", "gpu"] = "demo"
    change: Literal["patch", "width"] = "width"
    """What the adaptive run changes."""
    name: str | None = None
    """Folder below --out; adaptive_shape-CHANGE-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """The first of the seeds."""


def flops_per_step(config: ImageConfig, setting: Setting) -> float:
    """FLOPs of an update."""
    return training_flops_per_image(config) * setting.batch_size


def label(config: ImageConfig, change: str) -> str:
    """For example "patch 7"."""
    return f"{change} {getattr(config, change)}"


@cache
def trainer(config: ImageConfig) -> Trainer:
    """The compiled functions of a shape; every run of it uses them."""
    optimizer = AdamW(weight_decay=0.05).transformation(dense_kernels)
    return make_trainer(image_model(config), optimizer, StepOptions(clip_norm=1.0))


def reshaped(state: TrainState, old: ImageConfig, new: ImageConfig) -> TrainState:
    """The state in another shape; Adam's moments of what is new start at 0."""
    key = jax.random.fold_in(state.key, 2**31 + new.patch + 64 * new.width)  # of no update
    params = reshape_image_model(state.params, old, new, key)
    empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), trainer(new).shapes().opt_state)
    moments = reshape_moments(state.opt_state, empty, old, new)
    return state._replace(params=params, opt_state=moments)


def halves(test: Batch, examples: int) -> tuple[Batch, Batch]:
    """The examples of the laws, and those of the final losses."""
    half = examples // 2
    return Batch(*(x[:half] for x in test)), Batch(*(x[half:examples] for x in test))


def train_parts(
    parts: Sequence[Part],
    task: Task,
    setting: Setting,
    seed: int,
    moved: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train through the parts; validation losses along FLOPs, and loss and accuracy at the end."""
    validation, test = halves(task.test, setting.examples)
    marks = setting.budget * np.geomspace(setting.first, 1, setting.points)[:-1]
    total = sum(steps for _, steps in parts)
    config = parts[0][0]
    state = trainer(config).init(seed)
    spent, done, compute, loss = 0.0, 0, [], []
    for shape, steps in parts:
        if shape != config:
            state, config = reshaped(state, config, shape), shape
        each = flops_per_step(config, setting)
        for number in range(steps):
            batch = task.train(done * setting.batch_size, setting.batch_size)
            rate = setting.learning_rate * min(1.0, (number + 1) / setting.warmup)
            state = trainer(config).step(state, batch, rate)
            done, spent = done + 1, spent + each
            if done == total or np.searchsorted(marks, spent) > np.searchsorted(
                marks, spent - each
            ):
                compute.append(spent)
                loss.append(trainer(config).evaluate(state.params, validation).loss)
                moved(done, total)
    found = trainer(config).evaluate(state.params, test)
    return {
        "parts": [[asdict(shape), steps] for shape, steps in parts],
        "seed": seed,
        "steps": done,
        "compute": compute,
        "loss": loss,
        "test_loss": found.loss,
        "test_accuracy": found.accuracy,
    }


def fit_law(runs: Sequence[dict[str, Any]]) -> tuple[ComputeLaw, str]:
    """E + A C^-b of a shape's validation losses, and the status of the fit.

    Raises:
      ValueError: the losses do not fall with compute, or are not finite.
    """
    compute = np.concatenate([run["compute"] for run in runs])
    loss = np.concatenate([run["loss"] for run in runs])
    scale = float(np.exp(np.log(compute).mean()))
    fit = scaling.fit("m2", {"x": compute / scale, "y": loss}, delta=0.02)
    b = -fit.params["c"]
    return ComputeLaw(fit.params["e_inf"], fit.params["b"] * scale**b, b), str(fit.status)


def plan_parts(
    laws: Sequence[ComputeLaw], setting: Setting, start: float
) -> tuple[list[Part], list[dict[str, Any]]]:
    """The adaptive run's parts, and its stages as plain values; FLOPs in all at most the budget."""
    stages = shape_plan(laws, start, setting.budget)
    parts, left = [], setting.budget
    for number, stage in enumerate(stages):
        each = flops_per_step(setting.shapes[stage.shape], setting)
        share = left if number == len(stages) - 1 else min(stage.compute, left)
        if steps := int(share // each):
            parts.append((setting.shapes[stage.shape], steps))
            left -= steps * each
    plain = [s._asdict() | {"loss": s.loss if np.isfinite(s.loss) else None} for s in stages]
    return parts, plain


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    change = arguments.change
    setting = PRESETS[arguments.preset][change]
    folder = arguments.out / (arguments.name or f"adaptive_shape-{change}-{arguments.preset}")
    description = {
        "schema": 1,
        "question": (__doc__ or "").splitlines()[0],
        "preset": arguments.preset,
        "change": change,
        "seed": arguments.seed,
        "setting": asdict(setting),
    }
    environment = environment_record()
    images = data.fashion_mnist()
    with lock_directory(folder):
        claim(folder / "job.json", description, "another job", "give this one another --name")

        def runs_of(name: str, parts: Sequence[Part]) -> list[dict[str, Any]]:
            found = []
            for seed in range(arguments.seed, arguments.seed + setting.seeds):
                path = folder / f"{name.replace(' ', '_')}-s{seed}.json"
                if not path.is_file():
                    task = data.image_task(images, seed=seed)
                    with counting_progress(console, f"{name}, seed {seed}", "step") as moved:
                        write_json(path, train_parts(parts, task, setting, seed, moved))
                found.append(read_json(path))
            return found

        names = [label(shape, change) for shape in setting.shapes]
        fixed = [
            runs_of(name, [(shape, int(setting.budget // flops_per_step(shape, setting)))])
            for name, shape in zip(names, setting.shapes, strict=True)
        ]
        fits = [fit_law(runs) for runs in fixed]
        laws = [law for law, _ in fits]
        start = max(run["loss"][0] for runs in fixed for run in runs)
        parts, stages = plan_parts(laws, setting, start)
        adaptive = runs_of("adaptive", parts)
        cells = [
            summary(n, r) for n, r in zip([*names, "adaptive"], [*fixed, adaptive], strict=True)
        ]
        results = description | {
            "environment": environment,
            "laws": [
                {"shape": n, **law._asdict(), "status": status}
                for n, (law, status) in zip(names, fits, strict=True)
            ],
            "plan": [stage | {"shape": names[int(stage["shape"])]} for stage in stages],
            "cells": cells,
            "comparison": compare(cells),
        }
        write_json(folder / "results.json", results)
        draw(folder, results, laws)
    console.print(table(results))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def summary(name: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and the deviation of the test loss between them (None for one)."""
    losses = [run["test_loss"] for run in runs]
    return {
        "name": name,
        "steps": runs[0]["steps"],
        "compute": np.mean([run["compute"] for run in runs], axis=0).tolist(),
        "loss": np.mean([run["loss"] for run in runs], axis=0).tolist(),
        "test_loss": float(np.mean(losses)),
        "test_loss_deviation": float(np.std(losses, ddof=1)) if len(runs) > 1 else None,
        "test_accuracy": float(np.mean([run["test_accuracy"] for run in runs])),
    }


def compare(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The adaptive run against the fixed shape of the lowest final validation loss.

    `compute_to_reach`: share of the budget after which the adaptive run first has that validation
    loss, between points by log FLOPs; None where it never has.
    """
    *fixed, adaptive = cells
    best = min(fixed, key=lambda c: c["loss"][-1])
    goal = best["loss"][-1]
    share = None
    for i, loss in enumerate(adaptive["loss"]):
        if loss <= goal:
            C = adaptive["compute"][i]
            if i:
                C0, before = adaptive["compute"][i - 1], adaptive["loss"][i - 1]
                C = float(np.exp(np.interp(-goal, [-before, -loss], np.log([C0, C]))))
            share = C / adaptive["compute"][-1]
            break
    return {
        "best_fixed": best["name"],
        "test_loss_saved": best["test_loss"] - adaptive["test_loss"],
        "compute_to_reach": share,
    }


def draw(folder: Path, results: dict[str, Any], laws: Sequence[ComputeLaw]) -> None:
    """The curves, the fitted laws, the switches."""
    *fixed, adaptive = results["cells"]
    curves = [
        ShapeCurve(c["name"], c["compute"], c["loss"], law.loss)
        for c, law in zip(fixed, laws, strict=True)
    ]
    spent = np.cumsum([stage["compute"] for stage in results["plan"]])
    switches = [
        (float(at), stage["shape"])
        for at, stage in zip(spent[:-1], results["plan"][1:], strict=True)
    ]
    against = results["comparison"]
    saved = against["test_loss_saved"]
    title = (
        f"At equal FLOPs the adaptive run's test loss is {abs(saved):.3f} "
        f"{'below' if saved > 0 else 'above'} that of {against['best_fixed']}"
    )
    if not switches:
        title = f"By the laws no change pays: the adaptive run is {results['plan'][0]['shape']}"
    mark = ShapeCurve("adaptive", adaptive["compute"], adaptive["loss"])
    save_png(adaptive_shape(curves, mark, switches, title), folder / "adaptive_shape.png")


def table(results: dict[str, Any]) -> Table:
    """One line a run."""
    shown = Table(title=f"{results['setting']['budget']:.1e} FLOPs a run", box=None, pad_edge=False)
    shown.add_column("shape")
    for column in ("steps", "validation loss", "test loss", "test accuracy"):
        shown.add_column(column, justify="right")
    for c in results["cells"]:
        shown.add_row(
            c["name"],
            f"{c['steps']:,}",
            f"{c['loss'][-1]:.3f}",
            f"{c['test_loss']:.3f}",
            f"{100 * c['test_accuracy']:.1f}%",
        )
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, LogError, OSError, ValueError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
