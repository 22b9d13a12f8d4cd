"""Records in TensorBoard event files and in Weights & Biases."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from farwide.runlog import Record
from farwide.tables import read_table
from farwide.training.sinks import MissingPackage, tensorboard_sink, wandb_sink

FIRST = Record("r", 5, 50, 9, 8, 2400.0, 2.5, None, 0.5, 0.01, {"accuracy": 0.25})
SECOND = FIRST._replace(step=10, tokens=100, flops=4800.0, train_loss=1.5, validation_loss=1.75)


def test_event_files_are_read_back(tmp_path):
    pytest.importorskip("tensorboard")
    sink = tensorboard_sink(tmp_path / "run")
    sink(FIRST)
    sink(SECOND)
    names = ["tokens", "metrics/accuracy", "train_loss"]
    table = read_table(tmp_path / "run", required=names, rows="all")
    found = [[float(table.columns[name][i]) for name in names] for i in range(2)]
    assert found == [[50, 0.25, 2.5], [100, 0.25, 1.5]]
    table = read_table(tmp_path / "run", required=["validation_loss"])  # evaluated once
    assert table.origin[0].endswith("step 10")
    assert list(table.columns["validation_loss"]) == [1.75]


def test_a_run_of_weights_and_biases_gets_every_record(tmp_path, monkeypatch):
    """By a stand-in for the package, which is heavy: its calls are what is tested."""
    calls = []
    run = SimpleNamespace(
        log=lambda values, step: calls.append((step, values)),
        finish=lambda exit_code: calls.append(("finish", exit_code)),
    )

    def init(**options):
        calls.append(options)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with wandb_sink("p", "r", tmp_path / "w", config={"a": 1}) as sink:
        sink(FIRST)
        sink(SECOND)
    options, first, second, end = calls
    assert options == {"project": "p", "name": "r", "id": "r", "dir": str(tmp_path / "w"),
                       "config": {"a": 1}, "mode": "offline", "resume": "allow"}  # fmt: skip
    assert first[0] == 5
    assert first[1]["metrics/accuracy"] == 0.25
    assert "validation_loss" not in first[1]
    assert second[1]["validation_loss"] == 1.75
    assert end == ("finish", 0)
    with pytest.raises(KeyError), wandb_sink("p", "r", tmp_path / "w"):
        raise KeyError
    assert calls[-1] == ("finish", 1)


def test_missing_packages_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackage, match=r"farwide\[wandb\]"), wandb_sink("p", "r", tmp_path):
        pass
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(MissingPackage, match=r"farwide\[logs\]"):
        tensorboard_sink(tmp_path)
