"""Which mixer learns which long-range task, and at what price?

Question: every mixer of farwide.models on multi-query associative recall (MQAR), associative recall
with one query, delayed copy, ListOps, Pathfinder-32 and sequential Fashion-MNIST: parameters, test
accuracy, seconds.

Command: `python -m experiments.long_range --preset demo`
Time: preset demo 90 seconds on 2 CPU cores, smoke under a minute, recall 40 minutes (none of its
cells more than 10); cpu and gpu not measured.
Expected result: runs/long_range-demo with a table (results.json) and accuracy.png. In the demo
attention has 100%, the gated convolutions 91% to 94%, and what has no gate (S4D, LongConv) names
one of two values, 50%. In recall the three gated convolutions have 98.8% to 100%.

What is finished is skipped by a second call; a run that was killed continues to the same bits.
`--tasks` and `--mixers` choose a part of a preset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from farwide import data
from farwide.comparison import accuracy_figure, accuracy_table, run_cell
from farwide.data import DataError, Task
from farwide.endings import plain_endings
from farwide.models import SequenceConfig, mixer, sequence_model
from farwide.models.filters import S4D, Hyena, SGConv
from farwide.models.mixers import Gated, MixerConfig, has_causal_form
from farwide.plotting import save_png
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim
from farwide.training import Recipe

MIXERS = (
    "long_conv", "sgconv", "s4d", "butterfly", "gated_long_conv", "h3", "hyena", "neighborhood",
    "attention", "cnn", "mlp",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One task, the models' size on it, and how they are trained.

    Attributes:
      task: key of TASKS; options: its arguments.
      mixers: of MIXERS.
      settings: of the mixers that are not as `farwide.models.mixer` makes them.
      width, depth, mlp_ratio: of every model.
      recipe: of every model.
    """

    task: str
    options: dict[str, Any]
    recipe: Recipe
    mixers: tuple[str, ...] = MIXERS
    settings: Mapping[str, MixerConfig] = field(default_factory=dict)
    width: int = 64
    depth: int = 2
    mlp_ratio: int = 2


def _sequential_fashion(*, tested: int | None = None, **options: Any) -> Task:
    return data.image_sequence_task(data.fashion_mnist(), **options).tested_on(tested)


TASKS: dict[str, Callable[..., Task]] = {
    "MQAR": data.mqar,
    "associative recall": data.associative_recall,
    "delayed copy": data.delayed_copy,
    "ListOps": data.list_ops,
    "Pathfinder": lambda **options: data.pathfinder(sequence=True, **options),
    "sequential Fashion-MNIST": _sequential_fashion,
}
MQAR_DEMO = {"length": 32, "pairs": 2, "vocabulary": 32}
MQAR_RECALL = {"length": 64, "pairs": 4, "vocabulary": 64}
SHORT: Mapping[str, MixerConfig] = {
    "gated_long_conv": Gated(SGConv(scale_dim=2, decay=1.0)),
    "h3": Gated(S4D(dt_min=1e-2), short_taps=4, short="keys"),
    "hyena": Gated(Hyena(frequency=1.0, slow=5.0, fast=1.0)),
}
"""Filters that begin smooth and hardly decay, for tens of positions. Defaults are for thousands;
with them the same training ends far below (docs/experiments.md)."""


def _recall(mixer: str, steps: int, rate: float, width: int, mlp_ratio: int) -> Setting:
    recipe = Recipe(steps, 32, rate)
    return Setting("MQAR", MQAR_RECALL, recipe, (mixer,), SHORT, width, mlp_ratio=mlp_ratio)


