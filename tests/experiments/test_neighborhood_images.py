"""Every model of every preset can be made; a small job ends in a table and a figure, once."""

from __future__ import annotations

import io

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.neighborhood_images import (
    MODELS,
    PRESETS,
    Arguments,
    chosen,
    model_config,
    run,
)
from farwide.data import DataError, LabelledImages, Task, image_task
from farwide.models import image_model
from farwide.runlog.files import read_json

SIDES = {"Fashion-MNIST": (28, 28), "digits": (8, 8)}


def blank(height: int, width: int) -> Task:
    """A task of black images."""
    x, y = np.zeros((20, height, width, 1), np.float32), np.arange(20, dtype=np.int32) % 10
    return image_task(LabelledImages("blank", x, y, x, y, tuple("0123456789")))


def test_every_model_of_every_preset_can_be_made():
    for settings in PRESETS.values():
        for setting in settings:
            task = blank(*SIDES[setting.images])
            for name in setting.models:
                model = image_model(model_config(setting, name, task))

                def logits(key, inputs, model=model):
                    return model.apply(model.init(key), inputs)

                found = jax.eval_shape(logits, jax.random.key(0), task.test.inputs[:2])
                assert found.shape == (2, 10)
    used = {m for settings in PRESETS.values() for s in settings for m in s.models}
    assert used == set(MODELS)


def test_a_part_of_a_preset_can_be_chosen():
    ((setting, models),) = chosen(Arguments(images=("digits",), models=("CNN 3",)))
    assert (setting.images, models) == ("digits", ("CNN 3",))
    with pytest.raises(DataError, match="images has 'CIFAR-10'; preset demo has Fashion-MNIST"):
        chosen(Arguments(images=("CIFAR-10",)))


def test_a_small_job_ends_in_a_table_and_a_figure_and_is_not_done_twice(tmp_path):
    arguments = Arguments(preset="smoke", out=tmp_path, models=("neighborhood 3",))
    console = Console(file=io.StringIO(), width=120)
    folder = run(arguments, console)
    results = read_json(folder / "results.json")
    (found,) = results["cells"]
    assert (found["task"], found["model"], found["steps"]) == ("digits", "neighborhood 3", 20)
    assert found["accuracy"] > 0.2  # a guess has 0.1
    assert found["parameters"] > 1000
    assert results["environment"]
    assert (folder / "accuracy.png").stat().st_size > 10_000
    log = folder / "digits-neighborhood_3-s0" / "metrics.jsonl"
    before = log.stat().st_mtime_ns
    run(arguments, console)
    assert log.stat().st_mtime_ns == before
    assert "digits" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
