"""Neighborhood attention on a GPU: correctness, times, peers and FLOP rates, in one command.

Question: on this device, is every backend right, and what share of dense flash attention's FLOP
    rate does it reach on the FLOPs that the definition asks for? bfloat16, 24 heads of 128, forward
    and forward plus backward, beside cuDNN's dense flash attention and compiled flex_attention.
Command: `python -m benchmarks.neighborhood_attention_gpu [--out DIR] [--cases NAME ...]
    [--only NAME ...] [--append] [--rounds N] [--smoke]`, from a bare checkout with PYTHONPATH=src:.
Time: about 20 minutes on one H100 (an estimate: not measured); a minute or two with --smoke on a
    CPU.
Expected result: OUT/<device>/neighborhood_attention_gpu.json (OUT is benchmarks/results unless
    given) and a table; no error above its limit. Targets: at least 25% of dense for 2-D with stride
    1, 60% where the stride makes it block-sparse; 1.5x faster than flex_attention.

Each implementation runs in a process of its own, one item after another: first the checks (small
problems, values and gradients against the definition in float64), then each case. A crash or a hang
costs its own item alone and is recorded; the file is written after each implementation. At full
size a few queries of what was timed are checked, too. Useful FLOPs are 4 a pair that attends, head
and feature forward, and 14 forward plus backward. Needs jax and numpy; PyTorch where present.
Without a GPU it refuses; --smoke runs all of it at toy size, kernels interpreted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import timing
from benchmarks.long_conv_gpu import collect, device_facts, reason
from benchmarks.long_conv_peers import measure
from benchmarks.neighborhood_attention_gpu_peers import (
    DENSE,
    FLEX,
    NAMES,
    OURS,
    PASSES,
    errors,
    jax_timer,
    torch_timer,
)
from kernels_pallas.neighborhood_attention import waste
from kernels_pallas.neighborhood_attention.call import Call
from kernels_pallas.neighborhood_attention.cases import GPU, case
from kernels_pallas.neighborhood_attention.windows import axes_of


class Case(NamedTuple):
    """A timed problem, the box of 128 tokens that flex_attention's blocks hold, and the target."""

    call: Call
    tile: tuple[int, ...]
    fraction_of_dense: float | None  # aimed at


CASES = {
    "2d 256 w80": Case(GPU["2d 256 w80"], (16, 8), 0.25),
    "2d 256 w80 s16": Case(GPU["2d 256 w80 s16"], (16, 8), 0.60),
    "3d 30x48x80 w18,24,24": Case(GPU["3d 30x48x80 w18,24,24"], (2, 8, 8), None),
    "3d 30x48x80 w18,24,24 s16,8,8": Case(GPU["3d 30x48x80 w18,24,24 s16,8,8"], (2, 8, 8), 0.60),
    "1d 32768 w2048": Case(GPU["1d 32768 w2048"], (128,), None),
}
SMOKE = {
    "2d 16 w5": Case(case((16, 16), (5, 5), heads=1, head_dim=16), (16, 8), 0.25),
    "1d 128 w16": Case(case((128,), (16,), stride=(4,), heads=1, head_dim=16), (128,), None),
}
CHECKS = {
    "2d": case((40, 24), (13, 9), heads=2),
    "2d strided": case((32, 48), (16, 16), stride=(4, 16), heads=2, head_dim=64),
    "2d mask, more keys": case((25, 33), (6, 11), heads=2, has_mask=True, additional=5),
    "3d": case((6, 16, 20), (4, 8, 8), stride=(1, 2, 3), heads=4, kv_heads=2),
    "1d causal dilated": case((1000,), (129,), dilation=(3,), causal=(True,), heads=2, batch=2),
    "1d value size": case((700,), (64,), heads=2, head_dim=64, value_dim=128),
}
SMOKE_CHECKS = {
    "2d": case((9, 12), (4, 5), stride=(2, 1), heads=2, kv_heads=1, head_dim=16),
    "1d": case((40,), (9,), dilation=(3,), causal=(True,), has_mask=True, head_dim=16),
}
# Relative L2 at most: 16 bits, every stage's operands rounded; float32 as multiplied by IEEE rules.
LIMITS = {"bfloat16": 1e-2, "float16": 1.5e-3, "float32": 1e-5}
OVER_FLEX = 1.5
FLOPS = {"forward": 4, "forward+backward": 14}  # a pair, a head and a feature: 2 and 7 products


