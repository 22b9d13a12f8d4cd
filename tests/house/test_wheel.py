"""The wheel holds the three packages whole, and nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import check_wheel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend in this environment: no network, nothing written to the checkout."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_is_complete(wheel):
    assert check_wheel.contents(wheel) == []


def test_a_wheel_with_a_file_too_few_or_too_many_is_found_out(wheel, tmp_path):
    damaged = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(damaged, "w") as copy:
        for name in whole.namelist():
            if name != "theory/py.typed" and not name.endswith("licenses/LICENSE"):
                copy.writestr(name, whole.read(name))
        copy.writestr("tests/test_smuggled.py", "")
    assert check_wheel.contents(damaged) == [
        "theory/py.typed is missing",
        "tests/test_smuggled.py does not belong in it",
        "the licence is missing",
    ]
