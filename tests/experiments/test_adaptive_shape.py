"""Plans become updates within the budget, a state survives its reshaping, small jobs end once."""

from __future__ import annotations

import io
from dataclasses import replace

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.adaptive_shape import (
    PRESETS,
    TINY,
    Arguments,
    Setting,
    compare,
    fit_law,
    flops_per_step,
    halves,
    plan_parts,
    reshaped,
    run,
    train_parts,
    trainer,
)
from farwide.data import Batch, LabelledImages, image_task
from farwide.runlog.files import read_json
from farwide.training.shape_plan import ComputeLaw

COARSE, FINE = replace(TINY, patch=14), replace(TINY, patch=7)


def test_shapes_of_a_preset_cost_more_and_more_and_differ_in_one_way():
    for preset in PRESETS.values():
        for change, setting in preset.items():
            costs = [flops_per_step(shape, setting) for shape in setting.shapes]
            assert costs == sorted(costs)
            assert setting.budget > 20 * costs[-1]
            same = {replace(s, patch=1, width=64, heads=4) for s in setting.shapes}
            assert len(same) == 1
            assert len({getattr(s, change) for s in setting.shapes}) == len(setting.shapes)


def test_a_law_is_found_again():
    C = np.geomspace(1e9, 1e11, 12)
    law, status = fit_law([{"compute": C, "loss": 0.5 + 300 * C**-0.3}])
    assert status == "converged"
    assert law == pytest.approx((0.5, 300, 0.3), rel=1e-3)


def test_a_plan_spends_the_budget():
    setting = Setting((COARSE, FINE), 1e9, 16)
    laws = [ComputeLaw(1.0, 1e4, 0.5), ComputeLaw(0.5, 2e4, 0.5)]
    parts, stages = plan_parts(laws, setting, 5.0)
    assert [shape for shape, _ in parts] == [COARSE, FINE]
    spent = sum(steps * flops_per_step(shape, setting) for shape, steps in parts)
    assert setting.budget - flops_per_step(FINE, setting) < spent <= setting.budget
    assert sum(stage["compute"] for stage in stages) == pytest.approx(setting.budget)


def test_a_run_that_changes_its_shape_goes_on_where_it_was():
    rng = np.random.default_rng(0)
    y = np.arange(64, dtype=np.int32) % 10
    x = rng.normal(size=(64, 28, 28, 1)).astype(np.float32) + y[:, None, None, None]
    task = image_task(LabelledImages("noise", x, y, x, y, tuple("0123456789")))
    setting = Setting((COARSE, FINE), 1e9, 16, warmup=2, examples=40, points=4)
    found = train_parts([(COARSE, 3), (FINE, 2)], task, setting, 0, lambda done, total: None)
    costs = [flops_per_step(shape, setting) for shape in (COARSE, FINE)]
    assert found["steps"] == 5
    assert found["compute"][-1] == pytest.approx(3 * costs[0] + 2 * costs[1])
    assert len(found["loss"]) == len(found["compute"])

    state = trainer(COARSE).step(trainer(COARSE).init(0), task.train(0, 16), 1e-3)
    moved = reshaped(state, COARSE, FINE)
    shapes = jax.tree.map(np.shape, trainer(FINE).shapes().params)
    assert jax.tree.map(np.shape, moved.params) == shapes
    before, after = jax.tree.leaves(state.opt_state), jax.tree.leaves(moved.opt_state)
    kept = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert kept.count(False) == 2  # both moments of the patch embedding


def test_the_halves_share_no_example():
    batch = Batch(np.arange(12.0), np.arange(12), np.ones(12))
    first, second = halves(batch, 10)
    assert list(first.targets) == [0, 1, 2, 3, 4]
    assert list(second.targets) == [5, 6, 7, 8, 9]


def test_compute_is_compared_at_the_loss_of_the_best_fixed_shape():
    def cell(name, loss, test_loss):
        return {"name": name, "compute": [1.0, 10.0, 100.0], "loss": loss, "test_loss": test_loss}

    coarse, fine = cell("coarse", [2.0, 1.5, 1.2], 1.3), cell("fine", [3.0, 2.0, 1.0], 1.1)
    found = compare([coarse, fine, cell("adaptive", [2.0, 1.2, 0.8], 0.9)])
    assert found["best_fixed"] == "fine"
    assert found["test_loss_saved"] == pytest.approx(0.2)
    assert found["compute_to_reach"] == pytest.approx(10**0.5 / 10)
    assert (
        compare([coarse, fine, cell("adaptive", [2.0, 1.4, 1.3], 1.4)])["compute_to_reach"] is None
    )


@pytest.mark.slow
@pytest.mark.parametrize("change", ["patch", "width"])
def test_a_small_job_ends_in_a_table_and_a_figure_and_is_not_done_twice(tmp_path, change):
    arguments = Arguments(preset="smoke", change=change, out=tmp_path)
    console = Console(file=io.StringIO(), width=120)
    folder = run(arguments, console)
    results = read_json(folder / "results.json")
    assert [c["name"] for c in results["cells"]][-1] == "adaptive"
    assert all(c["test_loss"] < 2.3 for c in results["cells"])
    assert (folder / "adaptive_shape.png").stat().st_size > 10_000
    before = (folder / "adaptive-s0.json").stat().st_mtime_ns
    run(arguments, console)
    assert (folder / "adaptive-s0.json").stat().st_mtime_ns == before
