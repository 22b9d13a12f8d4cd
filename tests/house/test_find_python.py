"""tools/find_python.sh believes no name on PATH, and takes the newest interpreter that works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "find_python.sh"
TOOLS = ("awk", "sort", "head", "tr", "sh", "env")


def fake(folder: Path, name: str, answer: str | None) -> Path:
    """An executable that answers the probe as a working interpreter does, or fails."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    body = f'echo "{answer} $0"' if answer else "echo 'pyenv: command not found' >&2; exit 127"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder with the few tools that the script calls, and no Python."""
    folder = tmp_path / "system"
    folder.mkdir()
    for tool in TOOLS:
        where = shutil.which(tool)
        assert where, tool
        (folder / tool).symlink_to(where)
    return folder


def find(
    *folders: Path, arguments: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess:
    path = os.pathsep.join(map(str, folders))
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), *arguments],
        env={"PATH": path, "HOME": str(folders[-1]), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_takes_the_newest_that_runs_and_skips_shims_that_fail(tmp_path, system):
    shims, real = tmp_path / "shims", tmp_path / "real"
    fake(shims, "python3.13", None)
    fake(shims, "python3.12", None)
    fake(real, "python3.11", "3.11")
    expected = fake(real, "python3.12", "3.12")
    found = find(shims, real, system)
    assert found.stdout == f"3.12 {expected}\n"
    assert found.returncode == 0
    assert found.stderr == ""


def test_a_two_digit_minor_version_is_a_number(tmp_path, system):
    fake(tmp_path / "bin", "python3.9", None)  # what the real probe does below 3.11
    fake(tmp_path / "bin", "python3.11", "3.11")
    newest = fake(tmp_path / "bin", "python3.100", "3.100")
    newest.rename(newest.with_name("python3"))
    assert find(tmp_path / "bin", system).stdout.startswith("3.100 ")


def test_takes_python3_where_no_versioned_name_exists(tmp_path, system):
    expected = fake(tmp_path / "a folder", "python3", "3.12")
    assert find(tmp_path / "a folder", system).stdout == f"3.12 {expected}\n"


def test_of_equals_the_first_on_path_is_taken(tmp_path, system):
    first = fake(tmp_path / "one", "python3.12", "3.12")
    fake(tmp_path / "two", "python3.12", "3.12")
    assert find(tmp_path / "one", tmp_path / "two", system).stdout == f"3.12 {first}\n"


def test_all_lists_each_minor_version_once_with_pyenv(tmp_path, system):
    eleven = fake(tmp_path / "bin", "python3.11", "3.11")
    fake(tmp_path / "bin", "python3", "3.11")
    thirteen = fake(tmp_path / "pyenv" / "versions" / "3.13.0" / "bin", "python", "3.13")
    fake(tmp_path / "pyenv" / "versions" / "2.7.18" / "bin", "python", None)
    found = find(tmp_path / "bin", system, arguments=("--all",), PYENV_ROOT=str(tmp_path / "pyenv"))
    assert found.stdout == f"3.13 {thirteen}\n3.11 {eleven}\n"


def test_pyenv_is_a_last_resort(tmp_path, system):
    pyenv = {"PYENV_ROOT": str(tmp_path / "pyenv")}
    hidden = fake(tmp_path / "pyenv" / "versions" / "3.13.0" / "bin", "python", "3.13")
    assert find(system, **pyenv).stdout == f"3.13 {hidden}\n"
    plain = fake(tmp_path / "bin", "python3", "3.11")
    assert find(tmp_path / "bin", system, **pyenv).stdout == f"3.11 {plain}\n"


def test_nothing_usable_is_one_clear_sentence(tmp_path, system):
    fake(tmp_path / "bin", "python3", None)
    for arguments in ((), ("--all",)):
        found = find(tmp_path / "bin", system, arguments=arguments)
        assert found.returncode == 1
        assert found.stdout == ""
        assert len(found.stderr.splitlines()) == 1
        assert "Python >= 3.11" in found.stderr


def test_a_named_interpreter_is_taken_or_refused(tmp_path, system):
    fake(tmp_path / "bin", "python3.13", "3.13")
    named = fake(tmp_path / "other", "python3.11", "3.11")
    found = find(tmp_path / "bin", system, PYTHON=str(named))
    assert found.stdout == f"3.11 {named}\n"
    broken = fake(tmp_path / "other", "python3.12", None)
    for bad in (str(broken), "no-such-python"):
        found = find(tmp_path / "bin", system, PYTHON=bad)
        assert found.returncode == 1
        assert f"PYTHON={bad}" in found.stderr
        assert found.stdout == ""


def test_an_unknown_argument_is_refused(system):
    found = find(system, arguments=("--newest",))
    assert found.returncode == 2
    assert "usage" in found.stderr


def test_a_real_interpreter_passes_the_probe(system):
    """The probe itself, which the fakes stand in for, on the interpreter that runs this."""
    real = Path(os.path.realpath(sys.executable))
    found = find(system, PYTHON=str(real))
    version = f"3.{sys.version_info.minor}"
    assert found.stdout.split(" ", 1)[0] == version, found.stderr
    assert Path(found.stdout.split(" ", 1)[1].strip()).exists()
