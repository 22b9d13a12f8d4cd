"""Write the measured tables of docs/neighborhood_attention.md from the benchmark's result files.

    python tools/publish_neighborhood_attention.py [RESULTS_FOLDER]

Everything between `<!-- figures:begin -->` and `<!-- figures:end -->` is replaced, so no number in
that part of the page is typed by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pages import ROOT, provenance, write_between

PAGE = ROOT / "docs" / "neighborhood_attention.md"
FILES = (
    ("neighborhood_attention_2t", "Two threads"),
    ("neighborhood_attention_2t_w13", "Two threads, window 13 once more, alone"),
    ("neighborhood_attention_1t", "One thread"),
)
PASSES = ("forward", "forward+backward")
PEERS = ("jax dense", "torch SDPA", "torch flex", "natten flex")


def times(result: dict[str, Any]) -> list[str]:
    """Medians in ms, and for others than ours the ratio."""
    lines = [
        "| case | pass | ours | " + " | ".join(PEERS) + " |",
        "| --- " * (3 + len(PEERS)) + "|",
    ]
    for name, entry in result["cases"].items():
        for label in PASSES:
            cells = [f"{entry[label]['ours']['median_ms']:.3g}"]
            for who in PEERS:
                row = entry[label].get(who)
                cells.append(
                    "-" if row is None else f"{row['median_ms']:.3g} ({row['ratio_to_ours']:.1f})"
                )
            lines.append(f"| {name} | {label} | " + " | ".join(cells) + " |")
    return lines


def targets(result: dict[str, Any]) -> list[str]:
    """Each aim, what was found, and whether it was met."""
    lines = ["| case | what | aim | found |", "| --- | --- | --- | --- |"]
    for name, entry in result["cases"].items():
        for what, row in entry["targets"].items():
            verdict = "" if row["met"] else " (missed)"
            lines.append(f"| {name} | {what} | {row['aim']:g} | {row['found']:.2f}{verdict} |")
    return lines


def memory(result: dict[str, Any]) -> list[str]:
    """Temporary memory of forward and backward as the problem grows."""
    lines = [
        "| neighborhood | tokens | temporary MiB, forward+backward | exponent |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in result["temporaries"].items():
        both = row["forward+backward"]
        tokens = ", ".join(map(str, row["tokens"]))
        held = ", ".join(f"{b / 2**20:.1f}" for b in both["temporary_bytes"])
        lines.append(f"| {name} | {tokens} | {held} | {both['exponent']:.2f} |")
    return lines


def page(folder: Path) -> str:
    """The part of the page between the markers."""
    parts = []
    for name, title in FILES:
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        parts += [f"### {title}", "", provenance(path, result), "", *times(result), ""]
        parts += [*targets(result), ""]
        if name == FILES[0][0]:
            parts += [*memory(result), ""]
    return "\n".join(parts)


def main(argv: list[str]) -> None:
    """Rewrite the page."""
    folder = Path(argv[0]).resolve() if argv else ROOT / "benchmarks" / "results" / "cpu-2"
    write_between(PAGE, page(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
