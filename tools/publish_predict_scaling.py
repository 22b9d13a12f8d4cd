"""Copy finished numbers of predicted scaling laws into docs/predicting_scaling.md.

    python tools/publish_predict_scaling.py [runs/predict_scaling-cpu]

Writes docs/predicting_scaling/results.json and pictures, and replaces the tables of the page, each
between its markers (verdict, pairs, networks, made).
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pages import ROOT, compact, head, line, write_between

PAGE = ROOT / "docs" / "predicting_scaling.md"
TITLES = {"digits": "digits", "fashion-mnist": "Fashion-MNIST", "mnist-1d": "MNIST-1D"}
WORDS = {"mlp": "MLP", "cnn": "CNN", "long_conv": "long convolution", "s4d": "S4D"}
WORDS |= {"neighborhood": "neighborhood attention", "attention": "full attention"}
SHOWN = ("digits-long_conv", "fashion-mnist-cnn", "mnist-1d-long_conv")


def minus(text: str) -> str:
    return text.replace("-", "−")


def half(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} ± {found['high'] - found['value']:.3f}"


def in_order(results: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(data, operator, pair) by data set, then operator; a data set is named once."""
    found = {(pair["data"], pair["operator"]): pair for pair in results["pairs"]}
    for data, title in TITLES.items():
        here = [(word, found[data, o]) for o, word in WORDS.items() if (data, o) in found]
        for i, (word, pair) in enumerate(here):
            yield ("" if i else title), word, pair


def verdict(results: dict[str, Any]) -> list[str]:
    """How often the predicted exponent is inside."""
    lines = head("data", "kernel", "first choice", "every choice", "within both intervals")
    for data, title in [*TITLES.items(), (None, "all")]:
        pairs = [pair for pair in results["pairs"] if data in (None, pair["data"])]
        for kernel in ("ntk", "nngp"):
            first = [pair["splits"][0][kernel]["exponent_inside"] for pair in pairs]
            splits = [split[kernel] for pair in pairs for split in pair["splits"]]
            inside = sum(split["exponent_inside"] for split in splits)
            both = sum(split["exponent_inside_both"] for split in splits)
            name = title if kernel == "ntk" else ""
            count = f"of {len(splits)}"
            lines.append(
                line([name, kernel.upper(), f"{sum(first)} of {len(first)}", f"{inside} {count}",
                      f"{both} {count}"])
            )  # fmt: skip
    return lines


def pairs(results: dict[str, Any]) -> list[str]:
    """Predicted and measured exponents of the NTK."""
    lines = head(
        "data", "operator", "predicted", "measured", "inside", "levels off", "equations off"
    )
    for data, word, pair in in_order(results):
        first, equations = pair["splits"][0]["ntk"], pair["equations"]["ntk"]
        inside = sum(split["ntk"]["exponent_inside"] for split in pair["splits"])
        ratios = [100 * (ratio - 1) for ratio in first["ratio"]]
        drawn = equations["drawn"]["exponent"]
        off = (
            f"{equations['exponent'] - drawn['value']:+.3f} ± {1.96 * drawn['standard_error']:.3f}"
        )
        lines.append(
            line([
                data, word, half(first["predicted"]), half(first["measured"]),
                f"{inside} of {len(pair['splits'])}",
                minus(f"{ratios[0]:+.1f}%, {ratios[-1]:+.1f}%"), minus(off),
            ])
        )  # fmt: skip
    return lines


def distance(row: dict[str, Any]) -> str:
    """How far above the limit of training, at the largest n, with 1.96 standard errors."""
    if row["log_distance"] is None:
        return f"{row['lost']} failed"
    value, error = row["log_distance"][-1], 1.96 * row["log_distance_error"][-1]
    ratio = math.exp(value)
    lost = f" ({row['lost']} failed)" if row["lost"] else ""
    return minus(f"{100 * (ratio - 1):+.0f} ± {100 * ratio * error:.0f}%{lost}")


def networks(results: dict[str, Any]) -> list[str]:
    """Distances of trained networks from the limit of the same training, and exponents."""
    widths = sorted({row["width"] for row in results["pairs"][0]["networks"]})
    names = {"ntk": "NTK", "mup": "muP"}
    lines = head(
        "data", "operator", *(f"{names[p]}, width {w}" for p in names for w in widths),
        "exponent: limit", *(f"{names[p]}, {widths[-1]}" for p in names),
    )  # fmt: skip
    for data, word, pair in in_order(results):
        rows = {(row["parametrisation"], row["width"]): row for row in pair["networks"]}
        cells = [distance(rows[p, w]) for p in names for w in widths]
        exponents = [rows[p, widths[-1]]["exponent"] for p in names]
        cells += [half(pair["limit"]), *(half(each) if each else "-" for each in exponents)]
        lines.append(line([data, word, *cells]))
    return lines


def made(results: dict[str, Any]) -> list[str]:
    """How it was run."""
    e = results["environment"]
    seconds = sum(pair["cpu_seconds"] for pair in results["pairs"])
    command = f"python -m experiments.predict_scaling --preset {results['preset']}"
    return [
        f"`{command}`: {seconds / 3600:.1f} hours of processor time on {e['cpus']} shared CPU "
        f"cores (MNIST-1D in a second process), Python {e['python']}, JAX {e['packages']['jax']}, "
        f"commit {str(e['commit'])[:9]}. GPU: not measured. Numbers: "
        "[results.json](predicting_scaling/results.json)."
    ]


PARTS = {"verdict": verdict, "pairs": pairs, "networks": networks, "made": made}


def main(argv: list[str]) -> None:
    """Rewrite the tables and copy pictures and numbers."""
    folder = Path(argv[0]) if argv else ROOT / "runs" / "predict_scaling-cpu"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    target = PAGE.parent / "predicting_scaling"
    target.mkdir(parents=True, exist_ok=True)
    for name, write in PARTS.items():
        write_between(PAGE, "\n".join(write(results)) + "\n", name)
    (target / "results.json").write_text(compact(results), encoding="utf-8")
    shutil.copyfile(folder / "summary.png", target / "summary.png")
    for pair in SHOWN:
        shutil.copyfile(folder / pair / "prediction.png", target / f"{pair}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
