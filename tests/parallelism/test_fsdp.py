"""A state spread by rules: where arrays lie, and that nothing else changes."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from farwide.parallelism import Fsdp, fsdp_shardings, report_text, sharding_report
from farwide.training import AdamW, StepOptions, make_trainer
from tests.parallelism.launching import finish, start
from tests.training.problems import mlp

MESH = AbstractMesh((4, 2), ("data", "model"))


def shapes(**sizes):
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in sizes.items()}


def specs(options, **sizes):
    found = fsdp_shardings(shapes(**sizes), MESH, options)  # pyright: ignore[reportArgumentType]
    return {name: tuple(sharding.spec) for name, sharding in found.items()}


def test_the_largest_axis_that_divides_is_split():
    sizes = {"a": (6, 64, 8), "b": (8, 8), "c": (4,), "d": (), "e": (101, 7), "f": (101, 8)}
    assert specs(Fsdp(least=5), **sizes) == {
        "a": (None, "data"),
        "b": ("data",),
        "c": (),  # small
        "d": (),
        "e": (),  # 4 divides neither
        "f": (None, "data"),
    }


def test_the_first_rule_that_matches_decides():
    rules = [("^up$", PartitionSpec(None, ("data", "model"))), ("up", PartitionSpec()),
             ("down", PartitionSpec("model"))]  # fmt: skip
    found = specs(Fsdp(rules), up=(4, 8), upper=(64, 64), down=(2, 4), other=(32, 64))
    assert found == {"up": (None, ("data", "model")), "upper": (), "down": ("model",),
                     "other": (None, "data")}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Fsdp(axis="rows"), "axis is 'rows'; accepted: data, model"),
        (Fsdp([("up", PartitionSpec("rows"))]), "the rule for up names the axis 'rows'"),
        (Fsdp([("up", PartitionSpec("data"))]), "the rule for up cuts an axis of 6 into 4"),
        (Fsdp([("up", PartitionSpec(None, None, "data"))]), "accepted: at most 2 axes"),
        (Fsdp([("dwon", PartitionSpec())]), "the rule 'dwon' decides on no array"),
    ],
)
def test_rules_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        specs(options, up=(6, 8))


def test_a_spread_state_needs_a_mesh_and_jit():
    with pytest.raises(ValueError, match="fsdp is given with run 'jit' and mesh None"):
        make_trainer(mlp(), AdamW().transformation(), StepOptions(), fsdp=Fsdp())


def test_the_report_counts_every_byte():
    tree = {"a": jax.ShapeDtypeStruct((8, 3), jnp.float32), "b": jnp.zeros(3, jnp.int8)}
    rows = sharding_report(tree, fsdp_shardings(tree, MESH, Fsdp(least=2)))  # pyright: ignore
    assert [(row.path, row.bytes, row.bytes_per_device) for row in rows] == [
        ("a", 96, 24),
        ("b", 3, 3),
    ]
    assert report_text(rows).endswith("in all 99 B, 27 B a device")


@pytest.mark.parametrize("kind", ["mlp", pytest.param("attention", marks=pytest.mark.slow)])
def test_a_spread_state_trains_as_a_whole_one(tmp_path, kind):
    finish(start("tests.parallelism.spread", tmp_path, kind))
    found = json.loads((tmp_path / f"{kind}.json").read_text())
    assert found["difference"] <= 1e-5
    assert found["losses"][0] == pytest.approx(found["losses"][1], abs=1e-5)
    assert found["difference_restored"] == 0
    assert found["difference_restored_whole"] <= 1e-5
    assert found["places_kept"]
    assert found["held"] == found["bytes_per_device"]
    assert 3.5 < found["bytes"] / found["bytes_per_device"] <= 4
