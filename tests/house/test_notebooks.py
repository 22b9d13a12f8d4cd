"""Notebooks come in pairs that say the same; tools/notebooks.py makes one from the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="the extra notebooks is not installed")

from tools import notebooks  # after the skip, since it needs jupytext

SCRIPTS = notebooks.scripts()


def test_there_are_notebooks():
    assert SCRIPTS


def test_pairs_are_in_sync():
    assert notebooks.stale() == [], "write them with: python tools/notebooks.py sync"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook_opens_with_its_title_has_no_outputs_and_can_be_quick(script):
    made = notebooks.notebook(script)
    assert made.cells[0].cell_type == "markdown"
    assert made.cells[0].source.startswith("# ")
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert any("FARWIDE_TOY" in cell.source for cell in code)


def test_a_change_to_one_of_a_pair_is_noticed(tmp_path: Path):
    for path in (SCRIPTS[0], SCRIPTS[0].with_suffix(".ipynb")):
        shutil.copy(path, tmp_path)
    assert notebooks.stale(tmp_path) == []
    script = tmp_path / SCRIPTS[0].name
    script.write_text(script.read_text(encoding="utf-8") + "\n# %%\nprint(1)\n", encoding="utf-8")
    assert notebooks.stale(tmp_path) == [f"{script.stem}.ipynb is not what {script.name} makes"]
    script.unlink()
    assert notebooks.stale(tmp_path) == [f"{script.stem}.ipynb has no {script.name}"]


def test_running_a_notebook_reports_the_failing_cell(tmp_path: Path):
    pytest.importorskip("nbclient")
    from nbclient.exceptions import CellExecutionError

    script = tmp_path / "99_broken.py"
    script.write_text("# %% [markdown]\n# # Broken\n\n# %%\nassert 2 + 2 == 5\n", encoding="utf-8")
    with pytest.raises(CellExecutionError, match=r"2 \+ 2 == 5"):
        notebooks.run(script)
