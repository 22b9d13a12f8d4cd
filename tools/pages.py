"""Shared by the scripts that publish measured figures: provenance, and the markers of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"


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


def write_between(page: Path, text: str) -> None:
    """Replace what lies between the markers of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} has no {BEGIN} ... {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
    print("wrote", page)
