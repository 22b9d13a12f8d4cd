"""The choice of an implementation: a pure function, with reasons."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kernels_pallas import dispatch
from kernels_pallas.dispatch import Implementation

TABLE = {
    "fast": Implementation(lambda call: None if call < 10 else "10 is too many", "json", "loads"),
    "slow": Implementation(lambda call: None if call < 100 else "100 is too many", "json", "dumps"),
}


@pytest.mark.parametrize(("call", "name"), [(1, "fast"), (50, "slow")])
def test_the_first_that_supports_the_call(call, name):
    assert dispatch.choose("op", TABLE, call) == name


def test_a_named_one():
    assert dispatch.choose("op", TABLE, 1, "slow") == "slow"


def test_a_named_one_that_cannot_run_says_why():
    with pytest.raises(ValueError, match=r"'fast' cannot run this op: 10 is too many"):
        dispatch.choose("op", TABLE, 50, "fast")


def test_none_that_can_run_lists_every_reason():
    with pytest.raises(ValueError, match=r"op.*fast: 10 is too many; slow: 100 is too many"):
        dispatch.choose("op", TABLE, 100)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"implementation is 'odd'; accepted: None, 'fast', 'slow'"
    ):
        dispatch.choose("op", TABLE, 1, "odd")


def test_reasons_in_order_of_preference():
    assert list(dispatch.reasons(TABLE, 50).items()) == [("fast", "10 is too many"), ("slow", None)]


def test_load_imports_the_function():
    import json

    assert dispatch.load(TABLE, "slow") is json.dumps


def test_importing_the_package_loads_no_backend_and_starts_none():
    code = """
import sys, kernels_pallas
from jax._src import xla_bridge
assert "kernels_pallas.long_conv.xla" not in sys.modules
assert "kernels_pallas.long_conv.reference" not in sys.modules
assert not {"flax", "matplotlib"} & {m.split(".")[0] for m in sys.modules}
assert not xla_bridge.backends_are_initialized()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
