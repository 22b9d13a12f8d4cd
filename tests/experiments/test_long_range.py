"""Every mixer has a model for every task; a small job ends in a table and a figure, once."""

from __future__ import annotations

import io
from dataclasses import replace

import jax
import pytest
from rich.console import Console

import farwide.models.mixers.gated
from experiments.long_range import (
    MIXERS,
    PRESETS,
    SHORT,
    TASKS,
    Arguments,
    Setting,
    chosen,
    model_config,
    run,
)
from farwide.data import DataError
from farwide.models import sequence_model
from farwide.runlog.files import read_json
from farwide.training import Recipe, train_cell
from kernels_pallas import long_conv

SMALL = {
    "MQAR": {"length": 32, "pairs": 2, "vocabulary": 32},
    "associative recall": {},
    "delayed copy": {"length": 40},
    "ListOps": {"length": 32, "depth": 3},
    "Pathfinder": {"size": 32, "test_examples": 4},
}


@pytest.mark.parametrize("name", SMALL)
def test_every_mixer_has_a_model_for_every_task(name):
    setting = Setting(name, SMALL[name], Recipe(1), width=16, depth=1)
    task = TASKS[name](**({"test_examples": 8} | setting.options))
    for mixer in MIXERS:
        model = sequence_model(model_config(setting, mixer, task))
        inputs = task.train(0, 2).inputs

        def logits(key, inputs, model=model):
            return model.apply(model.init(key), inputs)

        found = jax.eval_shape(logits, jax.random.key(0), inputs)
        targets = task.train(0, 2).targets
        assert found.shape == (*targets.shape, task.outputs)


def test_a_part_of_a_preset_can_be_chosen():
    cells = chosen(Arguments(preset="recall", tasks=("MQAR",), mixers=("h3",)))
    assert [(setting.task, name) for setting, name in cells] == [("MQAR", "h3")]
    assert len(chosen(Arguments(preset="cpu"))) == 4 * len(MIXERS)
    with pytest.raises(DataError, match="tasks has 'Path-X'; preset demo has MQAR"):
        chosen(Arguments(tasks=("Path-X",)))
    assert all(setting.task in TASKS for settings in PRESETS.values() for setting in settings)


def test_a_small_job_ends_in_a_table_and_a_figure_and_is_not_done_twice(tmp_path):
    arguments = Arguments(preset="smoke", out=tmp_path, mixers=("mlp",))
    console = Console(file=io.StringIO(), width=120)
    folder = run(arguments, console)
    results = read_json(folder / "results.json")
    (cell,) = results["cells"]
    assert (cell["task"], cell["model"], cell["steps"]) == ("MQAR", "mlp", 20)
    assert 0 <= cell["accuracy"] <= 1
    assert cell["parameters"] > 1000
    assert (folder / "accuracy.png").stat().st_size > 10_000
    log = folder / "MQAR-mlp-s0" / "metrics.jsonl"
    before = log.stat().st_mtime_ns
    run(replace(arguments), console)
    assert log.stat().st_mtime_ns == before
    assert "MQAR" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def trained(setting, name, folder):
    """Test accuracy of one cell."""
    task = TASKS[setting.task](**setting.options)
    model = sequence_model(model_config(setting, name, task))
    summary = train_cell(name, setting.recipe.trainer(model), {}, task, setting.recipe, folder)
    return summary["metrics"]["accuracy"]


def backwards(x, k, *, pre_gate, post_gate, **options):
    """The long convolution that sees what comes, not what came."""
    flipped = [None if part is None else part[:, ::-1] for part in (x, pre_gate, post_gate)]
    y = long_conv(flipped[0], k, pre_gate=flipped[1], post_gate=flipped[2], **options)
    return y[:, ::-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_gates_recall_at_the_published_size_unless_the_filter_looks_ahead(
    name, tmp_path, monkeypatch
):
    published = {"length": 20, "vocabulary": 10}  # Fu et al. 2022, table 2: H3 99.8%
    setting = Setting("associative recall", published, Recipe(1500), (name,), SHORT, 32)
    assert trained(setting, name, tmp_path / "right") > 0.97
    monkeypatch.setattr(farwide.models.mixers.gated, "long_conv", backwards)
    # with four keys the one that is asked for often lies within reach of the short convolutions
    assert trained(setting, name, tmp_path / "wrong") < 0.8


@pytest.mark.slow
def test_s4d_remembers_over_a_delay(tmp_path):
    setting = Setting("delayed copy", {"length": 128}, Recipe(300, 32), ("s4d",))
    assert trained(setting, "s4d", tmp_path) > 0.99
