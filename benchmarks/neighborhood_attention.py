"""Neighborhood attention against masked attention of PyTorch and NATTEN, on a CPU.

Question: what does the XLA path gain on this machine over what one would otherwise use? Forward,
    and forward plus backward (gradients of q, k, v), float32, batch 1, 4 heads of 32.
Command: `python -m benchmarks.neighborhood_attention [--threads 1|2] [--quick] [--out DIR]
    [--rounds N] [--cases NAME ...]`
Time: about 5 minutes on 2 CPU cores, 1 minute with --quick (neither flex peer, fewer sizes).
Expected result: OUT/<device>/neighborhood_attention_<threads>t.json (OUT is benchmarks/results
    unless given) and a table. Targets, ours over `torch SDPA`: forward 4x, forward+backward 3x
    (2.5x where dilated); forward+backward at most 4x forward; temporaries that grow as the number
    of tokens.

Functions take turns within a round (benchmarks/timing.py). PyTorch and NATTEN are timed where they
are installed; NATTEN has no compiled form on a CPU, and neither flex form has a backward there.
`temp` is what the compiled program allocates beside operands and results. Waste is scores visited
over scores wanted (kernels_pallas/neighborhood_attention/waste.py), for query and key tiles of the
size given: "permuted" loads the aligned tiles that it meets, "box" the keys from the first wanted
to the last.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.neighborhood_attention_peers import Case, jax_dense, operands, torch_functions
from kernels_pallas.neighborhood_attention import neighborhood_attention, waste
from kernels_pallas.neighborhood_attention.cases import CPU
from kernels_pallas.neighborhood_attention.windows import Axis

CASES = {name: Case(call.space, call.window, call.dilation) for name, call in CPU.items()}
QUICK = ("2d 56 w7", "1d 4096 w129")
PASSES = ("forward", "forward+backward")
TARGET = {"forward": 4.0, "forward+backward": 3.0}
DILATED_TARGET = 2.5
BACKWARD_OVER_FORWARD = 4.0
# The same neighbourhood on growing axes, for the growth of temporaries.
GROWING = {
    "1d w129": [Case((n,), (129,), (1,)) for n in (1024, 2048, 4096, 8192, 16384)],
    "2d w7": [Case((n, n), (7, 7), (1, 1)) for n in (28, 56, 112, 224)],
    "2d w7 d2": [Case((n, n), (7, 7), (2, 2)) for n in (28, 56, 112)],
    "3d w3,7,7": [Case((n, 28, 28), (3, 7, 7), (1, 1, 1)) for n in (4, 8, 16, 32)],
}
QUICK_GROWING = ("1d w129", "2d w7")
# (space, window, query and key tile)
WASTE = {
    "64x64 w13": ((64, 64), (13, 13), (8, 8)),
    "64x64 w7": ((64, 64), (7, 7), (8, 8)),
    "256x256 w80": ((256, 256), (80, 80), (16, 8)),
    "30x48x80 w18,24,24": ((30, 48, 80), (18, 24, 24), (2, 8, 8)),
    "32768 w2048": ((32768,), (2048,), (128,)),
    "56x56 w7": ((56, 56), (7, 7), (4, 4)),
    "56x56 w13": ((56, 56), (13, 13), (7, 7)),
    "4096 w129": ((4096,), (129,), (64,)),
    "8x28x28 w3,7,7": ((8, 28, 28), (3, 7, 7), (2, 4, 4)),
}


class Compiled(NamedTuple):
    """A compiled program and what it is called with."""

    program: Any
    arrays: tuple[jax.Array, ...]

    def __call__(self) -> Any:
        return self.program(*self.arrays)

    def temporary_bytes(self) -> int:
        """What it allocates beside operands and results."""
        return self.program.memory_analysis().temp_size_in_bytes


def ours(case: Case) -> Callable[..., jax.Array]:
    """(q, k, v) -> out by `neighborhood_attention`, at its own choice of implementation."""

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        out = neighborhood_attention(q, k, v, window=case.window, dilation=case.dilation)
        assert isinstance(out, jax.Array)
        return out

    return attend


def program(attend: Callable[..., jax.Array], case: Case, backward: bool) -> Any:
    """The compiled forward, or forward plus gradients of q, k, v for a cotangent g."""

    def both(q: jax.Array, k: jax.Array, v: jax.Array, g: jax.Array) -> Any:
        out, pull = jax.vjp(attend, q, k, v)
        return out, pull(g)

    given = [jax.ShapeDtypeStruct(case.shape, jnp.float32)] * (4 if backward else 3)
    return jax.jit(both if backward else attend).lower(*given).compile()


def compiled(attend: Callable, case: Case, arrays: dict, backward: bool) -> Compiled:
    """`program` with its operands."""
    placed = tuple(jnp.asarray(arrays[n]) for n in ("qkvg" if backward else "qkv"))
    return Compiled(program(attend, case, backward), placed)


def distance(actual: Any, expected: Any) -> float:
    """Relative L2 distance."""
    a, b = (np.asarray(x, np.float64) for x in (actual, expected))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def measure(case: Case, rounds: int, threads: int, few: bool) -> dict[str, Any]:
    """Timings of one case, the distance of our results from the dense ones, and memory."""
    arrays = operands(case)
    entry: dict[str, Any] = {"case": case._asdict(), "temporary_bytes": {}}
    both: dict[str, Callable[[], Any]] = {}
    for backward, label in ((False, PASSES[0]), (True, PASSES[1])):
        mine = compiled(ours(case), case, arrays, backward)
        dense = compiled(jax_dense(case), case, arrays, backward)
        pairs = zip(jax.tree.leaves(mine()), jax.tree.leaves(dense()), strict=True)
        names = ("out", "q", "k", "v")
        entry[label + " relative_l2_from_dense"] = {
            n: distance(*pair) for n, pair in zip(names, pairs, strict=False)
        }
        entry["temporary_bytes"][label] = {
            "ours": mine.temporary_bytes(),
            "jax dense": dense.temporary_bytes(),
        }
        both[label] = mine
        functions: dict[str, Callable[[], Any]] = {"ours": mine, "jax dense": dense}
        functions |= torch_functions(case, arrays, backward, few)
        pause = 0.01 if threads > 1 else 0.0  # PyTorch's idle workers spin for a while
        entry[label] = timing.summarise(
            timing.alternate(functions, rounds=rounds, pause=pause), "ours"
        )
        entry[label + " load_average"] = os.getloadavg()[0]
    entry["both passes of ours"] = timing.summarise(
        timing.alternate(both, rounds=rounds), PASSES[0]
    )
    entry["targets"] = targets(case, entry)
    return entry


def targets(case: Case, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was aimed at, what was found, and whether it was met; SDPA's where it was timed."""
    found = {}
    for label in PASSES:
        aim = TARGET[label]
        if label != "forward" and max(case.dilation) > 1:
            aim = DILATED_TARGET
        if "torch SDPA" in entry[label]:
            ratio = entry[label]["torch SDPA"]["ratio_to_ours"]
            found[f"{label} over torch SDPA"] = {"aim": aim, "found": ratio, "met": ratio >= aim}
    ratio = entry["both passes of ours"][PASSES[1]]["ratio_to_ours"]
    found["forward+backward over forward"] = {
        "aim": BACKWARD_OVER_FORWARD,
        "found": ratio,
        "met": ratio <= BACKWARD_OVER_FORWARD,
    }
    return found


