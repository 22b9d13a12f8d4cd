"""What every file of the tree keeps to: length, docstrings, no x64 switch, explicit keys."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "src", "kernels_pallas", "theory", "experiments")
FOLDERS += ("benchmarks", "tools", "tests", "notebooks", "docs")
LINES = 400
# Programs that run on neural_tangents too, whose JAX is of 2024.
OLD_JAX = ("tests/golden/", "benchmarks/infinite_width_peer.py")


def files(*suffixes: str) -> list[Path]:
    """The files of the tree with one of these suffixes, "" standing for none."""
    inside = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    return sorted(
        path
        for path in (*inside, *ROOT.iterdir())
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts
    )


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


SCRIPTS = [
    path
    for folder in ("experiments", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]


def test_there_is_something_to_look_at():
    assert len(files(".py")) > 50
    assert SCRIPTS


def test_no_file_is_longer_than_one_idea():
    texts = set(files(".py", ".sh", ".md", ".html", ".css", ".toml", ".cff", ""))
    texts -= {ROOT / "LICENSE", ROOT / "CHANGELOG.md"}
    lengths = {name(p): len(p.read_text(encoding="utf-8").splitlines()) for p in texts}
    assert {n: length for n, length in lengths.items() if length > LINES} == {}


def test_every_module_says_what_it_is():
    silent = [
        name(path)
        for path in files(".py")
        if path.relative_to(ROOT).parts[0] not in ("notebooks", "tests")
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_a_script_states_question_command_time_and_expected_result(script):
    doc = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    for field in ("Question", "Command", "Time", "Expected result"):
        assert re.search(rf"^{field}: ?\S", doc, re.MULTILINE), f"{field}: is missing"
    module = ".".join(script.relative_to(ROOT).with_suffix("").parts)
    assert f"python -m {module}" in doc


@pytest.mark.parametrize(
    "module", ["kernels_pallas", "theory", "theory.scaling", "theory.spectra", "farwide.runlog"]
)
def test_every_public_name_has_a_docstring(module):
    package = importlib.import_module(module)
    assert package.__all__
    silent = [
        public
        for public in package.__all__
        if (callable(item := getattr(package, public)) and not item.__doc__)
    ]
    assert silent == []


def test_no_global_precision_switch_and_only_typed_keys():
    """`jax.enable_x64` is used as a context, and keys come from `jax.random.key`."""
    found = []
    for path in files(".py"):
        if name(path).startswith(OLD_JAX):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "PRNGKey":
                found.append(f"{name(path)}:{node.lineno}: PRNGKey")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "update"
                and any(
                    isinstance(a, ast.Constant) and a.value == "jax_enable_x64" for a in node.args
                )
            ):
                found.append(f"{name(path)}:{node.lineno}: global x64 switch")
    assert found == []


def test_nothing_is_left_for_later():
    words = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3 + r"\b")))
    found = [
        f"{name(path)}:{i}"
        for path in files(".py", ".sh", ".md", "")
        for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []


def test_one_version_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)[0] == version
    assert re.findall(r"^version: (\S+)$", citation, re.MULTILINE) == [version]
