"""Models side by side on tasks: train a cell's seeds, average them, a table, a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from farwide.data import Task
from farwide.models import Model
from farwide.plotting import Accuracy, task_accuracy
from farwide.progress import counting_progress
from farwide.training import Recipe, train_cell


def constant_guess(task: Task) -> float:
    """Accuracy on the test targets of always saying the commonest."""
    counts = np.bincount(task.test.targets.ravel(), weights=task.test.weights.ravel())
    return float(counts.max() / counts.sum())


def run_cell(
    label: str,
    name: str,
    model: Model,
    facts: Mapping[str, Any],
    tasks: Mapping[int, Task],
    recipe: Recipe,
    folder: Path,
    *,
    environment: dict[str, Any],
    console: Console,
) -> dict[str, Any]:
    """Train one model on one task from every seed, with a bar, and average.

    Args:
      label: of the task, in tables.
      name: of the model.
      model, facts: it, and what made it as plain values.
      tasks: seed -> the data in that seed's order.
      recipe: of the training.
      folder: of the job; each run has a folder LABEL-NAME-sSEED below it.
      environment: `environment_record()`.
      console: where the bar is drawn, if it is a terminal.

    Returns:
      The cell, as `average` makes it. Runs that are finished are not trained again.
    """
    runs, trainer = [], recipe.trainer(model)
    for seed, task in tasks.items():
        run_name = f"{label}-{name}-s{seed}".replace(",", "").replace(" ", "_")
        with counting_progress(console, f"{label}, {name}, seed {seed}", "step") as moved:
            runs.append(
                train_cell(
                    run_name,
                    trainer,
                    facts,
                    task,
                    recipe,
                    folder / run_name,
                    seed=seed,
                    environment=environment,
                    on_progress=lambda done, moved=moved: moved(done, recipe.steps),
                )
            )
    return average(label, name, runs, next(iter(tasks.values())))


def average(label: str, name: str, runs: Sequence[dict[str, Any]], task: Task) -> dict[str, Any]:
    """Means over the runs of one model on one task, as plain values.

    The squared error of the mean accuracy p of n seeds on a test set of N targets is
    q (1 - q) / (N + 4) + s^2 / n, with q = (p N + 2) / (N + 4), so that 100% has an error too
    (Agresti and Coull 1998), and s the deviation between seeds; one seed has the first part alone.
    Runs that diverged are counted and left out of the means; where all did, those are None.
    """
    good = [r for r in runs if r["status"] == "finished"]
    accuracies = np.array([r["metrics"]["accuracy"] for r in good])
    accuracy = error = loss = None
    if good:
        accuracy = float(accuracies.mean())
        between = accuracies.var(ddof=1) / len(good) if len(good) > 1 else 0.0
        tested = float(task.test.weights.sum())
        q = (accuracy * tested + 2) / (tested + 4)
        error = float((q * (1 - q) / (tested + 4) + between) ** 0.5)
        loss = float(np.mean([r["validation_loss"] for r in good]))
    return {
        "task": label,
        "model": name,
        "parameters": runs[0]["params_total"],
        "seeds": len(runs),
        "diverged": len(runs) - len(good),
        "accuracies": accuracies.tolist(),
        "accuracy": accuracy,
        "accuracy_error": error,
        "constant_guess": constant_guess(task),
        "loss": loss,
        "steps": max(r["step"] for r in runs),
        "seconds": float(np.mean([r["wall_seconds"] for r in runs])),
    }


def accuracy_figure(cells: Sequence[dict[str, Any]], *, zoom: bool = False) -> Figure | None:
    """A panel a task; models of which every run diverged have no point. None without any point."""
    panels: dict[str, tuple[float, list[Accuracy]]] = {}
    for cell in cells:
        if cell["accuracy"] is not None:
            note = f"{cell['seconds']:.0f} s"
            point = Accuracy(cell["model"], cell["accuracy"], cell["accuracy_error"], note)
            panels.setdefault(cell["task"], (cell["constant_guess"], []))[1].append(point)
    if not panels:
        return None
    title = "Test accuracy after training, with its seconds; bars are 95%"
    return task_accuracy(panels, title, zoom=zoom)


def accuracy_table(cells: Sequence[dict[str, Any]]) -> Table:
    """One line a model and task."""
    shown = Table(title="Test accuracy in percent, loss in nats", box=None, pad_edge=False)
    for column in ("task", "model"):
        shown.add_column(column)
    for column in ("parameters", "seeds", "accuracy", "loss", "steps", "s a run"):
        shown.add_column(column, justify="right")
    for cell in cells:
        good = cell["accuracy"] is not None
        shown.add_row(
            cell["task"],
            cell["model"],
            f"{cell['parameters']:,}",
            f"{cell['seeds'] - cell['diverged']} of {cell['seeds']}",
            f"{100 * cell['accuracy']:.1f} ± {100 * cell['accuracy_error']:.1f}"
            if good
            else "diverged",
            f"{cell['loss']:.3f}" if good else "",
            f"{cell['steps']:,}",
            f"{cell['seconds']:.0f}",
        )
    return shown
