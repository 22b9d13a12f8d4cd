"""The forms of the XLA long convolution against one another: where config.py has its thresholds.

Question: from how many taps, at which lengths and on how much memory does each form pay? Three
    tables, float32: `taps` (shift-and-add, real FFT, half-length FFT), `sizes` (transforming at a
    rough length or padding it to a smooth one), `walks` (on CPU: lanes, and the bytes of a block).
Command: `python -m benchmarks.long_conv_forms [--out DIR] [--rounds N] [--only TABLE ...]`
Time: about 4 minutes on 2 CPU cores.
Expected result: OUT/<device>/long_conv_forms.json, and crossings near the thresholds in
    kernels_pallas/long_conv/config.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from kernels_pallas.long_conv import bilinear, blocks, config, xla

TAPS_AT = ((256, 8, 64), (1024, 8, 64), (4096, 4, 32), (16384, 2, 32))  # length, batch, channels
SIZES = (253, 255, 286, 323, 509, 1001, 1021, 4083, 4093, 4094, 8191, 17017)
WALKS_AT = (  # length, batch, channels
    *((256, 8, 128), (1024, 8, 128), (2048, 8, 128), (4096, 8, 128), (8192, 4, 128)),
    *((16384, 4, 128), (32768, 4, 64), (65536, 2, 64), (131072, 2, 32), (262144, 2, 16)),
    *((524288, 2, 8), (1048576, 2, 4)),
)
LONGEST_LANE, SHORTEST_LANE, MOST_LANES = 1 << 17, 1 << 10, 16
BLOCK_BYTES = (1 << 18, 1 << 20, 1 << 22)


def normal(*shape: int, seed: int = 0) -> jax.Array:
    """Standard normal float32 numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def transformed(form: str, size: int, **walk: int) -> Callable:
    """(u, k) -> y by one form at one size."""
    operation = blocks.of_taps(form, size, **walk)
    return lambda u, k: bilinear.apply(operation, u, (k,))


def shifted(u: jax.Array, k: jax.Array) -> jax.Array:
    """(u, k) -> y by shift-and-add."""
    return xla.shifts("causal", 2, u, k, None)


def medians(functions: dict[str, Callable], u: jax.Array, k: jax.Array, rounds: int, label: str):
    """Median ms of each function, forward or forward+backward."""
    g = normal(*u.shape, seed=1)

    def compiled(function: Callable) -> Callable[[], Any]:
        def both(u: jax.Array, k: jax.Array, g: jax.Array) -> Any:
            y, pull = jax.vjp(function, u, k)
            return y, pull(g)

        if label == "forward":
            return partial(jax.jit(function), u, k)
        return partial(jax.jit(both), u, k, g)  # a g of its own, or its transform is shared with u

    seconds = timing.alternate({n: compiled(f) for n, f in functions.items()}, rounds=rounds)
    rows = timing.summarise(seconds, next(iter(seconds)))
    row = {name: round(values["median_ms"], 3) for name, values in rows.items()}
    print(tuple(u.shape), tuple(k.shape), label, row, flush=True)
    return row


def taps_table(rounds: int) -> list[dict[str, Any]]:
    """Each form at each number of taps."""
    rows = []
    for length, batch, channels in TAPS_AT:
        u = normal(batch, channels, length)
        for taps in (4, 8, 16, 32, 64, 128, length // 2, 3 * length // 4, length):
            k = normal(channels, taps)
            real = config.smooth_size(length + taps - 1)
            functions = {"half": transformed("half", length), "real": transformed("real", real)}
            if taps <= 64:
                functions["shifts"] = shifted
            row: dict[str, Any] = {"length": length, "taps": taps, "real_over_half": real / length}
            for label in ("forward", "forward+backward"):
                row[label] = medians(functions, u, k, rounds, label)
            rows.append(row)
    return rows


def sizes_table(rounds: int) -> list[dict[str, Any]]:
    """A rough length as it is, and padded to a smooth one."""
    rows = []
    for length in SIZES:
        u, k, padded = normal(4, 32, length), normal(32, length), config.smooth_size(length)
        functions = {"as is": transformed("half", length), "padded": transformed("half", padded)}
        row: dict[str, Any] = {"length": length, "padded": padded}
        for label in ("forward", "forward+backward"):
            row[label] = medians(functions, u, k, rounds, label)
        rows.append(row)
    return rows


def walks_table(rounds: int) -> list[dict[str, Any]]:
    """The half-length transform by lanes and by the bytes of a block."""
    rows = []
    for length, batch, channels in WALKS_AT:
        functions: dict[str, Callable] = {}
        seen = set()
        for count in (1 << i for i in range(MOST_LANES.bit_length())):
            if count > 1 and not SHORTEST_LANE <= length // count <= LONGEST_LANE:
                continue
            if count == 1 and length > LONGEST_LANE:
                continue
            for fits in BLOCK_BYTES:
                block = count, config.block(batch, channels, 8 * length, fits)
                if block not in seen:
                    seen.add(block)
                    name = f"{count} lanes, {fits >> 10}K"
                    functions[name] = transformed("half", length, lanes=count, block_bytes=fits)
        row: dict[str, Any] = {"length": length, "batch": batch, "channels": channels}
        u, k = normal(batch, channels, length), normal(channels, length)
        for label in ("forward", "forward+backward"):
            row[label] = medians(functions, u, k, rounds, label)
        rows.append(row)
    return rows


TABLES = {"taps": taps_table, "sizes": sizes_table, "walks": walks_table}


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_conv_forms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the JSON file")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds a row")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    options = parser.parse_args(argv)
    tables = {name: TABLES[name](options.rounds) for name in options.only}
    command = f"python -m benchmarks.long_conv_forms --rounds {options.rounds}"
    command += f" --only {' '.join(options.only)}" if options.only != list(TABLES) else ""
    result = {"provenance": timing.provenance(command), "unit": "ms, median", **tables}
    print("wrote", timing.write("long_conv_forms", result, options.out))


if __name__ == "__main__":
    main()
