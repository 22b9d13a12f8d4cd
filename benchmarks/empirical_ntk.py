"""The automatic choice among implementations of the empirical NTK, beside each of them.

Question: AUTO estimates the cost of three programs and runs the one that it takes for the cheapest
(theory/empirical/cost.py has the two constants of that estimate). How often is it the fastest, and
how much is lost where it is not?

Command: `python -m benchmarks.empirical_ntk [--quick] [--rounds N] [--out DIR]`
Time: about 1.5 minutes on 2 CPU cores, most of it compilation; `--quick` 10 seconds.
Expected result: OUT/<device>/empirical_ntk.json (empirical_ntk_quick.json), for each network the
    milliseconds of every implementation, the one that AUTO chose, and its loss: time of the chosen
    over that of the fastest, of which most are 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import timing
from theory import NtkImplementation, empirical_ntk_fn


class Case(NamedTuple):
    """A network and the kernel that is asked of it.

    Attributes:
      apply_fn: (params, x) -> outputs.
      params: of the network.
      shape: of one input.
      n: examples on each side.
      trace_axes: of `empirical_ntk_fn`.
    """

    apply_fn: Callable[[Any, Array], Array]
    params: Any
    shape: tuple[int, ...]
    n: int
    trace_axes: tuple[int, ...]


def _normal(seed: int, shape: tuple[int, ...]) -> Array:
    return jax.random.normal(jax.random.key(seed), shape)


def dense(*widths: int, n: int, traced: bool) -> Case:
    """A ReLU network of these widths."""

    def apply_fn(params, x):
        for w in params[:-1]:
            x = jax.nn.relu(x @ w / np.sqrt(w.shape[0]))
        return x @ params[-1] / np.sqrt(params[-1].shape[0])

    shapes = list(pairwise(widths))
    params = [_normal(i, shape) for i, shape in enumerate(shapes)]
    return Case(apply_fn, params, (widths[0],), n, (-1,) if traced else ())


def convolutional(side: int, channels: int, outputs: int, *, n: int, pool: bool, traced: bool):
    """Three 3x3 convolutions, then a dense layer of all places or of their mean."""

    def apply_fn(params, x):
        for w in params[:-1]:
            numbers = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers)
            x = jax.nn.relu(x)
        return (x.mean((1, 2)) if pool else x.reshape(len(x), -1)) @ params[-1]

    params = [_normal(i, (3, 3, 3 if i == 0 else channels, channels)) for i in range(3)]
    params.append(_normal(3, (channels if pool else side * side * channels, outputs)))
    return Case(apply_fn, params, (side, side, 3), n, (-1,) if traced else ())


def attention(length: int, channels: int, outputs: int, *, n: int, traced: bool) -> Case:
    """Two layers of attention with residual sums, then a dense layer of the mean."""

    def apply_fn(params, x):
        for projections, out in params[:-1]:
            q, k, v = jnp.einsum("btc,scd->sbtd", x, projections)
            x = x + (jax.nn.softmax(q @ k.mT / np.sqrt(channels)) @ v) @ out
        return x.mean(1) @ params[-1]

    size = channels**-0.5
    layers: list[Any] = [
        (size * _normal(i, (3, channels, channels)), size * _normal(i + 9, (channels, channels)))
        for i in range(2)
    ]
    layers.append(_normal(99, (channels, outputs)))
    return Case(apply_fn, layers, (length, channels), n, (-1,) if traced else ())


CASES: dict[str, Callable[[], Case]] = {
    "dense 256, 10 outputs, full": lambda: dense(64, 256, 256, 10, n=32, traced=False),
    "dense 256, 10 outputs, traced": lambda: dense(64, 256, 256, 10, n=32, traced=True),
    "dense 256, 1 output": lambda: dense(64, 256, 256, 1, n=32, traced=True),
    "dense 64, 200 outputs, full": lambda: dense(64, 64, 64, 200, n=8, traced=False),
    "dense 8, 200 examples": lambda: dense(4, 8, 8, 1, n=200, traced=True),
    "8x8 places, pooled, full": lambda: convolutional(8, 16, 10, n=8, pool=True, traced=False),
    "8x8 places, flat, traced": lambda: convolutional(8, 16, 10, n=8, pool=False, traced=True),
    "4x4 places, 64 channels": lambda: convolutional(4, 64, 1, n=8, pool=True, traced=True),
    "16x16 places, 8 channels": lambda: convolutional(16, 8, 1, n=16, pool=True, traced=True),
    "attention 16 x 32, traced": lambda: attention(16, 32, 10, n=8, traced=True),
    "attention 4 x 64, full": lambda: attention(4, 64, 3, n=8, traced=False),
}
QUICK = ("dense 8, 200 examples", "4x4 places, 64 channels")


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Times of all implementations, taking turns, and what AUTO chose.

    Raises:
      RuntimeError: AUTO's program is none of the three.
    """
    x1, x2 = (_normal(seed, (case.n, *case.shape)) for seed in (5, 6))
    functions, programs = {}, {}
    for which in NtkImplementation:
        ntk_fn = jax.jit(
            empirical_ntk_fn(case.apply_fn, case.trace_axes, vmap_axes=0, implementation=which)
        )
        lowered = ntk_fn.lower(x1, x2, case.params)
        programs[which.name] = lowered.as_text()
        compiled = lowered.compile()
        if which != NtkImplementation.AUTO:
            functions[which.name] = lambda compiled=compiled: compiled(x1, x2, case.params)
    automatic = programs.pop("AUTO")
    same = [name for name, program in programs.items() if program == automatic]
    if not same:
        raise RuntimeError("AUTO runs a program that none of the implementations has")
    rows = timing.summarise(timing.alternate(functions, rounds=rounds), same[0])
    fastest = min(rows, key=lambda name: rows[name]["median_ms"])
    return {
        "median_ms": {name: row["median_ms"] for name, row in rows.items()},
        "chosen": same[0],
        "fastest": fastest,
        "loss": rows[same[0]]["median_ms"] / rows[fastest]["median_ms"],
    }


def main() -> None:
    """Measure, print a line a network, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two networks, few rounds")
    parser.add_argument("--rounds", type=int, help="measured rounds (15)")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 15)
    results = {}
    for name in QUICK if arguments.quick else CASES:
        results[name] = row = measure(CASES[name](), rounds)
        times = ", ".join(f"{which} {ms:.2f} ms" for which, ms in row["median_ms"].items())
        print(f"{name:30s} {times}; chosen {row['chosen']}, loss {row['loss']:.2f}", flush=True)
    command = "python -m benchmarks.empirical_ntk" + " --quick" * arguments.quick
    command += f" --rounds {arguments.rounds}" if arguments.rounds else ""
    result = {
        "benchmark": "empirical_ntk",
        "dtype": "float32",
        "networks": results,
        "provenance": timing.provenance(command),
    }
    print(timing.write("empirical_ntk" + "_quick" * arguments.quick, result, arguments.out))


if __name__ == "__main__":
    main()
