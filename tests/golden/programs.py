"""The programs of usages/, whose text runs on either library: one line that imports it differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "usages"
OURS = "import theory as nt\n"
PEER = "import neural_tangents as nt\n"


def programs() -> dict[str, str]:
    """The text of every program by name, with the import of ours."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))}


def run(text: str, name: str, line: str) -> dict[str, Any]:
    """What a program calls `result`, run with another import line.

    Raises:
      ValueError: the text has not exactly one line that imports our library.
    """
    if text.count(OURS) != 1 or "theory" in text.replace(OURS, ""):
        raise ValueError(f"{name} must import the library once, as {OURS.strip()!r}")
    scope: dict[str, Any] = {"__name__": name}
    exec(compile(text.replace(OURS, line), f"usages/{name}.py", "exec"), scope)
    return scope["result"]
