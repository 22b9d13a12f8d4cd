"""What the runs of one model on one task come to."""

from __future__ import annotations

import numpy as np
import pytest

from farwide import data
from farwide.comparison import accuracy_figure, accuracy_table, average, constant_guess
from farwide.data import Batch, digits, image_task


def test_a_constant_guess_counts_what_counts():
    task = data.mqar(length=32, pairs=2, vocabulary=8, test_examples=500)
    counted = task.test.targets[task.test.weights > 0]
    assert constant_guess(task) == pytest.approx(np.bincount(counted).max() / len(counted))
    assert 0.2 < constant_guess(task) < 0.35  # four values


def test_errors_are_of_the_test_set_and_of_the_seeds():
    task = image_task(digits())
    task = task._replace(test=Batch(*(part[:100] for part in task.test)))
    runs = [
        {"status": "finished", "metrics": {"accuracy": a}, "validation_loss": 1.0,
         "params_total": 7, "wall_seconds": 2.0, "step": 1}
        for a in (0.8, 0.9)
    ]  # fmt: skip
    one = average("digits", "CNN 3", runs[:1], task)
    q = 82 / 104  # Agresti and Coull: two of either kind more
    assert one["accuracy_error"] == pytest.approx(np.sqrt(q * (1 - q) / 104))
    two = average("digits", "CNN 3", runs, task)
    assert two["accuracy"] == pytest.approx(0.85)
    q = 87 / 104
    assert two["accuracy_error"] == pytest.approx(np.sqrt(q * (1 - q) / 104 + 0.005 / 2))
    sure = average("digits", "CNN 3", [runs[0] | {"metrics": {"accuracy": 1.0}}], task)
    assert sure["accuracy_error"] > 0.01
    lost = runs[0] | {"status": "diverged", "metrics": {}}
    assert average("digits", "CNN 3", [lost, runs[1]], task)["diverged"] == 1
    assert average("digits", "CNN 3", [lost], task)["accuracy"] is None
    assert accuracy_figure([average("digits", "CNN 3", [lost], task)]) is None
    assert accuracy_table([one, average("digits", "CNN 3", [lost], task)]).row_count == 2