def growth(cases: list[Case]) -> dict[str, Any]:
    """Temporaries of the compiled forward and forward+backward for each size.

    `exponent` is d log(bytes) / d log(tokens) between the two largest: 1 is linear.
    """
    tokens = [case.batch * math.prod(case.space) for case in cases]
    result: dict[str, Any] = {"tokens": tokens}
    for label in PASSES:
        held = [
            program(ours(c), c, label != "forward").memory_analysis().temp_size_in_bytes
            for c in cases
        ]
        rise = math.log(max(held[-1], 1) / max(held[-2], 1)) / math.log(tokens[-1] / tokens[-2])
        result[label] = {"temporary_bytes": held, "exponent": rise}
    return result


def waste_table() -> dict[str, dict[str, Any]]:
    """Visited over ideal scores of `WASTE`, by aligned tiles and by an unaligned box."""
    rows = {}
    for name, (space, window, tile) in WASTE.items():
        axes = [Axis(length, w) for length, w in zip(space, window, strict=True)]
        boxes = [waste.box(axis, t) for axis, t in zip(axes, tile, strict=True)]
        rows[name] = {
            "tile": tile,
            "permuted": waste.visited_over_ideal(axes, tile, tile, aligned=True),
            "interior": waste.interior(axes, tile, tile),
            "box": waste.visited_over_ideal(axes, tile, boxes, aligned=False),
            "box_places": boxes,
        }
    return rows


