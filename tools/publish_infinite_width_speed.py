"""Write the measured tables of docs/infinite_width.md from the benchmarks' result files.

    python tools/publish_infinite_width_speed.py [RESULTS_FOLDER]

Everything between `<!-- figures:begin -->` and `<!-- figures:end -->` is replaced, so no number in
that part of the page is typed by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pages import ROOT, provenance, write_between

PAGE = ROOT / "docs" / "infinite_width.md"
FILES = ("infinite_width", "infinite_width_jax012")
CHOICE = "empirical_ntk"
LABELS = {
    "fully_connected": "fully connected, 4 hidden ReLU, 2000 x 2000 examples",
    "myrtle": "pooled Myrtle-5, 32 x 32 images of 16x16x3",
    "strided": "three convolutions of stride 2, Flatten, 64 x 64 images of 32x32x3",
    "empirical_structured": "empirical NTK, structured, 3 x 512, 10 outputs, 128 x 128",
    "empirical_jacobian": "the same, Jacobian contraction",
    "empirical_ntk": "the same, vector products",
    "ensemble_at_infinity": "ensemble prediction, 1000 training and 200 test examples, t = inf",
    "ensemble_at_100": "the same, t = 100",
}
VARIANTS = {"_same": ", x1 is x2", "_traced": ", traced", "_full": ", all outputs"}


def label(name: str) -> str:
    """What a workload is, for a reader."""
    for suffix, text in VARIANTS.items():
        if name.endswith(suffix):
            return LABELS[name.removesuffix(suffix)] + text
    return LABELS[name]


def ms(value: float) -> str:
    """Milliseconds in three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def beside_the_peer(result: dict[str, Any]) -> list[str]:
    """Medians, ratios and compile times, a line a workload."""
    lines = [
        "| workload | ours, ms | peer, ms | ratio | bar | compile: ours, s | peer, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in result["workloads"].items():
        bar = "" if row["bar"] is None else f"{row['bar']:g}"
        missed = ", missed" if row["bar"] is not None and row["ratio"] < row["bar"] else ""
        lines.append(
            f"| {label(name)} | {ms(row['ours']['median_ms'])} | {ms(row['peer']['median_ms'])} | "
            f"{row['ratio']:.2f} | {bar}{missed} | {row['ours']['compile_s']:.1f} | "
            f"{row['peer']['compile_s']:.1f} |"
        )
    return lines


def choices(result: dict[str, Any]) -> list[str]:
    """What AUTO chose for each network, and what that lost."""
    names = list(next(iter(result["networks"].values()))["median_ms"])
    shown = [name.lower().replace("_", " ") for name in names]
    lines = [
        "| network | " + " | ".join(f"{name}, ms" for name in shown) + " | AUTO's choice | loss |",
        "| --- " * (3 + len(names)) + "|",
    ]
    for network, row in result["networks"].items():
        times = " | ".join(ms(row["median_ms"][name]) for name in names)
        chosen = row["chosen"].lower().replace("_", " ")
        lines.append(f"| {network} | {times} | {chosen} | {row['loss']:.2f} |")
    return lines


def page(results: Path) -> str:
    """The part of the page between the markers."""
    parts = []
    for name in FILES:
        path = results / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text(encoding="utf-8"))
            peer = result["versions"]["peer"]
            parts += [
                f"### JAX {result['provenance']['versions']['jax']}",
                "",
                provenance(path, result)
                + f" Peer: neural_tangents {peer['neural_tangents']}, JAX {peer['jax']}.",
                "",
                *beside_the_peer(result),
                "",
            ]
    path = results / f"{CHOICE}.json"
    if path.is_file():
        result = json.loads(path.read_text(encoding="utf-8"))
        parts += [
            "### The automatic choice of NTK implementation",
            "",
            provenance(path, result) + " Loss: time of the chosen over that of the fastest.",
            "",
            *choices(result),
            "",
        ]
    return "\n".join(parts)


def main(argv: list[str]) -> None:
    """Rewrite the page."""
    results = Path(argv[0]) if argv else ROOT / "benchmarks" / "results" / "cpu-2"
    write_between(PAGE, page(results.resolve()))


if __name__ == "__main__":
    main(sys.argv[1:])
