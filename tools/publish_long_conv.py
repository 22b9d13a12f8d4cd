"""Write the measured tables of docs/long_conv.md from the benchmark's result files.

    python tools/publish_long_conv.py [RESULTS_FOLDER]

Everything between `<!-- figures:begin -->` and `<!-- figures:end -->` is replaced, so no number in
that part of the page is typed by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pages import ROOT, provenance, write_between

PAGE = ROOT / "docs" / "long_conv.md"
FILES = (
    ("long_conv_1t", "One thread, heap fixed for everybody"),
    ("long_conv_1t_default_heap", "One thread, the system's heap"),
    ("long_conv_2t_2d", "Two threads, heap fixed; ours on one host device and sharded over two"),
    (
        "long_conv_2t_2d_default_heap",
        "Two threads, the system's heap; ours on one and on two devices",
    ),
)
PEERS = {"jnp rfft 2N": "jnp", "scipy": "SciPy", "torch": "PyTorch"}


def table(result: dict[str, Any]) -> list[str]:
    """The rows of one result file in Markdown."""
    shared = result["host_devices"] > 1
    names = ["ours", *(["ours sharded"] if shared else []), *PEERS]
    titles = ["ours", *(["ours, 2 devices"] if shared else []), *PEERS.values()]
    lines = [
        "| length (batch, channels) | pass | " + " | ".join(titles) + " |",
        "| --- " * (len(titles) + 2) + "|",
    ]
    for name, entry in result["cases"].items():
        case = entry["case"]
        for label in ("forward", "forward+backward"):
            cells = [cell(entry[label].get(who), who) for who in names]
            shape = f"{name} ({case['batch']}, {case['channels']})"
            lines.append(f"| {shape} | {label} | " + " | ".join(cells) + " |")
    return lines


def cell(row: dict[str, float] | None, who: str) -> str:
    """A median in ms, and for others than ours the ratio."""
    if row is None:
        return "-"
    text = f"{row['median_ms']:.3g}"
    return text if who == "ours" else f"{text} ({row['ratio_to_ours']:.2f})"


def floors(result: dict[str, Any]) -> list[str]:
    """GFLOP/s, the part of the time that memory traffic takes, and temporary memory, by case."""
    lines = [
        "| length | GFLOP/s forward | with backward | memory floor forward | with backward "
        "| temporary MB, ours | jnp |",
        "| --- " * 7 + "|",
    ]
    for name, entry in result["cases"].items():
        both = [entry[f"{label} floor"] for label in ("forward", "forward+backward")]
        memory = [entry["temporary_bytes"][who] / 2**20 for who in ("ours", "jnp rfft 2N")]
        cells = [f"{floor['gflop_per_s']:.1f}" for floor in both]
        cells += [f"{floor['fraction']:.0%}" for floor in both]
        cells += [f"{m:.1f}" for m in memory]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def page(folder: Path) -> str:
    """The part of the page between the markers."""
    parts = []
    for name, title in FILES:
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        parts += [f"### {title}", "", provenance(path, result), "", *table(result), ""]
        if name == FILES[0][0]:
            parts += ["Of the same run:", "", *floors(result), ""]
    return "\n".join(parts)


def main(argv: list[str]) -> None:
    """Rewrite the page."""
    folder = Path(argv[0]).resolve() if argv else ROOT / "benchmarks" / "results" / "cpu-2"
    write_between(PAGE, page(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