def show(name: str, entry: dict[str, Any]) -> None:
    """Print one case as lines of a plain table."""
    for label in PASSES:
        for peer, row in entry[label].items():
            print(
                f"{name:<18} {label:<17} {peer:<12} {row['median_ms']:>9.2f} ms"
                f"  [{row['low_ms']:.2f}, {row['high_ms']:.2f}]  {row['ratio_to_ours']:>6.2f}x",
                flush=True,
            )
        held = entry["temporary_bytes"][label]
        print(f"{'':<36} temp {', '.join(f'{n} {b / 2**20:.1f} MiB' for n, b in held.items())}")
        far = entry[label + " relative_l2_from_dense"]
        print(f"{'':<36} from dense {', '.join(f'{n} {d:.1e}' for n, d in far.items())}")
    for what, row in entry["targets"].items():
        verdict = "met" if row["met"] else "MISSED"
        print(f"{'':<18} {what}: {row['found']:.2f}, aim {row['aim']:g}: {verdict}", flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.neighborhood_attention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}, no flex")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the JSON file")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds a case")
    parser.add_argument("--threads", type=int, default=2, help="cores, for everybody")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), help="these cases only")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; accepted: 1 or more")
    available = len(os.sched_getaffinity(0))
    if not 1 <= options.threads <= available:
        parser.error(f"--threads is {options.threads}; this process has {available} cores")
    return options


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    options = parse(argv)
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)  # before JAX makes its thread pool
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("PyTorch is not installed: no peers but dense attention in JAX.")
    else:
        torch.set_num_threads(options.threads)
        warnings.filterwarnings("ignore", module=r"torch\.nn\.attention")  # uncompiled, as said
    names = options.cases or (QUICK if options.quick else list(CASES))
    print(f"{'case':<18} {'pass':<17} {'who':<12} {'median':>12}  [quartiles]  time over ours")
    entries = {}
    for name in names:
        entries[name] = measure(CASES[name], options.rounds, options.threads, options.quick)
        show(name, entries[name])
    growing = {n: GROWING[n][:3] for n in QUICK_GROWING} if options.quick else GROWING
    rising = {name: growth(cases) for name, cases in growing.items()}
    for name, row in rising.items():
        for label in PASSES:
            held = ", ".join(f"{b / 2**20:.2f}" for b in row[label]["temporary_bytes"])
            print(
                f"temp {name:<10} {label:<17} tokens {row['tokens']}: {held} MiB,"
                f" exponent {row[label]['exponent']:.2f}"
            )
    wasted = waste_table()
    for name, row in wasted.items():
        print(
            f"waste {name:<20} tile {row['tile']}: permuted {row['permuted']:.2f}"
            f" (interior {row['interior']:.0%}), box {row['box']:.2f}"
        )
    flags = (" --quick" if options.quick else "") + f" --rounds {options.rounds}"
    flags += f" --threads {options.threads}"
    flags += " --cases " + " ".join(map(repr, options.cases)) if options.cases else ""
    result = {
        "provenance": timing.provenance("python -m benchmarks.neighborhood_attention" + flags),
        "threads": options.threads,
        "natten": version("natten") if importlib.util.find_spec("natten") else None,
        "note": "A shared machine: read the ratios, which alternate within a round, before times.",
        "cases": entries,
        "temporaries": rising,
        "waste": wasted,
    }
    print("wrote", timing.write(f"neighborhood_attention_{options.threads}t", result, options.out))


if __name__ == "__main__":
    main()
