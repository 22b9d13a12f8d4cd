"""Copy finished numbers of operators beside their limits into docs/operator_limits.md.

    python tools/publish_operator_limits.py [runs/operator_limits-cpu]

Writes docs/infinite_width/operator_limits.{json,png} and replaces the tables of the page, each
between its markers (errors, bias, gaps).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pages import ROOT, compact, head, line, write_between

PAGE = ROOT / "docs" / "operator_limits.md"
NAME = "operator_limits"
KERNELS, READOUTS = ("nngp", "ntk"), ("mean", "last")


def percent(value: float, digits: int) -> str:
    return f"{100 * value:.{digits}f}%"


def worse(found: dict[str, Any], *keys: str) -> float:
    """The larger number of both readouts."""
    values = []
    for readout in READOUTS:
        value = found[readout]
        for key in keys:
            value = value[key]
        values.append(value)
    return max(values)


def errors(results: dict[str, Any]) -> list[str]:
    """A line for each operator and depth: errors of the widest, noise, slopes."""
    lines = head(
        "operator", "depth", "width x samples", "NNGP mean, last (noise)", "slope",
        "NTK mean, last (noise)", "slope",
    )  # fmt: skip
    before = None
    for row in results["operators"]:
        widest = row["errors"]["nngp"]["mean"]["widest"]
        name = "" if row["label"] == before else row["label"]
        before = row["label"]
        cells = [name, str(row["depth"]), f"{widest['width']} x {widest['samples']}"]
        for kernel in KERNELS:
            found = row["errors"][kernel]
            both = ", ".join(percent(found[r]["widest"]["error"], 2) for r in READOUTS)
            slope = found["mean"]["slope"]
            cells.append(f"{both} ({percent(worse(found, 'widest', 'noise'), 2)})")
            cells.append(f"{slope['value']:.2f} ± {slope['error']:.2f}".replace("-", "−"))
        lines.append(line(cells))
    return lines


def judged(results: dict[str, Any]) -> list[str]:
    """How many errors are below the bar, and the range of slopes."""
    rows, missed = results["operators"], results["missed"]
    total = len(rows) * len(KERNELS) * len(READOUTS)
    below = {which: total - len(each) for which, each in missed.items()}
    slopes = [row["errors"][k][r]["slope"] for row in rows for k in KERNELS for r in READOUTS]
    near = sum(abs(s["value"] + 0.5) < 2 * s["error"] for s in slopes)
    low, high = (f(s["value"] for s in slopes) for f in (min, max))
    sentences = [
        f"Below {percent(results['bar'], 0)} are {below['widest']} of {total} errors",
        f"of all samples of the widest networks; {below['smallest']} of the width whose error",
        f"is smallest; {below['extrapolated']} of the two widest continued to infinite width",
        f"(below). Of {total} slopes (both readouts) {near} are within 2 standard errors of -1/2;",
        f"they lie between {low:.2f} and {high:.2f}.",
    ]
    text = " ".join(sentences)
    return [text.replace(" -", " −")]


def bias(results: dict[str, Any]) -> list[str]:
    """All samples of every width, at the largest depth."""
    depth = max(row["depth"] for row in results["operators"])
    deep = [row for row in results["operators"] if row["depth"] == depth]
    found = {
        (row["label"], kernel): {
            each["width"]: f"{percent(each['error'], 1)} ({percent(each['noise'], 1)})"
            for each in row["errors"][kernel]["mean"]["rows"]
        }
        for row in deep
        for kernel in KERNELS
    }
    widths = sorted({width for cells in found.values() for width in cells})
    lines = head("operator", *(f"{k.upper()}, width {w}" for k in KERNELS for w in widths))
    for row in deep:
        cells = (found[row["label"], k].get(w, "") for k in KERNELS for w in widths)
        lines.append(line([row["label"], *cells]))
    return lines


def gaps(results: dict[str, Any]) -> list[str]:
    """What taking channels for mixed costs."""
    off = "off: approximate, exact (noise)"
    lines = head("activation", "filter", "depth", "NNGP gap", off, "NTK gap", off)
    for row in results["gaps"]:
        cells = [*row["label"].split(", "), str(row["depth"])]
        for kernel in KERNELS:
            gap, error, rough, exact, noise = (
                percent(worse(row["errors"][kernel], key), 1)
                for key in ("gap", "gap_error", "approximate", "exact", "noise")
            )
            cells += [f"{gap} ± {error}", f"{rough}, {exact} ({noise})"]
        lines.append(line(cells))
    return lines


def made(results: dict[str, Any]) -> list[str]:
    """How it was run."""
    e = results["environment"]
    seconds = sum(row["seconds"] for part in ("operators", "gaps") for row in results[part])
    return [
        f"`{e['command']}`, {seconds / 3600:.1f} hours of pieces on {e['cpus']} shared CPU cores "
        f"(interrupted and resumed), Python {e['python']}, JAX {e['packages']['jax']}, commit "
        f"{str(e['commit'])[:9]}. GPU: not measured. All numbers: "
        f"[{NAME}.json](infinite_width/{NAME}.json)."
    ]


PARTS = {"errors": errors, "judged": judged, "bias": bias, "gaps": gaps, "made": made}


def main(argv: list[str]) -> None:
    """Rewrite the tables and copy picture and numbers."""
    folder = Path(argv[0]) if argv else ROOT / "runs" / "operator_limits-cpu"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    target = PAGE.parent / "infinite_width"
    for name, write in PARTS.items():
        write_between(PAGE, "\n".join(write(results)) + "\n", name)
    (target / f"{NAME}.json").write_text(compact(results), encoding="utf-8")
    shutil.copyfile(folder / f"{NAME}.png", target / f"{NAME}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
