"""Do the layers of a model move by as much in a wide model as in a narrow one?

Question: How much do the results of every layer change in the first steps of training, from width
64 to 1024, in muP and in other parametrisations, under Adam and SGD at a large learning rate, for a
perceptron and for a language model of long convolutions?

Command: `python -m experiments.coordinate_check --preset demo`
Time: preset demo about 3 minutes on 2 idle CPU cores, smoke seconds; cpu and gpu not measured.
Expected result: runs/coordinate_check-demo with results.json and coordinate_check.png. In muP the
change is flat in the width, in the standard parametrisation it rises, and in that of the NTK the
hidden layers' falls with a slope of -1/2. docs/mup.md has the slopes.

The perceptron (three hidden tanh layers) learns 64 digits, its readout starting at zero; the
language model (one block, sequences of 32) learns a cycle of bytes, and of its logits those of
these bytes are measured. Learning rates are close to the largest that are stable at width 64.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console

from farwide.data import DataError, digits
from farwide.endings import plain_endings
from farwide.models import LongConvLMConfig, MLPConfig, Model, long_conv_lm, mlp
from farwide.mup import CoordinateCheck, coordinate_check, slope_table, slopes
from farwide.plotting import Measured, Predicted, TheoryPanel, save_png, theory_curves
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json

CYCLE = 8  # bytes that the language model sees
LENGTH = 32
RATES = {
    ("perceptron", "adam"): 0.02,
    ("perceptron", "sgd"): 1.0,
    ("language model", "adam"): 0.01,
    ("language model", "sgd"): 0.1,
}
NTK_RATE = 0.1  # of the NTK parametrisation, whose readout starts at full size
SHOWN = {
    "perceptron": {f"hidden_{i}": f"hidden layer {i + 1}" for i in range(3)},
    "language model": {
        "embed": "embedding",
        "blocks_0/mixer": "mixer",
        "blocks_0/down": "MLP",
        "norm": "last norm",
    },
}


@dataclass(frozen=True)
class Size:
    """Widths, seeds and steps of every check."""

    widths: tuple[int, ...]
    seeds: int
    steps: int = 4


PRESETS = {
    "smoke": Size((16, 32), 2, steps=2),
    "demo": Size((64, 256, 1024), 4),
    "cpu": Size((64, 128, 256, 512, 1024), 8),
    "gpu": Size((64, 128, 256, 512, 1024, 2048, 4096), 16),
}
CHECKS = [
    (model, optimizer, parametrisation)
    for model in ("perceptron", "language model")
    for optimizer in ("adam", "sgd")
    for parametrisation in ("mup", "standard")
] + [("perceptron", "sgd", "ntk")]


@dataclass(frozen=True)
class Arguments:
    """Measure how far layers move in the first steps, at several widths."""

    preset: Literal["smoke", "demo", "cpu", "gpu"] = "demo"
    name: str | None = None
    """Folder below --out; coordinate_check-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the initial weights."""


def check(
    model: str, optimizer: Any, parametrisation: Any, size: Size, seed: int
) -> CoordinateCheck:
    """One check; see the module's words."""
    if model == "perceptron":
        data = digits()
        x, y = jnp.asarray(data.x_train[:64]), jnp.asarray(data.y_train[:64])
    else:
        # four phases of one cycle
        cycle = (jnp.arange(LENGTH + 1) + jnp.arange(4)[:, None]) % CYCLE
        x, y = cycle[:, :-1], cycle[:, 1:]

    def make(width: int) -> Model:
        if model == "perceptron":
            return mlp(MLPConfig(width, 3, 64, 10, "tanh"))
        # the tied readout is divided by the width in muP, by its root otherwise
        wider = 1.0 if parametrisation == "mup" else (width / size.widths[0]) ** 0.5
        config = LongConvLMConfig(width, 1, sequence_length=LENGTH, output_scale=4.0 * wider)
        return long_conv_lm(config)

    def loss(outputs: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

    rate = NTK_RATE if parametrisation == "ntk" else RATES[model, optimizer]
    return coordinate_check(
        make, size.widths, x, loss, learning_rate=rate, steps=size.steps,
        optimizer=optimizer, seeds=size.seeds, parametrisation=parametrisation,
        # an NTK's outputs are random at the start: a readout of zero is muP's choice alone
        zero_readout=model == "perceptron" and parametrisation == "mup",
        observe=lambda outputs: outputs[..., :CYCLE], seed=seed,
    )  # fmt: skip


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"coordinate_check-{arguments.preset}")
    size, found = PRESETS[arguments.preset], {}
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "size": asdict(size),
            "learning_rates": {" ".join(key): rate for key, rate in RATES.items()}
            | {"perceptron sgd ntk": NTK_RATE},
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        for key in CHECKS:
            path = folder / f"{'-'.join(key).replace(' ', '_')}.json"
            if not path.is_file():
                console.print(", ".join(key))
                write_json(path, check(*key, size, arguments.seed)._asdict())
            # null stands for a change that is not finite
            change = {k: np.array(v, float) for k, v in read_json(path)["change"].items()}
            found[key] = CoordinateCheck(size.widths, change)
        results = {
            ", ".join(key): {
                "slopes": {name: slope._asdict() for name, slope in slopes(each).items()},
                "change": {
                    name: (values[:, :, -1] ** 2).mean(1) ** 0.5
                    for name, values in each.change.items()
                },
            }
            for key, each in found.items()
        }
        results = description | {"environment": environment_record(), "checks": results}
        write_json(folder / "results.json", results)
        save_png(draw(found, size), folder / "coordinate_check.png")
    for key, each in found.items():
        console.print(slope_table(each, title=", ".join(key)))
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def draw(found: dict[Any, CoordinateCheck], size: Size) -> Any:
    """A panel for each check of muP and the standard parametrisation, last step."""
    words = {"mup": "muP", "standard": "standard", "adam": "Adam", "sgd": "SGD"}
    panels = {}
    for (model, optimizer, parametrisation), each in found.items():
        if parametrisation == "ntk":
            continue
        lines, points = [], []
        for group, (layer, label) in enumerate((SHOWN[model] | {"outputs": "outputs"}).items()):
            squares = each.change[layer][:, :, -1] ** 2
            if not np.isfinite(squares).all():
                squares = np.where(np.isfinite(squares), squares, np.nan)
            y = np.sqrt(squares.mean(1))
            error = squares.std(1, ddof=1) / size.seeds**0.5 / (2 * y)
            lines.append(Predicted(label, each.widths, y.tolist(), group))
            points.append(Measured(label, each.widths, y.tolist(), error.tolist(), group))
        title = f"{model}, {words[optimizer]}, {words[parametrisation]}"
        panels[title] = TheoryPanel(
            lines, points, "width", "change (root mean square)", text=lambda v: f"{v:g}"
        )
    return theory_curves(
        panels, f"How far layers move in {size.steps} steps: flat in muP, not otherwise"
    )


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(DataError, LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
