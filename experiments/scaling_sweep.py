"""Does a scaling law, fitted to small long-convolution language models, predict a larger one?

Question: train byte-level models of several widths and token budgets on real text, fit
    L(N, D) = E + A / N^alpha + B / D^beta
to their validation losses, predict a run with at least 3 times the largest fitted compute
**before** it trains, train it, and compare.

Command: `python -m experiments.scaling_sweep --preset demo` (or `make demo`).
Time: preset demo 4 to 5 minutes on 2 CPU cores, smoke under 1; cpu and gpu not measured.
Expected result: runs/demo/report.html; the held-out loss lies inside the predicted 95% interval
and within 3% of the prediction, or the report says that it does not.

A second call skips what is finished and redraws. After a kill at any moment the same command
continues; the outcome is the same to the last bit.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from rich.console import Console
from rich.table import Table

from farwide.data import Corpus, CorpusError, read_corpus
from farwide.endings import plain_endings
from farwide.fitting import (
    Prediction,
    fit_runs,
    load_prediction,
    predict_run,
    save_fit,
    save_prediction,
)
from farwide.models import (
    LongConvLMConfig,
    count_parameters,
    long_conv_lm,
    training_flops_per_token,
)
from farwide.report import build
from farwide.runlog import LogError, environment_record, lock_directory, read_runs, write_json
from farwide.runlog.files import claim
from farwide.training import LanguageModelRun, OptimizerConfig
from farwide.training.sweep import run_sweep


@dataclass(frozen=True)
class Preset:
    """The shape of a sweep: every size trains at every budget."""

    sizes: tuple[tuple[int, int], ...]  # (width, depth)
    budgets: tuple[int, ...]  # tokens
    replicated: tuple[int, int]  # which size and budget trains with 3 seeds
    held_out: tuple[int, int, int]  # width, depth, tokens
    batch_size: int = 2
    sequence_length: int = 256
    validation_windows: int = 256


K = 1024
PRESETS = {
    "smoke": Preset(
        sizes=((8, 1), (12, 1), (16, 1)),
        budgets=(16 * K, 32 * K, 64 * K),
        replicated=(1, 1),
        held_out=(24, 1, 128 * K),
        sequence_length=128,
        validation_windows=64,
    ),
    "demo": Preset(
        sizes=((16, 2), (20, 2), (24, 2), (32, 2), (40, 2)),
        budgets=(192 * K, 384 * K, 768 * K, 1536 * K),
        replicated=(2, 2),
        held_out=(56, 2, 3072 * K),
    ),
    "cpu": Preset(
        sizes=((16, 2), (24, 2), (32, 3), (48, 3), (64, 4), (96, 4)),
        budgets=(512 * K, 1024 * K, 2048 * K, 4096 * K, 8192 * K),
        replicated=(2, 2),
        held_out=(128, 5, 14336 * K),
        batch_size=4,
        sequence_length=512,
    ),
    "gpu": Preset(
        sizes=((64, 4), (96, 4), (128, 6), (192, 6), (256, 8), (384, 8)),
        budgets=(2048 * K, 4096 * K, 8192 * K, 16384 * K),
        replicated=(2, 2),
        held_out=(512, 10, 26624 * K),
        batch_size=16,
        sequence_length=1024,
    ),
}


@dataclass(frozen=True)
class Arguments:
    """Train a family of models, fit their scaling law, predict a larger run, train it, report."""

    preset: Literal["smoke", "demo", "cpu", "gpu"] = "demo"
    corpus: Path | None = None
    """Folder of text to train on; the Python standard library's sources where not given."""
    name: str | None = None
    """Name of the sweep, the folder below --out; the preset's name where not given."""
    out: Path = Path("runs")
    """Folder that holds the sweeps."""
    bootstrap: int = 2000
    """Bootstrap replicates of the fit."""
    seed: int = 0
    """Base seed: the grid trains with it, the replicates with the two after it."""
    checkpoint_seconds: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 10.0
    """Least time between two checkpoints of a run."""


def sweep_configs(
    preset: Preset, sha256: str, seed: int
) -> tuple[list[LanguageModelRun], LanguageModelRun]:
    """The runs that are fitted (grid, then seed replicates) and the held-out run."""

    def config(width: int, depth: int, tokens: int) -> LanguageModelRun:
        return LanguageModelRun(
            model=LongConvLMConfig(width, depth, sequence_length=preset.sequence_length),
            optimizer=OptimizerConfig(),
            tokens=tokens,
            batch_size=preset.batch_size,
            seed=seed,
            data_sha256=sha256,
            validation_windows=preset.validation_windows,
        )

    grid = [config(*size, budget) for size in preset.sizes for budget in preset.budgets]
    size, budget = preset.replicated
    repeated = config(*preset.sizes[size], preset.budgets[budget])
    replicates = [replace(repeated, seed=seed + i, role="seed") for i in (1, 2)]
    return [*grid, *replicates], replace(config(*preset.held_out), role="held_out")


