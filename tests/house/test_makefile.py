"""The Makefile's targets are listed, exist where the documents name them, and run what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str) -> str:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


@needs_make
def test_help_lists_every_target_and_is_the_default():
    listed = re.findall(r"^  make ([a-z-]+) +\S", make("help"), re.MULTILINE)
    assert listed == TARGETS
    assert make() == make("help")


def test_every_target_is_phony():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == set(TARGETS)


@needs_make
def test_the_demo_runs_a_script_that_exists():
    commands = make("--dry-run", "demo", "PRESET=smoke")
    modules = re.findall(r"-m ([a-z_.]+) --preset smoke", commands)
    assert len(modules) == 1
    assert (ROOT / modules[0].replace(".", "/")).with_suffix(".py").is_file()


@needs_make
def test_bench_runs_benchmarks_that_exist_and_all_that_have_a_quick_size():
    ran = set(re.findall(r"-m benchmarks\.([a-z_]+)", make("--dry-run", "bench")))
    sources = {p.stem: p.read_text(encoding="utf-8") for p in (ROOT / "benchmarks").glob("*.py")}
    assert ran
    assert ran <= {name for name, text in sources.items() if '__name__ == "__main__"' in text}
    assert {name for name, text in sources.items() if '"--quick"' in text} <= ran


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_documents_name_targets_and_files_that_exist(document):
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(
        re.findall(r"^(?:\$ )?make ([a-z-]+)", text, re.MULTILINE)
    )
    assert named <= set(TARGETS)
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []
