"""Importing a package costs no more than importing JAX, and does no work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def fresh(code: str) -> str:
    """Runs code in a new interpreter; returns the last line that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def third_party(package: str, *, after: str) -> set[str]:
    """The packages from outside the standard library that an import brings in beyond `after`."""
    code = f"""
import json, sys
import {after}
before = {{name.split(".")[0] for name in sys.modules}}
import {package}
new = {{name.split(".")[0] for name in sys.modules}} - before - set(sys.stdlib_module_names)
print(json.dumps(sorted(name for name in new if not name.startswith("_"))))
"""
    return set(json.loads(fresh(code)))


def test_kernels_pallas_needs_jax_and_jaxtyping_alone():
    assert third_party("kernels_pallas", after="jax, jaxtyping") == {"kernels_pallas"}


def test_theory_needs_jax_jaxtyping_and_numpy_alone():
    assert third_party("theory", after="jax, jaxtyping, numpy") == {"theory"}


def test_farwide_itself_imports_nothing():
    assert third_party("farwide", after="sys") == {"farwide"}


def test_the_command_line_starts_without_jax_or_plotting():
    heavy = {"jax", "flax", "orbax", "matplotlib", "scipy", "kernels_pallas", "theory"}
    assert not third_party("farwide.cli", after="sys") & heavy


@pytest.mark.parametrize("package", ["kernels_pallas", "theory", "farwide"])
def test_an_import_starts_no_backend_and_leaves_float32(package):
    """The number of CPU devices can be set until the backend starts, and never after."""
    code = f"""
import {package}
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 3)
print(len(jax.devices()), jax.numpy.ones(()).dtype)
"""
    assert fresh(code) == "3 float32"


def test_the_backend_check_can_fail():
    """The same update after an array was made: the check above would have seen it."""
    code = """
import jax
jax.numpy.ones(()).block_until_ready()
try:
    jax.config.update("jax_num_cpu_devices", 3)
    print(len(jax.devices()))
except RuntimeError:
    print("refused")
"""
    assert fresh(code) in {"refused", "1"}
