"""Logs of other projects, where they are at hand: $FARWIDE_LOGS, or ../shared/data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farwide.cli import main
from farwide.runlog import LogError
from farwide.tables import read_table

LOGS = Path(os.environ.get("FARWIDE_LOGS") or Path(__file__).parents[3] / "shared" / "data")
GADRE = {"N": "params_no_embed", "D": "tokens", "loss": "loss_c4_val", "run": "name"}
GEMSTONES = {"N": "params_active_precise", "D": "tokens", "loss": "final_loss", "run": "run_name"}
FILES = {
    "chinchilla_package_runs.csv": ({}, 234),
    "gadre_runs.csv": (GADRE, 104),
    "gemstones_hot.jsonl": (GEMSTONES, 220),
    "gemstones_cooldown.jsonl": (GEMSTONES, 199),
    "gemstones_hot_100b.jsonl": (GEMSTONES, 770),
}


def _path(name: str) -> Path:
    if not (LOGS / name).is_file():
        pytest.skip(f"{LOGS / name} is not there; set FARWIDE_LOGS to its folder")
    return LOGS / name


@pytest.mark.parametrize("name", FILES)
def test_every_row_is_read(name):
    mapping, rows = FILES[name]
    table = read_table(_path(name), columns=mapping, rows="all")
    assert len(table) == rows
    assert table.removed == ()
    assert ("run" in table.columns) == ("run" in mapping)


def test_what_to_map_is_said():
    with pytest.raises(LogError, match=r"gadre_runs\.csv:1: no column 'N' .*--columns N=params"):
        read_table(_path("gadre_runs.csv"))


# One command each, as docs/logs.md gives them: the options, the points, some of what is printed.
COMMANDS = {
    "chinchilla_package_runs.csv": ([], 234, "Left out: nothing"),
    "gadre_runs.csv": (
        ["--columns", "N=params_no_embed", "loss=loss_c4_val", "--where", "dataset=c4_original"],
        34, "read       D = tokens, run = name (guessed",
    ),
    "gemstones_hot.jsonl": (["--rows", "all"], 220, "run = run_name (guessed"),
    "gemstones_cooldown.jsonl": (["--rows", "all"], 199, "N = params_active_precise"),
    "gemstones_hot_100b.jsonl": (
        ["--rows", "all", "--min-step", "5000"], 726, "--min-step 5000: step is 2385",
    ),
}  # fmt: skip


SLOW = ("chinchilla_package_runs.csv", "gemstones_hot.jsonl", "gemstones_hot_100b.jsonl")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in COMMANDS]
)
def test_one_command_fits_each(capsys, name):
    options, points, said = COMMANDS[name]
    main(["fit", str(_path(name)), "--bootstrap", "0", *options])
    captured = capsys.readouterr()
    assert captured.err == ""
    assert f"{points} points from" in captured.out
    assert said in captured.out
    assert "status     converged" in captured.out
    doc = (Path(__file__).parents[2] / "docs" / "logs.md").read_text()
    assert " ".join(["farwide fit", name, *options]) in doc


def test_one_row_a_run_of_gemstones_cannot_tell_tokens():
    table = read_table(_path("gemstones_hot.jsonl"), columns=GEMSTONES, rows="last")
    assert len(table) == 22
    assert len(table.removed) == 198
    assert len({*table.columns["D"].tolist()}) == 1
    with pytest.warns(UserWarning, match=r"220 rows of 22 runs \(10 each\)"):
        read_table(_path("gemstones_hot.jsonl"), columns=GEMSTONES)


def test_every_cut_of_a_real_file_is_an_error_or_harmless(tmp_path):
    raw = _path("chinchilla_package_runs.csv").read_bytes()
    whole = read_table(_path("chinchilla_package_runs.csv"))
    path = tmp_path / "cut.csv"
    for end in range(len(raw) - 400, len(raw)):
        path.write_bytes(raw[:end])
        try:
            table = read_table(path)
        except LogError:
            continue
        for name, column in table.columns.items():
            assert column.tolist() == whole.columns[name][: len(column)].tolist()