def flops(call: Call, label: str, dense: bool = False) -> int:
    """Those that the definition asks for, or of dense attention; value_dim must be head_dim."""
    axes = axes_of(call)
    pairs = math.prod(call.space) ** 2 if dense else waste.ideal(axes)
    return FLOPS[label] * call.batch * call.heads * call.head_dim * pairs


def check_all(name: str, smoke: bool) -> dict[str, Any]:
    """Errors of each check in each dtype; a reason where one could not run."""
    found: dict[str, Any] = {}
    for check, call in (SMOKE_CHECKS if smoke else CHECKS).items():
        found[check] = {}
        for dtype in ("bfloat16",) if smoke else LIMITS:
            try:
                found[check][dtype] = errors(name, call._replace(dtype=dtype), interpret=smoke)
            except Exception as error:
                found[check][dtype] = reason(error)
    return found


def one_case(name: str, case: Case, rounds: int, smoke: bool) -> dict[str, Any]:
    """Times and rates of one implementation; whatever fails is written down."""
    result: dict[str, Any] = {}
    for label in PASSES:
        backward = label != "forward"
        try:
            if name == FLEX:
                row: dict[str, Any] = measure(torch_timer(case.call, case.tile, backward), rounds)
            else:
                timed, error = jax_timer(name, case.call, backward, interpret=smoke)
                row = measure(timed, rounds)
                row["sampled_relative_l2"] = error()
        except Exception as error:
            result[label] = {"error": reason(error)}
            continue
        work = flops(case.call, label, dense=name == DENSE)
        result[label] = {**row, "useful_tflop_per_s": 1e-9 * work / row["median_ms"]}
    return result


def work(name: str, items: Iterable[int], rounds: int, smoke: bool, path: Path) -> None:
    """The worker: a JSON line an item, appended as each is done; 0 is the checks, 1.. the cases."""
    cases = list((SMOKE if smoke else CASES).values())
    for item in items:
        try:
            if item == 0:
                result = check_all(name, smoke)
            else:
                result = one_case(name, cases[item - 1], rounds, smoke)
        except Exception as error:
            result = {"error": reason(error)}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"length": item, "result": result}) + "\n")


def worker_environment(name: str) -> dict[str, str]:
    """PyTorch's worker keeps JAX off the GPU."""
    return {**os.environ, "JAX_PLATFORMS": "cpu"} if name == FLEX else dict(os.environ)


def compare(case: Case, found: dict[str, Any]) -> dict[str, Any]:
    """For each of ours that was timed: its share of dense's FLOP rate, and flex's time over its."""
    summary: dict[str, Any] = {}
    for name in OURS:
        for label in PASSES:
            rows = {n: found.get(n, {}).get(label, {}) for n in (name, DENSE, FLEX)}
            if "median_ms" not in rows[name]:
                continue
            entry = summary.setdefault(name, {}).setdefault(label, {})
            if "median_ms" in rows[DENSE]:
                rate = rows[name]["useful_tflop_per_s"] / rows[DENSE]["useful_tflop_per_s"]
                aim = case.fraction_of_dense
                entry["fraction_of_dense"] = {"found": rate, "aim": aim}
                entry["fraction_of_dense"]["met"] = None if aim is None else rate >= aim
            if "median_ms" in rows[FLEX]:
                ratio = rows[FLEX]["median_ms"] / rows[name]["median_ms"]
                entry["flex_over_ours"] = {"found": ratio, "aim": OVER_FLEX}
                entry["flex_over_ours"]["met"] = ratio >= OVER_FLEX
    return summary


def show_checks(name: str, found: dict[str, Any]) -> None:
    """Print what a check says that is no error below its limit."""
    if "error" in found:
        print(f"{'checks':<30} {name:<12} {found['error']}", flush=True)
        return
    for check, by_dtype in found.items():
        for dtype, row in by_dtype.items():
            if isinstance(row, str):
                text = row
            else:
                worst = max(row, key=lambda n: row[n])
                over = "" if row[worst] <= LIMITS[dtype] else f"  ABOVE {LIMITS[dtype]:.1e}"
                text = f"largest error {row[worst]:.1e} ({worst}){over}"
            print(f"{check:<30} {name:<12} {dtype:<17} {text}", flush=True)


