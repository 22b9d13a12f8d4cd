"""Infinite-width kernels, empirical NTKs and ensemble predictions beside neural_tangents.

Question: how much faster than neural_tangents is `theory`, and does it compile as quickly?
Command: `python -m benchmarks.infinite_width [--peer PYTHON] [--quick] [--rounds N]
    [--only NAME ..] [--label TEXT] [--out DIR]`
Time: on 2 CPU cores 4 minutes without the NTKs by Jacobian contraction and vector products, 20 or
    more with them (neural_tangents holds 16 GB for the first); `--quick` 1 minute.
Expected result: OUT/<device>/infinite_width.json (infinite_width_TEXT.json with --label,
    infinite_width_quick.json); every ratio at least its bar, and compilation no slower.

neural_tangents 0.6.5 does not run on the JAX that theory needs, so each library has a process of
its own (benchmarks/infinite_width_peer.py) with its own interpreter: --peer names the one of an
environment made from tests/golden/requirements.txt. The two take turns, one run each in a round,
while the other waits; a ratio is the median over rounds of peer / ours. Everything is float64,
jitted in both, on the same inputs, and the results are compared. Without --peer ours are timed
alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks import timing

ROOT = Path(__file__).resolve().parents[1]
PROCESS = Path(__file__).with_name("infinite_width_peer.py")
AGREEMENT = 1e-6  # relative, of the sums of the two libraries' results


class Workload(NamedTuple):
    """What is timed.

    Attributes:
      sizes: of infinite_width_peer.WORKLOADS; quick: what `--quick` changes.
      bar: the ratio peer / ours that this project set itself, or None.
    """

    sizes: dict[str, Any]
    quick: dict[str, Any]
    bar: float | None = None


def _kernels(name: str, n: int, quick: int, bars: tuple[float | None, float | None], **sizes):
    """A workload for x2 given and one for x1 is x2."""
    made = {}
    for suffix, same, bar in zip(("", "_same"), (False, True), bars, strict=True):
        of_all = {"workload": name, "n": n, "same": same, **sizes}
        made[name + suffix] = Workload(of_all, {"n": quick}, bar)
    return made


def _empirical(implementation: str, bar: float | None, quick: int):
    made = {}
    for suffix, traced in (("traced", True), ("full", False)):
        sizes = {"workload": "empirical", "n": 128, "width": 512, "traced": traced}
        sizes["implementation"] = implementation
        name = f"empirical_{implementation.split('_')[0].lower()}_{suffix}"
        made[name] = Workload(sizes, {"n": quick, "width": 128}, bar)
    return made


def _ensemble(name: str, t: float | None):
    sizes = {"workload": "ensemble", "n": 1000, "n_test": 200, "t": t}
    return {name: Workload(sizes, {"n": 200, "n_test": 50}, 1.5)}


WORKLOADS = {
    **_kernels("fully_connected", 2000, 500, (2.5, 3.0), features=64),
    **_kernels("myrtle", 32, 6, (3.0, 5.0), side=16),
    **_kernels("strided", 64, 16, (None, None), side=32),
    **_empirical("STRUCTURED_DERIVATIVES", 1.0, 32),
    **_empirical("JACOBIAN_CONTRACTION", None, 8),
    **_empirical("NTK_VECTOR_PRODUCTS", None, 8),
    **_ensemble("ensemble_at_infinity", None),
    **_ensemble("ensemble_at_100", 100.0),
}
SLOW = ("empirical_jacobian", "empirical_ntk")  # seconds a run: three rounds


class Library:
    """One library's process; a context manager that ends it."""

    def __init__(self, python: str, library: str, ours: bool):
        environment = dict(os.environ, JAX_PLATFORMS="cpu")
        environment.pop("PYTHONPATH", None)
        if ours:
            environment["PYTHONPATH"] = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        self.process = subprocess.Popen(
            [python, str(PROCESS), "--library", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to one request.

        Raises:
          RuntimeError: the process has ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended at the request {request}")
        return json.loads(line)


def measure(libraries: dict[str, Library], name: str, sizes: dict[str, Any], rounds: int):
    """One workload: first calls, then rounds in which the libraries take turns."""
    first = {who: library.ask(prepare=name, sizes=sizes) for who, library in libraries.items()}
    outputs = np.array([answer["outputs"] for answer in first.values()])
    worst = float(np.max(np.abs(outputs / outputs[0] - 1)))
    if worst > AGREEMENT:
        raise RuntimeError(f"{name}: the libraries' results differ by {worst:.1e}")
    seconds: dict[str, list[float]] = {who: [] for who in libraries}
    for i in range(rounds + 1):
        order = list(libraries) if i % 2 else list(libraries)[::-1]
        for who in order:
            once = libraries[who].ask(run=name)["seconds"]
            if i:  # the first round is a warm-up
                seconds[who].append(once)
    for library in libraries.values():
        library.ask(forget=name)
    rows = timing.summarise(seconds, "ours")
    for who, row in rows.items():
        row["compile_s"] = first[who]["first_s"] - median(seconds[who])
    return rows, worst


def main() -> None:
    """Measure, print a line a workload, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", help="interpreter of an environment that has neural_tangents")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument(
        "--rounds", type=int, help="measured rounds (11; 3 where runs take seconds)"
    )
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--label", help="appended to the file's name, such as jax012")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    results = {}
    with Library(sys.executable, "theory", ours=True) as ours:
        libraries = {"ours": ours}
        if arguments.peer:
            libraries["peer"] = Library(arguments.peer, "neural_tangents", ours=False)
        versions = {who: library.ask(versions=True) for who, library in libraries.items()}
        for name in arguments.only:
            workload = WORKLOADS[name]
            sizes = {**workload.sizes, **(workload.quick if arguments.quick else {})}
            few = 3 if arguments.quick or name.startswith(SLOW) else 11
            rows, worst = measure(libraries, name, sizes, arguments.rounds or few)
            results[name] = summary(rows, sizes, workload.bar, worst)
            print(line_of(name, results[name]), flush=True)
        if arguments.peer:
            libraries["peer"].__exit__()
    command = "python -m benchmarks.infinite_width" + " --peer PYTHON" * bool(arguments.peer)
    command += f" --rounds {arguments.rounds}" if arguments.rounds else ""
    if arguments.only != list(WORKLOADS):
        command += " --only " + " ".join(arguments.only)
    result = {
        "benchmark": "infinite_width",
        "dtype": "float64",
        "versions": versions,
        "workloads": results,
        "provenance": timing.provenance(command + " --quick" * arguments.quick),
    }
    name = "infinite_width" + "_quick" * arguments.quick
    name += f"_{arguments.label}" if arguments.label else ""
    print(timing.write(name, result, arguments.out))


def summary(rows: dict[str, Any], sizes: dict[str, Any], bar: float | None, worst: float):
    """What is kept of a workload; a ratio is peer / ours, above 1 where ours is faster."""
    kept = {"sizes": sizes, **rows}
    if "peer" in rows:
        kept["ratio"] = rows["peer"].pop("ratio_to_ours")
        kept["bar"] = bar
        kept["compile_ratio"] = rows["peer"]["compile_s"] / rows["ours"]["compile_s"]
        kept["largest_disagreement"] = worst
    rows["ours"].pop("ratio_to_ours")
    return kept


def line_of(name: str, kept: dict[str, Any]) -> str:
    """A workload in a line."""
    line = f"{name:32s} ours {kept['ours']['median_ms']:9.1f} ms"
    line += f", compiled in {kept['ours']['compile_s']:5.1f} s"
    if "peer" in kept:
        line += f"; peer {kept['peer']['median_ms']:9.1f} ms, {kept['peer']['compile_s']:5.1f} s"
        bar = "" if kept["bar"] is None else f" (bar {kept['bar']})"
        line += f"; ratio {kept['ratio']:.2f}{bar}, compilation {kept['compile_ratio']:.2f}"
    return line


if __name__ == "__main__":
    main()
