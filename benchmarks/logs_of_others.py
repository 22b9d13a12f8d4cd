"""Public logs by name, read in place: what `scaling_fit` and `scaling_real_logs` fit.

Question: which columns of which public logs are fitted? (No program of its own.)
Command: `python -m benchmarks.scaling_real_logs --data DIR`
Time: see there.
Expected result: a table a log; a log whose file is not in DIR is left out.

C = 6 N D throughout. gadre_runs.csv (mlfoundations/scaling): one finished run a row, N with the
embeddings as Gadre et al. (2024) count it. gemstones_*.jsonl (mcleish7/gemstone-scaling-laws):
checkpoints of 20 to 22 runs, N = params_active_precise. chinchilla_package_runs.csv
(kyo-takano/chinchilla): one run a row.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from farwide.tables import read_table

GADRE_DATA = {"c4_original": "C4", "rpj": "RedPajama", "rw_original": "RefinedWeb"}
GADRE_LOSSES = {
    "loss_c4_val": "C4",
    "loss_paloma_dolma_100_programing_languages": "code",
}
GEMSTONES = {
    "gemstones_cooldown": "Gemstones, cooled down",
    "gemstones_hot": "Gemstones, hot, to 100 B",
    "gemstones_hot_100b": "Gemstones, hot, to 350 B",
}


class Log(NamedTuple):
    """One log."""

    name: str
    title: str
    source: str  # "chinchilla", "gadre" or "gemstones"
    data: dict[str, np.ndarray]  # N, D, C, loss; where rows share runs, run; width, depth

    @property
    def runs(self) -> int:
        """Different runs."""
        return len(np.unique(self.data["run"])) if "run" in self.data else len(self.data["loss"])


def _read(path: Path, columns: dict[str, str], extra: tuple[str, ...] = (), where=()) -> dict:
    table = read_table(
        path, columns=columns, required=("N", "D", *extra, "loss"), where=where, rows="all"
    )
    out = {name: table.columns[name] for name in ("N", "D", *extra, "loss")}
    run = table.columns.get("run")
    if run is not None and len(np.unique(run)) < len(run):
        out["run"] = run
    out["C"] = 6.0 * out["N"] * out["D"]
    return out


def read(folder: Path, losses: tuple[str, ...] = tuple(GADRE_LOSSES)) -> list[Log]:
    """The logs of which the folder has the file."""
    out = []
    path = folder / "chinchilla_package_runs.csv"
    if path.is_file():
        out.append(Log("chinchilla", "Chinchilla's runs, read off its figure", "chinchilla",
                       _read(path, {})))  # fmt: skip
    path = folder / "gadre_runs.csv"
    if path.is_file():
        for dataset, trained in GADRE_DATA.items():
            for loss in losses:
                columns = {"N": "params", "D": "tokens", "loss": loss, "run": "name"}
                data = _read(path, columns, where=(f"dataset={dataset}",))
                name = f"gadre/{dataset}/{loss.removeprefix('loss_')}"
                title = f"Gadre, {trained}, loss on {GADRE_LOSSES[loss]}"
                out.append(Log(name, title, "gadre", data))
    for stem, title in GEMSTONES.items():
        path = folder / f"{stem}.jsonl"
        if path.is_file():
            columns = {"N": "params_active_precise", "D": "tokens", "loss": "final_loss",
                       "run": "run_name"}  # fmt: skip
            out.append(Log(stem, title, "gemstones", _read(path, columns, ("width", "depth"))))
    return out
