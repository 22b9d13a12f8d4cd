"""Logs of other projects, where they are at hand: $FARWIDE_LOGS, or ../shared/data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
    table = read_table(_path(name), columns=mapping)
    assert len(table) == rows
    assert table.removed == ()
    assert ("run" in table.columns) == ("run" in mapping)


def test_what_to_map_is_said():
    with pytest.raises(LogError, match=r"gadre_runs\.csv:1: no column 'N' .*--columns N=params"):
        read_table(_path("gadre_runs.csv"))


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
