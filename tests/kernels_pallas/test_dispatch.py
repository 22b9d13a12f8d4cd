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


def test_an_entry_below_the_chosen_one_is_not_asked():
    def asked(call):
        raise AssertionError("asked")

    table = {
        "first": dispatch.Implementation(dispatch.always, "a"),
        "second": dispatch.Implementation(asked, "b"),
    }
    assert dispatch.choose("op", table, None) == "first"


def test_a_module_that_cannot_be_imported_is_a_reason():
    missing = dispatch.Implementation(dispatch.refused_by("kernels_pallas.no_such_backend"), "x")
    with pytest.raises(ValueError, match="no_such_backend"):
        dispatch.choose("op", {"missing": missing}, None, "missing")


def test_a_default_call_imports_no_kernel():
    program = (
        "import sys, jax.numpy as jnp\n"
        "from kernels_pallas import long_conv\n"
        "long_conv(jnp.ones((1, 2, 64)), jnp.ones((2, 64)))\n"
        "print([m for m in sys.modules if m.startswith('jax.experimental.pallas')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
