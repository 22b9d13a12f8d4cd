"""Copy a finished demo's picture and figures into docs/ and README.md.

Usage: `python tools/publish_demo.py [runs/demo]`, after `make demo` on a quiet machine and a clean
commit. It writes docs/demo/fit.png and docs/demo/demo.json (numbers and provenance) and
replaces what stands between the `demo` markers of README.md. Nothing in those places is typed by
hand.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from farwide.fitting import load_prediction
from farwide.runlog import Run, read_runs, write_json

ROOT = Path(__file__).resolve().parents[1]
PICTURE = "fit.png"


def facts_of(sweep: Path) -> dict[str, Any]:
    """The demo's outcome and where it comes from."""
    prediction = load_prediction(sweep / "prediction.json")
    runs = read_runs(sweep / "train")
    held_out: Run = next(run for run in runs if run.run == prediction.run)
    if held_out.summary is None or not held_out.finished:
        raise SystemExit(f"{held_out.path} is {held_out.state}; publish a finished demo")
    environment = held_out.environments[-1]
    fit = json.loads((sweep / "fit.json").read_text())
    measured = held_out.summary["validation_loss"]
    return {
        "schema": 1,
        "held_out": prediction.run,
        "predicted": prediction.loss,
        "low": prediction.low,
        "high": prediction.high,
        "level": prediction.level,
        "measured": measured,
        "relative_error": prediction.loss / measured - 1,
        "inside": prediction.low <= measured <= prediction.high,
        "extrapolation": prediction.extrapolation,
        "fitted_runs": len(prediction.fitted_runs),
        "params": fit["params"],
        "training_seconds": sum(run.summary["wall_seconds"] for run in runs if run.summary),
        "cpus": environment["cpus"],
        "device": environment["device"],
        "system": environment["system"],
        "python": environment["python"],
        "jax": environment["packages"]["jax"],
        "commit": environment["commit"],
        "command": "make demo",
        "date": environment["started"][:10],
    }


def paragraph(facts: dict[str, Any]) -> str:
    """The README's words for `facts`."""
    verdict = "inside" if facts["inside"] else "outside"
    return f"""\
![The law fitted to the small runs, the predicted interval of the held-out run, and its measured
loss](docs/demo/{PICTURE})

`make demo` on {facts["cpus"]} CPU cores (Python {facts["python"]}, JAX {facts["jax"]},
{facts["date"]}, commit `{facts["commit"][:9]}`): {facts["fitted_runs"]} runs were fitted, and a
run with {facts["extrapolation"]:.1f} times the largest fitted compute was predicted before it
trained. Predicted {facts["predicted"]:.3f} nats per byte, {facts["level"]:.0%} interval
{facts["low"]:.3f} to {facts["high"]:.3f}; measured {facts["measured"]:.3f},
{verdict} the interval: the prediction was off by {facts["relative_error"]:+.1%}. Training took
{facts["training_seconds"]:.0f} s in all."""


def main() -> None:
    sweep = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    facts = facts_of(sweep)
    target = ROOT / "docs" / "demo"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sweep / PICTURE, target / PICTURE)
    write_json(target / "demo.json", facts)
    readme = ROOT / "README.md"
    marked = re.compile(r"(<!-- demo:begin[^>]*-->\n).*?(<!-- demo:end -->)", re.DOTALL)
    text, count = marked.subn(
        lambda match: f"{match[1]}{paragraph(facts)}\n{match[2]}", readme.read_text()
    )
    if count != 1:
        raise SystemExit(f"{readme} has {count} places marked demo:begin ... demo:end; expected 1")
    readme.write_text(text)
    print(f"{target} and {readme} now show {sweep}")


if __name__ == "__main__":
    main()
