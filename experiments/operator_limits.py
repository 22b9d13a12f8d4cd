"""Do finite networks of our own operators become the limits that theory.stax gives for them?

Question: Long convolutions (taps independent, correlated, in both directions, in 2-D, behind a
gate) and neighborhood attention (1-D, 2-D, root scaling) have infinite-width limits. Do averages of
the NNGP and NTK over finite networks, which run the operators of kernels_pallas, approach them as
(samples x width)^-1/2, to below 1%, at depths 1 to 3? And how far off is a limit that takes
channels for mixed where a nonlinearity follows the convolution at once?

Command: `python -m experiments.operator_limits --preset demo`
Time: demo 4 minutes on a CPU, cpu 4.8 hours; what is finished is skipped by a second call.
Expected result: runs/operator_limits-demo with results.json and operator_limits.png. Errors fall
with slopes near -1/2; in depth 1 those of the widest networks are 0.5% to 2%, in depth 3 up to 6%
(NTK of the gate: bias of width 256). The cpu preset: docs/operator_limits.md.

`experiments/limits/networks.py` has the networks, `experiments/limits/errors.py` the errors.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from experiments.limits import errors
from experiments.limits.networks import (
    CASES,
    GAPS,
    KERNELS,
    OPERATORS,
    READOUTS,
    Draws,
    draw,
    limit,
)
from farwide.endings import plain_endings
from farwide.plotting import Measured, TheoryPanel, save_png, theory_curves
from farwide.runlog import LogError, environment_record, lock_directory, write_json
from farwide.runlog.files import claim, read_json

BAR = 0.01
JUDGED = {
    "widest": "all samples of the widest",
    "smallest": "all samples of whichever width is nearest",
    "extrapolated": "the two widest continued to infinite width",
}


@dataclass(frozen=True)
class Size:
    """How much is drawn.

    Attributes:
      operators, gaps: names of cases.
      depths: blocks.
      widths: of networks.
      budget: for each depth, networks x width; there are at most `most` networks.
      root_widths, root_budget: the same under root scaling, whose weights grow as width cubed.
      most: networks of one width.
      examples: inputs.
      draws: of limits that are averages over draws.
      gap_width, gap_networks: of the finite networks beside the gaps.
    """

    operators: tuple[str, ...]
    gaps: tuple[str, ...]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    budget: tuple[int, ...]
    root_widths: tuple[int, ...]
    root_budget: tuple[int, ...]
    most: int
    examples: int
    draws: Draws
    gap_width: int
    gap_networks: int

    def sizes(self, name: str, depth: int) -> dict[int, int]:
        """width -> networks of an operator."""
        root = name.startswith("root")
        at = self.depths.index(depth)
        budget = (self.root_budget if root else self.budget)[at]
        widths = self.root_widths if root else self.widths
        return {w: min(self.most, max(budget // w, errors.BLOCKS)) for w in widths}


PRESETS = {
    "smoke": Size(
        ("taps",), ("gap-relu-2-taps",), (1,), (8, 32), (1024,), (8,), (64,), 32, 2, Draws(64, 2),
        16, 32,
    ),
    "demo": Size(
        ("taps", "gated", "attention"), ("gap-erf-2-taps",), (1, 3), (64, 256), (2**16, 2**16),
        (64,), (2**13, 2**13), 1024, 4, Draws(1024, 3), 256, 256,
    ),
    "cpu": Size(
        tuple(OPERATORS), tuple(GAPS), (1, 2, 3), (64, 256, 1024, 2048), (2**20, 2**20, 2**20),
        (64, 256, 512), (2**20, 2**20, 2**20), 1024, 4, Draws(4096, 4), 512, 256,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """Compare finite networks of our own operators with their limits."""

    preset: Literal["smoke", "demo", "cpu"] = "demo"
    name: str | None = None
    """Folder below --out; operator_limits-PRESET where not given."""
    out: Path = Path("runs")
    """Folder that holds the runs."""
    seed: int = 0
    """Of the networks' weights."""


