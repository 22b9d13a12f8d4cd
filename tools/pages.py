"""Shared by the scripts that publish measured figures: provenance, and the markers of a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def provenance(path: Path, result: dict[str, Any]) -> str:
    """Where the numbers come from, in a sentence."""
    made = result["provenance"]
    versions = made["versions"]
    names = {"jax": "JAX", "scipy": "SciPy", "torch": "PyTorch"}
    libraries = "".join(f"{names[key]} {versions[key]}, " for key in names if key in versions)
    state = "with uncommitted changes" if made["uncommitted_changes"] else "clean"
    return (
        f"`{made['command']}` on {made['cores']} cores of an {made['cpu']}, {made['date']}, Python "
        f"{made['python']}, {libraries}commit {made['commit'][:7]} ({state}), load average "
        f"{made['load_average'][0]:.1f}; `{path.relative_to(ROOT).as_posix()}`."
    )


def write_between(page: Path, text: str, name: str = "figures") -> None:
    """Replace what lies between <!-- NAME:begin --> and <!-- NAME:end --> of a page."""
    first, last = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, begin, rest = page.read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise SystemExit(f"{page} has no {first} ... {last}")
    page.write_text(f"{before}{first}\n\n{text}\n{last}{after}", encoding="utf-8")
    print("wrote", page)


def line(cells: list[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"


def head(*names: str) -> list[str]:
    """The first two lines of a table."""
    return [line(list(names)), line(["---"] * len(names))]


def compact(results: dict[str, Any]) -> str:
    """JSON with six digits, on one line."""
    short = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.6g}"))
    return json.dumps(short, separators=(",", ":")) + "\n"
