"""The main job end to end, at a size of seconds."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from experiments import scaling_sweep
from experiments.scaling_sweep import PRESETS, Arguments, Preset, sweep_configs
from farwide.data import CorpusError
from farwide.fitting import load_prediction
from farwide.models import training_flops_per_token
from farwide.runlog import LogError, lock_directory, read_runs

TINY = Preset(
    sizes=((4, 1), (6, 1), (8, 1)),
    budgets=(2048, 4096, 8192),
    replicated=(1, 1),
    held_out=(12, 1, 16384),
    sequence_length=64,
    validation_windows=8,
)


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(30):
        text = "".join(f"number {i * j} of file {i} is {i + j}\n" for j in range(60))
        (folder / f"{i}.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, corpus_folder):
    """Run the job once; returns its arguments, folder and what the terminal showed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "smoke", TINY)
        out = tmp_path_factory.mktemp("runs")
        arguments = Arguments(preset="smoke", corpus=corpus_folder, out=out, bootstrap=100)
        shown = io.StringIO()
        scaling_sweep.run(arguments, Console(file=shown, width=100))
        yield arguments, out / "smoke", shown.getvalue()


@pytest.mark.parametrize("name", ["demo", "cpu", "gpu"])
def test_presets_keep_the_promises(name):
    preset = PRESETS[name]
    fitted, held_out = sweep_configs(preset, "", 0)
    assert len(preset.sizes) >= 5
    assert len(preset.budgets) >= 4
    grid = [config for config in fitted if config.role == "fit"]
    assert len(grid) == len(preset.sizes) * len(preset.budgets)
    seeds = {config.seed for config in fitted if config.role == "seed"}
    assert len(seeds | {0}) == 3

    def compute(config):
        return config.steps * config.tokens_per_step * training_flops_per_token(config.model)

    assert compute(held_out) >= 3 * max(map(compute, fitted))
    assert len({config.name for config in [*fitted, held_out]}) == len(fitted) + 1
    # no example is seen twice: every preset fits the 30 MB of a full standard library
    assert max(c.tokens for c in [*fitted, held_out]) < 29_000_000


def test_everything_is_there(sweep):
    _, folder, shown = sweep
    runs = read_runs(folder / "train")
    assert len(runs) == 12
    assert all(run.finished for run in runs)
    for name in ("sweep.json", "corpus.json", "fit.json", "prediction.json", "report.html"):
        assert (folder / name).stat().st_size > 0
    assert list(folder.glob("*.png"))
    assert str(folder / "report.html") in shown
    corpus = json.loads((folder / "corpus.json").read_text())
    assert {run.config["data_sha256"] for run in runs} == {corpus["sha256"]}


def test_the_prediction_came_before_the_held_out_run_and_did_not_use_it(sweep):
    _, folder, _ = sweep
    prediction = load_prediction(folder / "prediction.json")
    held_out = next(run for run in read_runs(folder / "train") if run.role == "held_out")
    assert prediction.run == held_out.run
    assert prediction.run not in prediction.fitted_runs
    assert len(prediction.fitted_runs) == 11
    written = (folder / "prediction.json").stat().st_mtime_ns
    assert written < (held_out.path / "config.json").stat().st_mtime_ns
    assert prediction.low < prediction.loss < prediction.high
    final = held_out.final
    assert final is not None
    assert (prediction.N, prediction.D) == (final.params_non_embedding, final.tokens)
    assert prediction.flops == pytest.approx(final.flops)


def test_the_terminal_ends_with_what_came_out(sweep):
    _, folder, shown = sweep
    prediction = load_prediction(folder / "prediction.json")
    held_out = next(run for run in read_runs(folder / "train") if run.role == "held_out")
    assert f"{prediction.loss:.4f}" in shown
    assert held_out.final is not None
    assert f"{held_out.final.validation_loss:.4f}" in shown
    inside = prediction.low <= held_out.final.validation_loss <= prediction.high
    assert ("inside the interval" if inside else "outside the interval") in shown
    assert len(shown.splitlines()) < 30  # short, and no progress bar: this is no terminal


def test_a_second_call_trains_nothing_and_draws_again(sweep):
    arguments, folder, _ = sweep
    kept = [*(folder / "train").rglob("*.json*"), folder / "prediction.json"]
    before = {path: path.stat().st_mtime_ns for path in kept}
    (folder / "report.html").unlink()
    scaling_sweep.run(arguments, Console(file=io.StringIO()))
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert (folder / "report.html").stat().st_size > 0


def test_another_seed_in_the_same_folder_is_refused_before_it_trains(sweep):
    arguments, folder, _ = sweep
    with pytest.raises(LogError, match="another sweep"):
        scaling_sweep.run(replace(arguments, seed=1), Console(file=io.StringIO()))
    assert len(read_runs(folder / "train")) == 12


def test_a_corpus_too_small_for_the_held_out_run_is_refused_before_anything_trains(tmp_path, sweep):
    arguments, _, _ = sweep
    small = tmp_path / "corpus"
    small.mkdir()
    for name in "abc":
        (small / f"{name}.txt").write_text(f"{name} {len(name)} words\n" * 400)
    with pytest.raises(CorpusError, match=r"training bytes; run w012d1-t00016k-s0 reads 16384"):
        scaling_sweep.run(
            replace(arguments, corpus=small, name="small"), Console(file=io.StringIO())
        )
    assert not (arguments.out / "small" / "train").exists()


def test_two_processes_on_one_sweep_are_refused(sweep):
    arguments, folder, _ = sweep
    with lock_directory(folder), pytest.raises(LogError, match="in use by process"):
        scaling_sweep.run(arguments, Console(file=io.StringIO()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corpus", "/no/such/folder"], "is not a folder"),
        (["--preset", "smoke", "--out", "/dev/null/runs"], "/dev/null/runs"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(monkeypatch, capsys, tmp_path, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["scaling_sweep", *options])
    with pytest.raises(SystemExit) as stop:
        scaling_sweep.main()
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.startswith("error: ")
    assert "\n" not in error
