"""The notebooks: a percent script, written by hand, and the .ipynb made from it, without outputs.

    python tools/notebooks.py sync     write every .ipynb from its .py
    python tools/notebooks.py check    say which .ipynb are not what sync would write
    python tools/notebooks.py run      execute every .py in a kernel of its own; drop the result

FARWIDE_TOY=1 in the environment makes the notebooks quick.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def scripts(folder: Path = FOLDER) -> list[Path]:
    """The percent scripts, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def notebook(script: Path) -> nbformat.NotebookNode:
    """The notebook of one percent script: no outputs, the same cell ids every time."""
    made = jupytext.read(script, fmt="py:percent")
    made.metadata = nbformat.from_dict(
        {
            "kernelspec": KERNEL,
            "language_info": {"name": "python"},
            "jupytext": {"formats": "ipynb,py:percent"},
        }
    )
    made.nbformat, made.nbformat_minor = 4, 5
    for i, cell in enumerate(made.cells):
        cell.id = f"cell-{i:02d}"
        cell.metadata = nbformat.from_dict({})
    nbformat.validate(made)
    return made


def text(script: Path) -> str:
    """The bytes that belong in the .ipynb beside `script`."""
    return nbformat.writes(notebook(script)) + "\n"


def stale(folder: Path = FOLDER) -> list[str]:
    """One sentence for each .ipynb that is missing, out of step with its .py, or without one."""
    found = []
    for script in scripts(folder):
        pair = script.with_suffix(".ipynb")
        if not pair.exists():
            found.append(f"{pair.name} is missing")
        elif pair.read_text(encoding="utf-8") != text(script):
            found.append(f"{pair.name} is not what {script.name} makes")
    orphans = {p.stem for p in folder.glob("*.ipynb")} - {p.stem for p in scripts(folder)}
    return found + [f"{stem}.ipynb has no {stem}.py" for stem in sorted(orphans)]


def run(script: Path) -> None:
    """Executes one notebook in its folder, a line of progress a cell."""
    import nbclient

    made = notebook(script)
    cells = sum(cell.cell_type == "code" for cell in made.cells)
    began, seen = time.perf_counter(), 0

    def before(cell: nbformat.NotebookNode, cell_index: int) -> None:
        nonlocal seen
        seen += 1
        first = cell.source.strip().splitlines()[0] if cell.source.strip() else ""
        print(f"  {seen:2d}/{cells} {time.perf_counter() - began:6.1f} s  {first[:70]}", flush=True)

    print(script.name, flush=True)
    nbclient.NotebookClient(
        made,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # else a warning a notebook about local sockets
        resources={"metadata": {"path": str(script.parent)}},
        on_cell_execute=before,
    ).execute()
    print(f"  done  {time.perf_counter() - began:6.1f} s", flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["sync", "check", "run"])
    action = parser.parse_args(argv).action
    if not scripts():
        print(f"no notebooks in {FOLDER}", file=sys.stderr)
        return 1
    if action == "sync":
        for script in scripts():
            script.with_suffix(".ipynb").write_text(text(script), encoding="utf-8")
    elif action == "check":
        for sentence in (found := stale()):
            print(f"{sentence}; write it with: python tools/notebooks.py sync", file=sys.stderr)
        return bool(found)
    else:
        for script in scripts():
            run(script)
    return 0


if __name__ == "__main__":
    sys.exit(main())