PRESETS: dict[str, tuple[Setting, ...]] = {
    "smoke": (
        Setting("MQAR", MQAR_DEMO, Recipe(20, 16), ("s4d", "attention", "mlp"), {}, 16, 1),
        Setting("delayed copy", {"length": 24, "tokens": 4}, Recipe(20, 16), ("s4d",), {}, 16, 1),
    ),
    "demo": (
        Setting(
            "MQAR",
            MQAR_DEMO,
            Recipe(600, 64, 1e-2),
            ("s4d", "long_conv", "gated_long_conv", "h3", "hyena", "attention"),
            SHORT,
            32,
        ),
    ),
    "recall": (
        Setting(
            "associative recall",
            {"length": 20, "vocabulary": 10},
            Recipe(3000),
            ("gated_long_conv", "h3", "hyena"),
            SHORT,
            32,
        ),
        _recall("gated_long_conv", 8000, 5e-3, 128, 0),
        _recall("h3", 14_000, 1e-2, 64, 2),
        _recall("hyena", 8000, 5e-3, 64, 0),
        Setting("delayed copy", {"length": 256}, Recipe(1500, 32), ("s4d",)),
        Setting(
            "sequential Fashion-MNIST",
            {"shrink": 2, "tested": 2000},
            Recipe(4000, 32, 5e-3),
            ("s4d",),
        ),
    ),
    "cpu": (
        Setting("MQAR", MQAR_RECALL, Recipe(8000, 64, 3e-3), settings=SHORT),
        Setting("ListOps", {"length": 128}, Recipe(8000, 32, 2e-3)),
        Setting("Pathfinder", {"size": 32}, Recipe(8000, 32, 1e-3)),
        Setting("sequential Fashion-MNIST", {}, Recipe(8000, 32, 2e-3)),
    ),
    "gpu": (
        Setting(
            "MQAR",
            {"length": 256, "pairs": 16, "vocabulary": 8192},
            Recipe(50_000, 64, 1e-3),
            settings=SHORT,
            width=128,
        ),
        Setting("ListOps", {"length": 2000}, Recipe(50_000, 32, 1e-3), width=128, depth=6),
        Setting("Pathfinder", {"size": 32}, Recipe(200_000, 64, 1e-3), width=192, depth=6),
        Setting("sequential Fashion-MNIST", {}, Recipe(50_000, 64, 1e-3), width=128, depth=4),
    ),
}


@dataclass(frozen=True)
class Arguments:
    """Train every mixer on tasks that need long memories."""

    preset: Literal["smoke", "demo", "recall", "cpu", "gpu"] = "demo"
    name: str | None = None
    """Folder below --out; long_range-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the initial parameters and of the data."""
    tasks: tuple[str, ...] = field(default_factory=tuple)
    """Only these tasks of the preset."""
    mixers: tuple[str, ...] = field(default_factory=tuple)
    """Only these mixers of the preset."""


def model_config(setting: Setting, name: str, task: Task) -> SequenceConfig:
    """The model of a cell. Where the target is one for a sequence and nothing forbids it, both
    directions are seen and the mean is read, but for ListOps, whose end is where the answer is.
    """
    settings = setting.settings.get(name) or mixer(name)
    causal = has_causal_form(settings) and (task.per_position or setting.task == "ListOps")
    readout = "positions" if task.per_position else ("last" if causal else "mean")
    return SequenceConfig(
        mixer=settings,
        width=setting.width,
        depth=setting.depth,
        length=task.input_shape[0],
        outputs=task.outputs,
        vocabulary=task.vocabulary,
        features=None if task.vocabulary else task.input_shape[1],
        readout=readout,
        causal=causal,
        mlp_ratio=setting.mlp_ratio,
    )


def chosen(arguments: Arguments) -> list[tuple[Setting, str]]:
    """The cells of a call.

    Raises:
      DataError: a task or mixer is not in the preset.
    """
    settings = PRESETS[arguments.preset]
    for kind, asked, known in (
        ("tasks", arguments.tasks, [s.task for s in settings]),
        ("mixers", arguments.mixers, [m for s in settings for m in s.mixers]),
    ):
        for name in asked:
            if name not in known:
                listed = ", ".join(dict.fromkeys(known))
                raise DataError(f"{kind} has {name!r}; preset {arguments.preset} has {listed}")
    return [
        (setting, name)
        for setting in settings
        if not arguments.tasks or setting.task in arguments.tasks
        for name in setting.mixers
        if not arguments.mixers or name in arguments.mixers
    ]


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"long_range-{arguments.preset}")
    cells = chosen(arguments)
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
        for setting, name in cells:
            task = TASKS[setting.task](**setting.options, seed=arguments.seed)
            config = model_config(setting, name, task)
            found.append(
                run_cell(
                    setting.task,
                    name,
                    sequence_model(config),
                    asdict(config),
                    {arguments.seed: task},
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
        if figure := accuracy_figure(found):
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