def _predict(
    folder: Path, held_out: LanguageModelRun, bootstrap: int, seed: int
) -> tuple[Any, Prediction]:
    """Fit the finished runs; keep an earlier prediction where the held-out run has begun."""
    runs_fit = fit_runs(read_runs(folder / "train"), bootstrap=bootstrap, seed=seed)
    path = folder / "prediction.json"
    begun = (folder / "train" / held_out.name / "config.json").is_file()
    if begun and path.is_file():
        return runs_fit, load_prediction(path)
    shapes = jax.eval_shape(long_conv_lm(held_out.model).init, jax.random.key(0))
    prediction = predict_run(
        runs_fit,
        run=held_out.name,
        N=count_parameters(shapes).non_embedding,
        D=held_out.steps * held_out.tokens_per_step,
        flops=held_out.steps * held_out.tokens_per_step * training_flops_per_token(held_out.model),
    )
    save_prediction(path, prediction)
    return runs_fit, prediction


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns the report's path."""
    preset = PRESETS[arguments.preset]
    folder = arguments.out / (arguments.name or arguments.preset)
    with lock_directory(folder):
        corpus = read_corpus(arguments.corpus)
        fitted, held_out = sweep_configs(preset, corpus.manifest["sha256"], arguments.seed)
        _check_budgets(corpus, [*fitted, held_out])
        _record(folder, arguments, fitted, held_out, corpus)
        environment = environment_record()

        def train(configs: list[LanguageModelRun]) -> list[dict[str, Any]]:
            return run_sweep(
                configs,
                corpus,
                folder / "train",
                environment=environment,
                console=console,
                checkpoint_seconds=arguments.checkpoint_seconds,
            )

        train(fitted)
        with _status(console, "fitting the law"):
            runs_fit, prediction = _predict(folder, held_out, arguments.bootstrap, arguments.seed)
            save_fit(folder / "fit.json", runs_fit)
        (outcome,) = train([held_out])
        with _status(console, "drawing the report"):
            report = build(folder)
    _print_outcome(console, runs_fit, prediction, outcome, report)
    return report


def _status(console: Console, text: str) -> AbstractContextManager[object]:
    """A spinner on a terminal, nothing elsewhere."""
    return console.status(text) if console.is_terminal else nullcontext()


def _check_budgets(corpus: Corpus, configs: list[LanguageModelRun]) -> None:
    """Refuse a corpus that is too small for the largest run now, not hours from now."""
    largest = max(configs, key=lambda config: config.tokens)
    available = corpus.manifest["train_bytes"]
    if available <= largest.tokens:
        raise CorpusError(
            f"corpus {corpus.manifest['root']!r} has {available} training bytes; run "
            f"{largest.name} reads {largest.tokens} and sees none twice. Use a larger --corpus or "
            "a smaller --preset"
        )


def _record(
    folder: Path,
    arguments: Arguments,
    fitted: list[LanguageModelRun],
    held_out: LanguageModelRun,
    corpus: Corpus,
) -> None:
    """Write sweep.json and corpus.json, or check that the sweep there is this one."""
    description = {
        "schema": 1,
        "name": folder.name,
        "preset": arguments.preset,
        "question": (__doc__ or "").splitlines()[0],
        "seed": arguments.seed,
        "data_sha256": corpus.manifest["sha256"],
        "fitted": [config.to_json() for config in fitted],
        "held_out": held_out.to_json(),
    }
    claim(
        folder / "sweep.json",
        description,
        "another sweep",
        "give this one another --name, or remove the folder",
    )
    write_json(folder / "corpus.json", corpus.manifest)


def _print_outcome(
    console: Console,
    runs_fit: Any,
    prediction: Prediction,
    outcome: dict[str, Any],
    report: Path,
) -> None:
    law = Table(title=f"L = E + A/N^alpha + B/D^beta, {runs_fit.fit.n_points} runs")
    law.add_column("parameter")
    law.add_column("value", justify="right")
    law.add_column("95% interval", justify="right")
    intervals = runs_fit.fit.interval()
    for name, value in runs_fit.fit.params.items():
        low, high = intervals[name]
        law.add_row(name, f"{value:.4g}", f"{low:.4g} to {high:.4g}")
    console.print(law)

    held_out = Table(title=f"Held-out run {prediction.run}, nats per byte")
    interval = f"{prediction.level:.0%} interval"
    for column in ("predicted", interval, "measured", "off by", "verdict"):
        held_out.add_column(column, justify="right")
    measured = outcome["validation_loss"]
    if outcome["status"] != "finished":
        verdict, error, shown = "the run diverged", "", ""
    else:
        inside = prediction.low <= measured <= prediction.high
        verdict = "inside the interval" if inside else "outside the interval"
        error, shown = f"{prediction.loss / measured - 1:+.2%}", f"{measured:.4f}"
    held_out.add_row(
        f"{prediction.loss:.4f}",
        f"{prediction.low:.4f} to {prediction.high:.4f}",
        shown,
        error,
        verdict,
    )
    console.print(held_out)
    console.print(f"report: {report}", soft_wrap=True)


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(CorpusError, LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
