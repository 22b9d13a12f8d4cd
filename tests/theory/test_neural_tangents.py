"""docs/neural_tangents.md: every public name of the peer is there, and what it says is so."""

from __future__ import annotations

import enum
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import theory

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "neural_tangents.md"
NAMES = json.loads((ROOT / "tests" / "golden" / "names.json").read_text(encoding="utf-8"))["names"]
ROW = re.compile(r"^\| `([\w.]+)` \| (\w+) \| (.*) \|$|^\| `([\w.]+)` \| (\w+) \| \|$")
# Where a signature differs, and how; everything else has the peer's parameters, order and defaults.
DEFAULTS = {
    ("empirical_ntk_fn", "implementation"): "AUTO",
    ("empirical_kernel_fn", "implementation"): "AUTO",
    ("monte_carlo_kernel_fn", "implementation"): "AUTO",
}
RECORDS = ("Kernel", "stax.MaskedArray")  # made by the library; their fields are compared by name


def rows() -> dict[str, tuple[str, str]]:
    """(state, note) by name."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if match := ROW.match(line):
            name = match[1] or match[4]
            assert name not in found, f"{name} is listed twice"
            found[name] = (match[2] or match[5], match[3] or "")
    return found


def found_here(name: str) -> Any:
    """The object of that name in theory.

    Raises:
      AttributeError: there is none.
    """
    value: Any = theory
    for part in name.split("."):
        value = getattr(value, part)
    return value


def test_the_table_lists_every_name_and_no_other():
    assert set(rows()) == set(NAMES)


def test_states_are_stated():
    for name, (state, note) in rows().items():
        assert state in ("same", "better", "refused"), name
        assert state == "same" or note, f"{name}: say why"


def test_nothing_is_refused_but_tensorflow():
    assert [name for name, (state, _) in rows().items() if state == "refused"] == ["experimental"]


@pytest.mark.parametrize(
    "name", [name for name, (state, _) in rows().items() if state != "refused"]
)
def test_what_is_said_to_be_here_is_here(name):
    value, peer = found_here(name), NAMES[name]
    if peer["kind"] == "enumeration":
        assert issubclass(value, enum.Enum)
        assert {member.name for member in value} == set(peer["members"])
    elif name in RECORDS:
        ours = set(inspect.signature(value).parameters)
        assert {parameter for parameter, _, _ in peer["parameters"]} <= ours
    elif "parameters" in peer:
        check_parameters(name, value, peer["parameters"])


def check_parameters(name: str, value: Any, expected: list[list[str]]) -> None:
    """The peer's parameters come first, in its order, with its defaults; more may follow."""
    ours = [p for p in inspect.signature(value).parameters.values() if not p.name.startswith("_")]
    assert [p.name for p in ours[: len(expected)]] == [parameter for parameter, _, _ in expected]
    for own, (parameter, default, kind) in zip(ours, expected, strict=False):
        assert own.kind.name == kind, parameter
        default = DEFAULTS.get((name, parameter), default)
        written = "" if own.default is own.empty else plain(own.default)
        assert same_default(written, default), f"{parameter}: {written}, the peer has {default}"
    extra = ours[len(expected) :]
    assert all(p.default is not p.empty or p.kind.name.startswith("VAR") for p in extra)


def plain(default: Any) -> str:
    """A default as names.json writes it."""
    if isinstance(default, enum.Enum):
        return default.name
    return "a function" if callable(default) else repr(default)


def same_default(ours: str, peer: str) -> bool:
    """Whether they are written alike, or are equal numbers."""
    try:
        return ours == peer or float(ours) == float(peer)
    except ValueError:
        return peer.startswith("<Precision") and ours in ("HIGHEST", "'highest'", peer)