def show_case(title: str, name: str, found: dict[str, Any]) -> None:
    """Print one implementation's times of one case."""
    if "error" in found:
        print(f"{title:<30} {name:<12} {found['error']}", flush=True)
        return
    for label in PASSES:
        row = found[label]
        text = row.get("error") or (
            f"{row['median_ms']:>10.3f} ms  {row['useful_tflop_per_s']:>8.1f} useful TFLOP/s"
        )
        print(f"{title:<30} {name:<12} {label:<17} {text}", flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.neighborhood_attention_gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*CASES, *SMOKE]
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the JSON file")
    parser.add_argument("--cases", nargs="+", choices=names, help="these cases instead of all")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these alone")
    parser.add_argument("--append", action="store_true", help="add to the JSON file that is there")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds a function")
    parser.add_argument("--smoke", action="store_true", help="toy size, kernels interpreted")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--items", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    known = SMOKE if options.smoke else CASES
    for name in options.cases or ():
        if name not in known:
            parser.error(f"--cases has {name!r}; accepted: {', '.join(map(repr, known))}")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, or one of its workers, from the command line; the exit status."""
    options = parse(argv)
    cases = SMOKE if options.smoke else CASES
    rounds = min(2, options.rounds) if options.smoke else options.rounds
    if options.worker == "device":
        facts = json.dumps({"length": 0, "result": device_facts(options.smoke)})
        options.path.write_text(facts + "\n")
        return 0
    if options.worker:
        work(options.worker, options.items, rounds, options.smoke, options.path)
        return 0

    def command(name: str) -> Callable[[list[int], Path], list[str]]:
        module = [sys.executable, "-m", "benchmarks.neighborhood_attention_gpu"]
        flags = ["--rounds", str(rounds), *(["--smoke"] if options.smoke else [])]
        return lambda todo, path: [
            *module, "--worker", name, "--path", str(path), *flags, "--items", *map(str, todo)
        ]  # fmt: skip

    facts = collect(command("device"), [0], dict(os.environ))[0]
    if "error" in facts:
        print(f"JAX did not start on this device: {facts['error']}", file=sys.stderr)
        return 2
    provenance = facts["provenance"]
    if facts["platform"] == "cpu" and not options.smoke:
        print("JAX sees no GPU here; run this where there is one, or --smoke.", file=sys.stderr)
        return 2
    given = [a for a in (sys.argv[1:] if argv is None else argv) if a]
    provenance["command"] = " ".join(["python -m benchmarks.neighborhood_attention_gpu", *given])
    path = options.out / provenance["device"] / "neighborhood_attention_gpu.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"checks": {}, "cases": {}}
    if options.append and path.exists():
        result = json.loads(path.read_text())
        if result["provenance"]["commit"] != provenance["commit"]:
            print(f"{path} is of another commit; not appended to", file=sys.stderr)
            return 2
    result |= {
        "provenance": provenance,
        "limits": LIMITS,
        "note": "errors: relative L2 against float64; rates: FLOPs that the definition asks for",
    }
    wanted = options.cases or list(cases)
    numbers = {1 + list(cases).index(name): name for name in wanted}
    for name in options.only:
        items = [*([0] if name in OURS else []), *numbers]
        for item, found in collect(command(name), items, worker_environment(name)).items():
            if item == 0:
                result["checks"][name] = found
                show_checks(name, found)
                continue
            title = numbers[item]
            entry = result["cases"].setdefault(title, {"implementations": {}})
            entry["case"] = cases[title]._asdict() | {"call": cases[title].call._asdict()}
            entry["implementations"][name] = found
            entry["compared"] = compare(cases[title], entry["implementations"])
            show_case(title, name, found)
        path.write_text(json.dumps(result, indent=1) + "\n")  # after each: a cut run keeps these
    for title, entry in result["cases"].items():
        for name, by_pass in entry["compared"].items():
            for label, rows in by_pass.items():
                text = ", ".join(f"{what} {row['found']:.2f}" for what, row in rows.items())
                print(f"{title:<30} {name:<12} {label:<17} {text or 'no peer timed'}")
    print("wrote", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
