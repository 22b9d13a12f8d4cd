"""docs/papers.md: every function and test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "papers.md"
FUNCTION = re.compile(r"`([\w./]+\.py):([\w.]+)`")
TEST = re.compile(r"`(tests/[\w./]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """The cells of every table row that is no heading."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [
        [c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("|")
    ]
    return [row for row in cells if row[0] != "paper" and not set(row[0]) <= set("- :")]


def defined(path: Path) -> set[str]:
    """Functions, classes, methods (as Class.method) and constants of a file."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}, {row[1]}"[:60])
def test_a_row_leads_from_a_paper_to_a_function_to_a_test(row):
    assert len(row) == 4
    paper, equation, functions, tests = row
    assert re.search(r"\b(19|20)\d\d\b", paper), f"{paper}: the year is missing"
    assert equation
    assert FUNCTION.findall(functions)
    assert TEST.findall(tests)


@pytest.mark.parametrize(
    ("path", "name"), sorted(set(FUNCTION.findall(PAGE.read_text(encoding="utf-8"))))
)
def test_a_named_function_exists(path, name):
    assert (ROOT / path).is_file(), path
    assert name in defined(ROOT / path)


@pytest.mark.parametrize(
    ("path", "name"), sorted(set(TEST.findall(PAGE.read_text(encoding="utf-8"))))
)
def test_a_named_test_exists(path, name):
    assert (ROOT / path).is_file(), path
    assert name.startswith("test_")
    assert name in defined(ROOT / path)


def test_every_code_span_with_a_path_was_checked():
    spans = re.findall(r"`([^`]*\.py[^`]*)`", PAGE.read_text(encoding="utf-8"))
    unread = [s for s in spans if not FUNCTION.fullmatch(f"`{s}`") and not TEST.fullmatch(f"`{s}`")]
    assert unread == []
