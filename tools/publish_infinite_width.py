"""Copy a finished experiment's pictures and table into docs/infinite_width_results.md.

    python tools/publish_infinite_width.py [runs/infinite_width-demo] [RESULTS_FOLDER]

Writes docs/infinite_width/*.png and replaces what stands between `<!-- figures:begin -->` and
`<!-- figures:end -->` of the page. RESULTS_FOLDER holds pooled_myrtle.json, as the benchmark wrote
it; benchmarks/results/cpu-2 where not given.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pages import ROOT, provenance, write_between

PAGE = ROOT / "docs" / "infinite_width_results.md"
PICTURES = {
    "reliability.png": "Accuracy against confidence for each data set and network",
    "learning_curves.png": "Test error against the number of training examples",
}


def scores(found: dict[str, Any]) -> list[str]:
    """The table: one line for each data set, network and kernel."""
    lines = [
        "| data | network | train | test | kernel | accuracy % | NLL | Brier | ECE % | ridge |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in found["cells"]:
        cell = result["cell"]
        head = f"| {cell['data']} | {cell['network']} | {cell['train']} | {cell['test']} "
        for name, each in result["kernels"].items():
            s = each["scores"]
            lines.append(
                f"{head}| {name.upper()} | {100 * s['accuracy']:.1f} ± "
                f"{100 * s['accuracy_error']:.1f} | {s['nll']:.3f} | {s['brier']:.3f} | "
                f"{100 * s['ece']:.1f} | {each['chosen']['ridge']:g} |"
            )
    return lines


def times(found: dict[str, Any]) -> list[str]:
    """Time of a kernel entry, both kernels at once."""
    lines = [
        "| data | network | train x train, µs an entry | test x train, µs an entry | compile, s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for result in found["cells"]:
        cell, t = result["cell"], result["times"]
        lines.append(
            f"| {cell['data']} | {cell['network']} | {t['train_us_an_entry']:.3g} | "
            f"{t['cross_us_an_entry']:.3g} | {t['compile_seconds']:.1f} |"
        )
    return lines


def made(found: dict[str, Any]) -> str:
    """Where the numbers come from."""
    e = found["environment"]
    return (
        f"`{e['command']}` on {e['cpus']} cores, {e['started'][:10]}, Python {e['python']}, JAX "
        f"{e['packages']['jax']}, commit {str(e['commit'])[:9]}."
    )


def memory(path: Path) -> list[str]:
    """What the benchmark of the pooled network found."""
    result = json.loads(path.read_text(encoding="utf-8"))
    size, runs = result["shape"][0], result["runs"]
    lines = [
        "### Memory: pooled Myrtle-5",
        "",
        provenance(path, result),
        "",
        f"{result['images']} x {result['images']} images of {size}x{size}x3, NNGP and NTK; all "
        f"pairs of places of all pairs of images would take "
        f"{result['all_pairs_of_places_bytes'] / 1e9:.0f} GB. Peak resident memory "
        f"{result['peak_bytes'] / 1e9:.2f} GB, {result['seconds']:.0f} s in all, "
        f"{result['ms_a_pair']:.1f} ms a pair of images; largest relative error of the entries "
        f"compared with the kernel function {result['largest_error']:.0e}.",
    ]
    if len(runs) > 1:
        total = runs[0]["entries"]
        lines.append(
            f"Killed with kill -9 when {100 * runs[0]['entries_after'] / total:.0f}% was on the "
            f"disk; the second process began with {100 * runs[1]['entries_before'] / total:.0f}%."
        )
    return lines


def page(folder: Path, results: Path) -> str:
    """The part of the page between the markers."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    parts = [made(found), "", *scores(found), ""]
    for name, text in PICTURES.items():
        parts += [f"![{text}](infinite_width/{name})", ""]
    parts += ["### Time of a kernel entry", "", *times(found), ""]
    measured = results / "pooled_myrtle.json"
    if measured.is_file():
        parts += [*memory(measured), ""]
    return "\n".join(parts)


def main(argv: list[str]) -> None:
    """Rewrite the page and copy the pictures."""
    folder = Path(argv[0]) if argv else ROOT / "runs" / "infinite_width-demo"
    results = Path(argv[1]) if len(argv) > 1 else ROOT / "benchmarks" / "results" / "cpu-2"
    target = PAGE.parent / "infinite_width"
    target.mkdir(parents=True, exist_ok=True)
    text = page(folder.resolve(), results.resolve())
    for name in PICTURES:
        shutil.copyfile(folder / name, target / name)
    write_between(PAGE, text)


if __name__ == "__main__":
    main(sys.argv[1:])