class Pieces:
    """Parts of the job, each made once and kept in a file."""

    def __init__(self, folder: Path, size: Size, seed: int, console: Console) -> None:
        self.folder, self.size, self.seed, self.console = folder, size, seed, console

    def made(self, name: str, make: Any) -> dict[str, Any]:
        path = self.folder / f"{name}.json"
        if not path.is_file():
            self.console.print(name)
            start = time.perf_counter()
            found = make()
            write_json(path, found | {"seconds": time.perf_counter() - start})
        return read_json(path)

    def limit(self, name: str, depth: int, mixed: bool = False) -> dict[str, Any]:
        """A case's kernels."""
        kind = "mixed" if mixed else "limit"
        size = self.size
        return self.made(
            f"{name}-depth-{depth}-{kind}",
            lambda: limit(CASES[name], depth, size.examples, size.draws, mixed=mixed),
        )

    def networks(
        self, name: str, depth: int, width: int, count: int, ideal: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What `condense` keeps of the networks of one width, beside their limit if it is given."""

        def make() -> dict[str, Any]:
            key = jax.random.key(self.seed, impl="rbg")
            for part in (list(CASES).index(name), depth, width):
                key = jax.random.fold_in(key, part)
            drawn = draw(CASES[name], depth, width, self.size.examples, count, key)
            kept: dict[str, Any] = {"samples": count}
            for kernel, values in zip(KERNELS, drawn, strict=True):
                limits = np.array(ideal[kernel]["value"]) if ideal else [None] * len(READOUTS)
                kept[kernel] = [errors.condense(values[:, i], k) for i, k in enumerate(limits)]
            return kept

        return self.made(f"{name}-depth-{depth}-width-{width}", make)

    def operator(self, name: str, depth: int) -> dict[str, Any]:
        """Errors of an operator's networks."""
        ideal = self.limit(name, depth)
        sizes = self.size.sizes(name, depth)
        pieces = {w: self.networks(name, depth, w, n, ideal) for w, n in sizes.items()}
        return {
            "case": name,
            "label": CASES[name].label,
            "depth": depth,
            "limit_draws": {key: ideal[key] for key in ("samples", "seeds")},
            "seconds": ideal["seconds"] + sum(piece["seconds"] for piece in pieces.values()),
            "errors": errors.summarise(ideal, pieces),
        }

    def gap(self, name: str, depth: int) -> dict[str, Any]:
        """The approximation that channels are mixed, the exact limit, and finite networks."""
        exact, rough = self.limit(name, depth), self.limit(name, depth, mixed=True)
        width, count = self.size.gap_width, self.size.gap_networks
        piece = self.networks(name, depth, width, count)
        return {
            "case": name,
            "label": CASES[name].label,
            "depth": depth,
            "width": width,
            "samples": count,
            "limit_draws": {key: exact[key] for key in ("samples", "seeds")},
            "seconds": exact["seconds"] + rough["seconds"] + piece["seconds"],
            "errors": errors.between(rough, exact, piece),
        }


def run(arguments: Arguments, console: Console) -> Path:
    """The whole job; returns its folder."""
    folder = arguments.out / (arguments.name or f"operator_limits-{arguments.preset}")
    size = PRESETS[arguments.preset]
    with lock_directory(folder):
        description = {
            "schema": 1,
            "question": (__doc__ or "").splitlines()[0],
            "preset": arguments.preset,
            "seed": arguments.seed,
            "size": asdict(size),
        }
        claim(folder / "job.json", description, "another job", "give this one another --name")
        pieces = Pieces(folder, size, arguments.seed, console)
        found = [pieces.operator(*both) for both in product(size.operators, size.depths)]
        gaps = [pieces.gap(*both) for both in product(size.gaps, size.depths)]
        missed = {which: errors.misses(found, which, BAR) for which in JUDGED}
        results = description | {
            "environment": environment_record(),
            "bar": BAR,
            "missed": missed,
            "operators": found,
            "gaps": gaps,
        }
        write_json(folder / "results.json", results)
        save_png(figure(size, found), folder / "operator_limits.png")
    console.print(table(found))
    console.print(gap_table(gaps))
    total = len(found) * len(KERNELS) * len(READOUTS)
    for which, rows in missed.items():
        below = f"{total - len(rows)} of {total} errors are below {100 * BAR:g}%"
        console.print(f"{below} ({JUDGED[which]})")
    console.print(f"folder: {folder}", soft_wrap=True)
    return folder


def figure(size: Size, found: list[dict[str, Any]]) -> Any:
    """Errors of the deepest networks against samples x width.

    One sample of the narrower widths, groups of the widest, and all of the widest; operators stand
    side by side.
    """
    deepest = [row for row in found if row["depth"] == max(size.depths)]
    panels = {}
    for name in KERNELS:
        points = []
        for group, row in enumerate(deepest):
            *narrow, wide = row["errors"][name]["mean"]["rows"]
            shown = [(each["width"], each["curve"][0]) for each in narrow]
            shown += [(wide["width"], each) for each in wide["curve"]]
            whole = {"samples": wide["samples"], "value": wide["error"], "error": wide["noise"]}
            shown.append((wide["width"], whole))
            aside = 1.05 ** (group - (len(deepest) - 1) / 2)
            x = [width * each["samples"] * aside for width, each in shown]
            y = [each["value"] for _, each in shown]
            # a bar to zero or below cannot be drawn
            bars = [min(each["error"], 0.7 * each["value"]) for _, each in shown]
            points.append(Measured(row["label"], x, y, bars, group))
        x = np.array([min(p.x[0] for p in points), max(p.x[-1] for p in points)])
        guide = 0.75 * min(p.y[0] * (p.x[0] / x[0]) ** 0.5 for p in points) * (x / x[0]) ** -0.5
        guides = [("slope −1/2", x.tolist(), guide.tolist())]
        band = (f"below {100 * BAR:g}%", 1e-9, BAR)
        panels[name.upper()] = TheoryPanel(
            [], points, "samples × width", "relative error, Frobenius norm",
            guides=guides, bands=[band], text=lambda v: f"{100 * v:g}%",
        )  # fmt: skip
    title = f"Finite networks approach their limits (depth {max(size.depths)}, mean readout)"
    return theory_curves(panels, title, legends="one")


def percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f}%"


