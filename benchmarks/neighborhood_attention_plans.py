"""Which tiles the XLA path of neighborhood attention should take on a CPU.

Question: do the plans of kernels_pallas/neighborhood_attention/config.py come out best, or near?
Command: `python -m benchmarks.neighborhood_attention_plans [--out DIR] [--rounds N]
    [--cases NAME ...]`
Time: about 2 minutes on 2 CPU cores.
Expected result: OUT/<device>/neighborhood_attention_plans.json (OUT is benchmarks/results unless
    given) and a table of times by tile and tiles a step, `*` where config.py's own choice stands.

All plans of a case take turns within a round (benchmarks/timing.py). The fastest time of a round is
shown beside the median, since other work on a shared machine only ever adds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from benchmarks import timing
from kernels_pallas.neighborhood_attention import config, xla
from kernels_pallas.neighborhood_attention.blocked import Plan
from kernels_pallas.neighborhood_attention.call import Call
from kernels_pallas.neighborhood_attention.cases import CPU

PLANS = {
    "2d 56 w7": [((4, 4), 1), ((4, 4), 4), ((4, 8), 4), ((4, 7), 8), ((2, 8), 8), ((2, 4), 8)],
    "2d 56 w13": [((4, 4), 4), ((4, 4), 8), ((8, 8), 4), ((4, 16), 4)],
    "2d 56 w7 d2": [((4, 4), 2), ((4, 7), 2), ((4, 8), 2), ((7, 7), 2)],
    "1d 4096 w129": [((16,), 8), ((32,), 8), ((64,), 1), ((128,), 2)],
    "3d 8x28x28 w3,7,7": [((1, 4, 4), 1), ((1, 4, 4), 8), ((2, 2, 4), 8), ((1, 4, 8), 4)],
}


def program(call: Call, plan: Plan, arrays: list[jax.Array], backward: bool) -> Callable[[], Any]:
    """The compiled forward, or forward and backward, by one plan."""

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return xla.forward(call, q, k, v, None, None, None, None, plan=plan)[0]

    def both(q: jax.Array, k: jax.Array, v: jax.Array, g: jax.Array) -> Any:
        out, pull = jax.vjp(attend, q, k, v)
        return out, pull(g)

    given = arrays if backward else arrays[:3]
    compiled = jax.jit(both if backward else attend).lower(*given).compile()
    return lambda: compiled(*given)


def measure(call: Call, plans: list[Plan], rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds by pass and plan."""
    shape = (call.batch, *call.space, call.heads, call.head_dim)
    keys = jax.random.split(jax.random.key(0), 4)
    arrays = [jax.random.normal(key, shape) for key in keys]
    result = {}
    for label, backward in (("forward", False), ("forward+backward", True)):
        functions = {name(p): program(call, p, arrays, backward) for p in plans}
        seconds = timing.alternate(functions, rounds=rounds)
        rows = timing.summarise(seconds, name(plans[0]))
        for key, row in rows.items():
            row["fastest_ms"] = 1e3 * min(seconds[key])
        result[label] = rows
    return result


def name(plan: Plan) -> str:
    """A plan in a word: 4x8 6."""
    return f"{'x'.join(map(str, plan.tile))} {plan.per_step}"


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.neighborhood_attention_plans",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the JSON file")
    parser.add_argument("--rounds", type=int, default=15, help="measured rounds a case")
    parser.add_argument("--cases", nargs="+", choices=list(PLANS), default=list(PLANS))
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; accepted: 1 or more")
    entries = {}
    for which in options.cases:
        call = CPU[which]
        chosen = config.plan(call, call.space)
        plans = [chosen, *(Plan(*p) for p in PLANS[which] if Plan(*p) != chosen)]
        entries[which] = {"chosen": name(chosen), **measure(call, plans, options.rounds)}
        for label in ("forward", "forward+backward"):
            for plan, row in entries[which][label].items():
                star = "*" if plan == name(chosen) else " "
                print(
                    f"{which:<18} {label:<17} {plan:>10}{star} {row['fastest_ms']:>8.2f} ms, "
                    f"median {row['median_ms']:.2f}, {row['ratio_to_ours']:.2f} of the choice's",
                    flush=True,
                )
    command = f"python -m benchmarks.neighborhood_attention_plans --rounds {options.rounds}"
    result = {"provenance": timing.provenance(command), "cases": entries}
    print("wrote", timing.write("neighborhood_attention_plans", result, options.out))


if __name__ == "__main__":
    main()
