"""pyproject.toml declares what the code imports, and the code imports what it declares."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"farwide", "kernels_pallas", "theory", "experiments", "benchmarks", "tests", "tools"}
OURS |= {path.stem for path in (ROOT / "tools").glob("*.py")}  # scripts that import a sibling
# Peers that a benchmark measures where they happen to be installed.
PEERS = {"natten", "neural_tangents", "torch"}


def declared(requirements: list[str]) -> set[str]:
    return {
        re.split(r"[\s\[<>=!~;]", r, maxsplit=1)[0].lower().replace("_", "-") for r in requirements
    }


CORE = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(r) for name, r in PROJECT["optional-dependencies"].items()}


def imported(*folders: str) -> dict[str, set[str]]:
    """Distribution -> the files of the folders that import from it."""
    owners = packages_distributions()
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules = [node.module or ""]
                else:
                    continue
                for root in {module.split(".")[0] for module in modules}:
                    if root in sys.stdlib_module_names or root in OURS | PEERS:
                        continue
                    for owner in owners.get(root, [root]):
                        place = path.relative_to(ROOT).as_posix()
                        found.setdefault(owner.lower().replace("_", "-"), set()).add(place)
    return found


def undeclared(found: dict[str, set[str]], allowed: set[str]) -> dict[str, set[str]]:
    return {name: places for name, places in found.items() if name not in allowed}


def test_the_packages_import_what_is_declared():
    allowed = CORE | EXTRAS["logs"] | EXTRAS["report"] | EXTRAS["sampling"]
    assert undeclared(imported("src", "kernels_pallas", "theory"), allowed) == {}


def test_the_operators_need_jax_and_jaxtyping_alone():
    assert undeclared(imported("kernels_pallas"), {"jax", "jaxlib", "jaxtyping", "numpy"}) == {}


def test_experiments_need_the_core_alone():
    assert undeclared(imported("experiments"), CORE) == {}


def test_tests_tools_and_notebooks_import_what_is_declared():
    allowed = CORE | EXTRAS["dev"] | EXTRAS["logs"] | EXTRAS["notebooks"]
    assert undeclared(imported("tests", "tools", "notebooks", "benchmarks"), allowed) == {}


def test_no_declared_dependency_is_unused():
    used = set(imported("src", "kernels_pallas", "theory", "experiments"))
    assert CORE - used <= {"jaxlib"}  # jaxlib: stated for its lower bound


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_every_requirement_has_a_lower_bound_and_no_upper_one(extra):
    for requirement in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]:
        if not re.fullmatch(r"farwide\[[a-z]+\]", requirement):  # our own extras
            assert re.fullmatch(r"[A-Za-z0-9_.\-]+(\[[a-z0-9]+\])?>=[0-9.]+", requirement)


@pytest.mark.parametrize("extra", ["logs", "notebooks", "report", "sampling"])
def test_make_test_brings_what_its_tests_need(extra):
    assert f"farwide[{extra}]" in PROJECT["optional-dependencies"]["dev"]
