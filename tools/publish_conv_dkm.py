"""Copy a finished convolutional sweep's picture and table into docs/deep_kernel_machines.md.

    python tools/publish_conv_dkm.py [runs/conv_dkm-demo]

Writes docs/deep_kernel_machines/conv_dkm-PRESET.png and .json, and replaces what stands between
`<!-- conv_dkm-PRESET:begin -->` and `<!-- conv_dkm-PRESET:end -->` of the page.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pages import ROOT, write_between

PAGE = ROOT / "docs" / "deep_kernel_machines.md"


def table(found: dict[str, Any]) -> list[str]:
    """One line for each price, then the exact NNGPs."""
    lines = [
        "| nu | accuracy, % | log likelihood, nats an image | seconds a fit |",
        "| --- | --- | --- | --- |",
    ]
    for row in found["rows"]:
        name = "∞ (NNGP)" if row["nu"] == "inf" else row["nu"]
        lines.append(
            f"| {name} | {100 * row['accuracy']:.2f} ± {100 * row['accuracy_error']:.2f} | "
            f"{row['log_likelihood']:.3f} ± {row['log_likelihood_error']:.3f} | "
            f"{row['seconds']:.0f} |"
        )
    for each in found["exact"]:
        s = each["scores"]
        lines.append(
            f"| exact NNGP, {each['readout']}, {each['train']} images | "
            f"{100 * s['accuracy']:.2f} ± {100 * s['accuracy_error']:.2f} | {-s['nll']:.3f} | "
            f"{each['seconds']:.0f} |"
        )
    return lines


def made(found: dict[str, Any]) -> str:
    """What was done, and where."""
    job, where = found["job"], found["environment"]
    rates = {each["nu"]: each["rate"] for each in found["fits"]}
    learned = next(rate for nu, rate in rates.items() if nu != "inf")
    hours = sum(each["seconds"] for each in found["fits"]) / 3600
    counts = " and ".join(map(str, job["counts"]))
    return (
        f"`python -m experiments.conv_dkm --preset {found['preset']}` ([numbers]"
        f"({PAGE.stem}/conv_dkm-{found['preset']}.json)): {job['train']} training and "
        f"{job['test']} test images, {counts} inducing points, patches of {job['size']} x "
        f"{job['size']}, {job['steps']} steps of {job['batch']} images, learning rates "
        f"{rates['inf']:g} (NNGP) and {learned:g}, {job['seeds']} seeds; means and standard errors "
        f"over seeds (of exact NNGPs, over test images). {hours:.1f} hours of fits on "
        f"{where['cpus']} cores, Python {where['python']}, JAX {where['packages']['jax']}, "
        f"commit {where['commit'][:7]}."
    )


def main(argv: list[str]) -> None:
    """Rewrite the page and copy the picture."""
    folder = Path(argv[0]) if argv else ROOT / "runs" / "conv_dkm-demo"
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    target = PAGE.with_suffix("")
    target.mkdir(exist_ok=True)
    name = f"conv_dkm-{found['preset']}"
    shutil.copyfile(folder / "nu_sweep.png", target / f"{name}.png")
    shutil.copyfile(folder / "results.json", target / f"{name}.json")
    picture = f"![Test accuracy and log likelihood against nu]({target.name}/{name}.png)"
    write_between(PAGE, "\n".join([made(found), "", *table(found), "", picture, ""]), name)


if __name__ == "__main__":
    main(sys.argv[1:])
