"""Train language models below one folder, one after the other; finished ones are skipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from farwide.data import Corpus
from farwide.models import training_flops_per_token
from farwide.progress import sweep_progress
from farwide.training.language_model import (
    LanguageModelRun,
    byte_windows,
    language_model_trainer,
)
from farwide.training.loop import is_finished, train
from farwide.training.trainer import Trainer


def run_sweep(
    configs: Sequence[LanguageModelRun],
    corpus: Corpus,
    directory: str | Path,
    *,
    environment: dict[str, Any],
    console: Console,
    checkpoint_seconds: float = 10.0,
) -> list[dict[str, Any]]:
    """Train each of `configs` in `directory/NAME` and return their summaries in order.

    Runs of one model size follow each other and share one compilation.

    Raises:
        ValueError: two configurations have the same name.
    """
    names = [config.name for config in configs]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"configs holds {', '.join(twice)} more than once; names must differ")
    folder = Path(directory)
    to_do = [config for config in configs if not is_finished(folder / config.name)]
    total = sum(config.tokens * training_flops_per_token(config.model) for config in to_do)
    trainers: dict[Any, Trainer] = {}
    summaries: dict[str, dict[str, Any]] = {}
    with sweep_progress(console, total) as progress:
        for config in sorted(configs, key=lambda c: (c.model.width, c.model.depth, c.tokens)):
            size = (config.model, config.optimizer)
            if size not in trainers:  # the last size's compiled functions are let go
                trainers = {size: language_model_trainer(config)}
            unfinished = config in to_do
            if unfinished:
                progress.start_run(
                    config.name, config.tokens, training_flops_per_token(config.model)
                )
            summaries[config.name] = train(
                config,
                byte_windows(config, corpus),
                trainers[size],
                folder / config.name,
                rates=config.rates,
                environment=environment,
                checkpoint_seconds=checkpoint_seconds,
                on_progress=lambda steps, each=config.tokens_per_step: progress.tokens_done(
                    steps * each
                ),
            )
            if unfinished:
                progress.end_run(config.tokens)
    return [summaries[name] for name in names]
