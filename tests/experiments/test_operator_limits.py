"""Finite networks of our own operators beside their limits, end to end at a size of seconds."""

from __future__ import annotations

import io
import json

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import operator_limits as experiment
from experiments.limits import errors, networks
from experiments.operator_limits import PRESETS, Arguments
from farwide.runlog import LogError
from theory import stax

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("runs"), io.StringIO()
    folder = experiment.run(Arguments("smoke", out=out), Console(file=shown, width=160))
    return folder, shown.getvalue()


def test_results_tables_and_picture(finished):
    folder, shown = finished
    results = json.loads((folder / "results.json").read_text())
    (row,), (gap,) = results["operators"], results["gaps"]
    for name in networks.KERNELS:
        for readout in networks.READOUTS:
            found = row["errors"][name][readout]
            assert [each["width"] for each in found["rows"]] == [8, 32]
            assert found["widest"]["samples"] == 32
            assert found["widest"]["error"] < 5 * found["widest"]["noise"] + 2 / 32
            assert found["slope"]["value"] == pytest.approx(-0.5, abs=0.35)
            assert gap["errors"][name][readout]["exact"] < 0.6
    assert f"{100 * row['errors']['ntk']['mean']['widest']['error']:.2f}%" in shown
    assert f"{100 * errors.worst(gap['errors']['nngp'], 'gap'):.1f}%" in shown
    assert "of 4 errors are below 1% (all samples of the widest)" in shown
    missed = results["missed"]
    assert set(missed) == set(experiment.JUDGED)
    assert len(missed["widest"]) >= len(missed["smallest"])
    assert results["environment"]["packages"]["jax"]
    assert (folder / "operator_limits.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_call_draws_nothing(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.delattr(experiment, "draw")
    monkeypatch.delattr(experiment, "limit")
    experiment.run(Arguments("smoke", out=folder.parent), Console(file=io.StringIO()))
    with pytest.raises(LogError, match="another job"):
        experiment.run(Arguments("smoke", out=folder.parent, seed=1), Console(file=io.StringIO()))


def test_presets_name_cases_and_have_a_budget_for_each_depth():
    for size in PRESETS.values():
        assert set(size.operators) <= set(networks.OPERATORS)
        assert set(size.gaps) <= set(networks.GAPS)
        assert len(size.depths) == len(size.budget) == len(size.root_budget)
        for name in size.operators:
            for depth in size.depths:
                for count in size.sizes(name, depth).values():
                    assert count % errors.BLOCKS == 0
                    assert count <= size.most
    assert set(PRESETS["cpu"].operators) == set(networks.OPERATORS)


@pytest.mark.parametrize("name", [*networks.OPERATORS, "gap-erf-8-taps"])
def test_every_case_is_a_network(name):
    case = networks.CASES[name]
    x = networks.inputs(case, 2)
    np.testing.assert_allclose((x**2).mean(axis=tuple(range(1, x.ndim))), 1)
    for finite in (True, False):
        body = stax.serial(*networks.body(case, 2, 16, finite=finite))
        y = jax.eval_shape(
            lambda key, body=body: body.apply_fn(body.init_fn(key, x.shape)[1], x), KEY
        )
        assert y.shape == (2, *case.grid, 16)


def test_errors_of_draws_with_a_known_noise():
    rng, limit = np.random.default_rng(0), np.ones((2, 2))
    pieces = {}
    for width in (64, 256):
        draws = limit + 3 * rng.standard_normal((1024, 2, 2)) / width**0.5
        pieces[width] = errors.condense(draws, limit)
        row = errors.at_width(width, 1024, pieces[width], limit)
        for point in row["curve"]:
            expected = 3 / (width * point["samples"]) ** 0.5
            assert point["value"] == pytest.approx(expected, abs=5 * point["error"])
        assert row["noise"] == pytest.approx(3 / (width * 1024) ** 0.5, rel=0.5)
        assert row["error"] < 3 * row["noise"]
    fitted = errors.slope(pieces)
    assert fitted is not None
    assert fitted["points"] == 3 + 5
    assert fitted["value"] == pytest.approx(-0.5, abs=4 * fitted["error"])
    assert 0 < fitted["error"] < 0.05


def test_a_bias_is_not_noise():
    rng, limit = np.random.default_rng(0), np.ones((2, 2))
    draws = 1.1 + 0.1 * rng.standard_normal((1024, 2, 2))
    row = errors.at_width(64, 1024, errors.condense(draws, limit), limit)
    assert row["error"] == pytest.approx(0.1, abs=0.01)
    assert row["noise"] < 0.005


def test_a_bias_of_one_over_the_width_is_continued_to_zero():
    rng, limit = np.random.default_rng(0), np.ones((2, 2))

    def piece(width):
        noise = rng.standard_normal((256, 2, 2)) * (0.1 / width**0.5)
        return errors.condense(limit * (1 + 4 / width) + noise, limit)

    found = errors.extrapolated({width: piece(width) for width in (16, 64, 256)}, limit)
    assert found is not None
    assert found["error"] < 4 * found["noise"]
    assert found["noise"] == pytest.approx(0.1 * (256 + 64) ** 0.5 / 16 / 192, rel=0.5)
    assert errors.extrapolated({16: piece(16)}, limit) is None


def test_slopes_need_three_points():
    piece = errors.condense(np.ones((8, 2, 2)) * 2, np.ones((2, 2)))
    assert errors.slope({16: piece, 32: piece}) is None