def table(found: list[dict[str, Any]]) -> Table:
    """A line for each operator and depth; both readouts, the mean first."""
    title = "Relative error of the widest, mean and last readout ± noise; slopes (mean readout)"
    shown = Table(title=title, box=None, pad_edge=False)
    for column in ("operator", "depth", "NNGP", "slope", "NTK", "slope", "width x samples"):
        shown.add_column(column, justify="left" if column == "operator" else "right")
    for row in found:
        cells = []
        for name in KERNELS:
            both = [row["errors"][name][readout] for readout in READOUTS]
            off = ", ".join(percent(each["widest"]["error"]) for each in both)
            cells.append(f"{off} ± {percent(errors.worst(row['errors'][name], 'widest', 'noise'))}")
            fitted = both[0]["slope"]
            text = f"{fitted['value']:.2f} ± {fitted['error']:.2f}" if fitted else "-"
            cells.append(text)
        last = row["errors"]["nngp"]["mean"]["rows"][-1]
        cells.append(f"{last['width']} x {last['samples']}")
        shown.add_row(row["label"], str(row["depth"]), *cells)
    return shown


def gap_table(gaps: list[dict[str, Any]]) -> Table:
    """A line for each activation, filter and depth; the worse readout."""
    title = "Channels taken for mixed: gap to the exact limit; finite networks off each of the two"
    shown = Table(title=title, box=None, pad_edge=False)
    columns = ("activation, filter", "depth", "NNGP gap", "off approximate, exact")
    for column in (*columns, "NTK gap", "off approximate, exact"):
        shown.add_column(column, justify="left" if column == columns[0] else "right")
    for row in gaps:
        cells = []
        for name in KERNELS:
            one = row["errors"][name]
            gap, error, rough, fine, noise = (
                errors.worst(one, key)
                for key in ("gap", "gap_error", "approximate", "exact", "noise")
            )
            cells.append(f"{percent(gap, 1)} ± {percent(error, 1)}")
            off = f"{percent(rough, 1)}, {percent(fine, 1)} ± {percent(noise, 1)}"
            cells.append(off)
        shown.add_row(row["label"], str(row["depth"]), *cells)
    return shown


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    with plain_endings(LogError, OSError):
        run(arguments, Console())


if __name__ == "__main__":
    main()
