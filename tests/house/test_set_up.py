"""tools/set_up.sh installs once, takes up an interrupted install, and remakes a broken environment.

A fake interpreter stands in for Python: it makes "environments" that hold a copy of itself, and
writes each pip install to a log, so that no test needs a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"

FAKE_PYTHON = r"""#!/bin/sh
# A stand-in for Python 3.$FAKE_MINOR.
for last; do :; done
case $* in
*"import venv"* | *"ensurepip, ssl"*) echo "3.${FAKE_MINOR:-12} $0" ;;
*"sys.version_info[:2]"*) echo "3.$(cat "${0%/*}/minor" 2>/dev/null || echo "${FAKE_MINOR:-12}")" ;;
"-m venv"*)
    echo "venv $last" >>"$FAKE_LOG"
    rm -rf "$last"
    mkdir -p "$last/bin"
    cp "$0" "$last/bin/python"
    echo "${FAKE_MINOR:-12}" >"$last/bin/minor"
    : >"$last/pyvenv.cfg"
    ;;
"-m ensurepip"*) [ -z "${FAKE_NO_PIP:-}" ] || exit 130; : >"${0%/*}/pip" ;;
"-c import pip") [ -f "${0%/*}/pip" ] ;;
"-m pip install"*)
    [ -z "${FAKE_INTERRUPT:-}" ] || exit 130
    echo "pip $last" >>"$FAKE_LOG"
    ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


class Checkout:
    """A bare checkout with the two scripts, a pyproject.toml and the fake interpreter."""

    def __init__(self, root: Path, home: Path):
        self.root, self.log, self.home = root, home / "log", home
        (root / "tools").mkdir(parents=True)
        for script in ("set_up.sh", "find_python.sh"):
            shutil.copy(TOOLS / script, root / "tools" / script)
        (root / "pyproject.toml").write_text("[project]\nname = 'farwide'\n")
        self.python = home / "python3"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)

    def set_up(self, extra: str = "dev", venv: str = ".venv", **env: str):
        self.log.write_text("")
        base = {"PATH": os.environ["PATH"], "HOME": str(self.home), "FAKE_LOG": str(self.log)}
        done = subprocess.run(
            ["/bin/sh", "tools/set_up.sh", venv, extra],
            cwd=self.root,
            env={**base, "PYTHON": str(self.python), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done, self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a checkout", tmp_path)


FRESH = ["venv .venv", "pip .[dev]"]


def test_installs_once(checkout):
    done, log = checkout.set_up()
    assert (done.returncode, log) == (0, FRESH), done.stderr
    done, log = checkout.set_up()
    assert (done.returncode, log, done.stdout) == (0, [], "")


def test_core_first_then_the_rest_and_dev_holds_core(checkout):
    assert checkout.set_up("core")[1] == ["venv .venv", "pip ."]
    assert checkout.set_up("core")[1] == []
    assert checkout.set_up("dev")[1] == ["pip .[dev]"]
    assert checkout.set_up("core")[1] == []


def test_a_changed_pyproject_is_installed_again(checkout):
    checkout.set_up()
    (checkout.root / "pyproject.toml").write_text("[project]\nname = 'farwide'\ndependencies=[]\n")
    assert checkout.set_up()[1] == ["pip .[dev]"]
    assert checkout.set_up()[1] == []


def test_an_interrupted_install_is_taken_up_again(checkout):
    done, log = checkout.set_up(FAKE_INTERRUPT="1")
    assert done.returncode != 0
    assert log == ["venv .venv"]
    assert checkout.set_up()[1] == ["pip .[dev]"]


def test_an_interrupted_reinstall_leaves_no_old_stamp(checkout):
    checkout.set_up()
    old = (checkout.root / "pyproject.toml").read_text()
    (checkout.root / "pyproject.toml").write_text(old + "dependencies=[]\n")
    assert checkout.set_up(FAKE_INTERRUPT="1")[0].returncode != 0
    (checkout.root / "pyproject.toml").write_text(old)
    assert checkout.set_up()[1] == ["pip .[dev]"]


def test_an_environment_interrupted_before_pip_is_made_again(checkout):
    assert checkout.set_up(FAKE_NO_PIP="1")[0].returncode != 0
    done, log = checkout.set_up()
    assert log == FRESH
    assert ".venv is unfinished; making it again" in done.stdout


def test_a_moved_checkout_gets_a_new_environment(checkout):
    checkout.set_up()
    moved = checkout.root.with_name("elsewhere")
    checkout.root.rename(moved)
    checkout.root = moved
    done, log = checkout.set_up()
    assert log == FRESH
    assert "was moved here from" in done.stdout
    assert checkout.set_up()[1] == []


@pytest.mark.parametrize("damage", ["gone", "fails", "old"])
def test_a_broken_interpreter_is_noticed(checkout, damage):
    checkout.set_up()
    python = checkout.root / ".venv" / "bin" / "python"
    if damage == "gone":
        python.unlink()
    elif damage == "fails":
        python.write_text("#!/bin/sh\nexit 127\n")
    else:
        (python.parent / "minor").write_text("9\n")
    done, log = checkout.set_up()
    assert log == FRESH
    assert "making it again" in done.stdout


def test_another_version_asked_for_by_name_remakes_the_environment(checkout):
    checkout.set_up(FAKE_MINOR="12")
    done, log = checkout.set_up(FAKE_MINOR="13")
    assert log == FRESH
    assert "has Python 3.12" in done.stdout


def test_a_folder_that_is_no_environment_is_left_alone(checkout):
    precious = checkout.root / "thesis"
    precious.mkdir()
    (precious / "chapter.tex").write_text("words")
    done, log = checkout.set_up(venv="thesis")
    assert done.returncode == 1
    assert log == []
    assert "thesis is no virtual environment" in done.stderr
    assert (precious / "chapter.tex").read_text() == "words"


def test_no_interpreter_is_one_clear_sentence(checkout):
    done, log = checkout.set_up(PYTHON="no-such-python")
    assert done.returncode == 1
    assert log == []
    assert done.stderr.count("\n") == 1
    assert "PYTHON=no-such-python" in done.stderr


def test_an_unknown_extra_is_refused(checkout):
    done, log = checkout.set_up("everything")
    assert done.returncode == 2
    assert log == []
    assert "core, dev" in done.stderr
