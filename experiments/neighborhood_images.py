"""Neighborhood attention on images: does a window cost accuracy, and what does it save?

Question: blocks that differ in how positions are mixed alone, by 2-D neighborhood attention of
several windows and dilations, by attention over the whole image or by a depthwise convolution, on
Fashion-MNIST and on the digits of scikit-learn: parameters, test accuracy, seconds.

Command: `python -m experiments.neighborhood_images --preset demo`
Time: preset demo about 2 minutes on 2 CPU cores, smoke under 1; cpu and gpu not measured.
Expected result: runs/neighborhood_images-demo with a table (results.json) and accuracy.png. In the
demo's few updates every model is far above a guess and the mixers lie within a few percent of one
another; which is best needs the seeds and the epochs of the larger presets.

What is finished is skipped by a second call; a run that was killed continues to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from farwide import data
from farwide.comparison import accuracy_figure, accuracy_table, run_cell
from farwide.data import DataError, LabelledImages, Task
from farwide.endings import plain_endings
from farwide.models import ImageConfig, image_model
from farwide.plotting import save_png
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim
from farwide.training import Recipe

MODELS: dict[str, dict[str, Any]] = {
    "neighborhood 3": {"mixer": "neighborhood", "window": 3},
    "neighborhood 5": {"mixer": "neighborhood", "window": 5},
    "neighborhood 7": {"mixer": "neighborhood", "window": 7},
    "neighborhood 3, dilation 1, 2": {"mixer": "neighborhood", "window": 3, "dilation": (1, 2)},
    "neighborhood 3, dilation 1, 4": {"mixer": "neighborhood", "window": 3, "dilation": (1, 4)},
    "full attention": {"mixer": "attention"},
    "CNN 3": {"mixer": "cnn", "window": 3},
    "CNN 5": {"mixer": "cnn", "window": 5},
    "CNN 7": {"mixer": "cnn", "window": 7},
}
"""Windows and dilations are in patches; dilations are of the blocks in turn."""
IMAGES: dict[str, Callable[[], LabelledImages]] = {
    "Fashion-MNIST": data.fashion_mnist,
    "digits": data.digits,
}


@dataclass(frozen=True)
class Setting:
    """One data set, the models' size on it, and how they are trained.

    Attributes:
      images: key of IMAGES.
      recipe: of every model.
      models: of MODELS.
      seeds: each is another order of the data and other initial parameters.
      width, depth, heads, patch: of every model.
      shrink: side of the squares of pixels whose mean becomes one.
      test_examples: the first so many of the test set; None for all.
    """

    images: str
    recipe: Recipe
    models: tuple[str, ...] = tuple(MODELS)
    seeds: int = 1
    width: int = 64
    depth: int = 4
    heads: int = 4
    patch: int = 2
    shrink: int = 1
    test_examples: int | None = None


ON_DIGITS = ("neighborhood 3", "neighborhood 5", "full attention", "CNN 3", "CNN 5")
PRESETS: dict[str, tuple[Setting, ...]] = {
    "smoke": (
        Setting(
            "digits",
            Recipe(20, 32),
            ("neighborhood 3", "full attention", "CNN 3"),
            width=16,
            depth=1,
            heads=2,
        ),
    ),
    "demo": (
        Setting(
            "Fashion-MNIST",
            Recipe(400, 64, 1e-2),
            ("neighborhood 3", "neighborhood 5", "neighborhood 3, dilation 1, 2", "full attention",
             "CNN 3"),
            width=32,
            depth=2,
            heads=2,
            patch=4,
            test_examples=2000,
        ),
        Setting(
            "digits",
            Recipe(250, 64, 1e-2),
            ("neighborhood 3", "full attention", "CNN 3"),
            width=32,
            depth=2,
            heads=2,
        ),
    ),
    "cpu": (
        Setting("Fashion-MNIST", Recipe(4690, 64, 2e-3), seeds=2),  # 5 epochs
        Setting("digits", Recipe(1000, 64), ON_DIGITS, seeds=3, width=32, patch=1),
    ),
    "gpu": (
        Setting("Fashion-MNIST", Recipe(14_070, 128, 2e-3), seeds=3, width=128, depth=6),
        Setting("digits", Recipe(2000, 64), ON_DIGITS, seeds=5, patch=1),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """Train neighborhood attention, full attention and convolutions on images."""

    preset: Literal["smoke", "demo", "cpu", "gpu"] = "demo"
    name: str | None = None
    """Folder below --out; neighborhood_images-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """The first of the seeds."""
    images: tuple[str, ...] = field(default_factory=tuple)
    """Only these data sets of the preset."""
    models: tuple[str, ...] = field(default_factory=tuple)
    """Only these models of the preset."""


def model_config(setting: Setting, name: str, task: Task) -> ImageConfig:
    """The model `name` of MODELS in the size of the setting."""
    return ImageConfig(
        shape=task.input_shape[:-1],
        channels=task.input_shape[-1],
        outputs=task.outputs,
        width=setting.width,
        depth=setting.depth,
        heads=setting.heads,
        patch=setting.patch,
        positions=True,
        **MODELS[name],
    )


def make_task(setting: Setting, seed: int) -> Task:
    """The images in an order of their own for each seed, with the test examples asked for."""
    task = data.image_task(IMAGES[setting.images](), shrink=setting.shrink, seed=seed)
    return task.tested_on(setting.test_examples)


def chosen(arguments: Arguments) -> list[tuple[Setting, tuple[str, ...]]]:
    """The settings of a call, and the models of each.

    Raises:
      DataError: a data set or a model is not in the preset.
    """
    settings = PRESETS[arguments.preset]
    for kind, asked, known in (
        ("images", arguments.images, [s.images for s in settings]),
        ("models", arguments.models, [m for s in settings for m in s.models]),
    ):
        for name in asked:
            if name not in known:
                listed = "; ".join(dict.fromkeys(known))
                raise DataError(f"{kind} has {name!r}; preset {arguments.preset} has {listed}")
    return [
        (s, tuple(m for m in s.models if not arguments.models or m in arguments.models))
        for s in settings
        if not arguments.images or s.images in arguments.images
    ]


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"neighborhood_images-{arguments.preset}")
    settings = chosen(arguments)
    environment = environment_record()
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "settings": [asdict(setting) for setting in PRESETS[arguments.preset]],
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        found: list[dict[str, Any]] = []
        for setting, models in settings:
            seeds = range(arguments.seed, arguments.seed + setting.seeds)
            tasks = {seed: make_task(setting, seed) for seed in seeds}
            for name in models:
                config = model_config(setting, name, tasks[arguments.seed])
                found.append(
                    run_cell(
                        setting.images,
                        name,
                        image_model(config),
                        asdict(config),
                        tasks,
                        setting.recipe,
                        folder,
                        environment=environment,
                        console=console,
                    )
                )
                write_json(
                    folder / "results.json",
                    description | {"environment": environment, "cells": found},
                )
        if figure := accuracy_figure(found, zoom=True):
            save_png(figure, folder / "accuracy.png")
    console.print(accuracy_table(found))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
