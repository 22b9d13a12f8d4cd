"""Cost of the kernels of long-convolution networks.

Question: Is a convolution along the diagonals of covariances 5 times faster than the sum over lags
at 1024 places? How long takes the NNGP of three blocks on 2000 sequences of 64, or 500 of 256, and
what does an entry cost, NNGP and NTK?

Command: `python -m benchmarks.long_conv_kernel` (`--quick`: a few sequences)
Time: 12 minutes on 2 shared CPU cores; --quick under a minute.
Expected result: results/<device>/long_conv_kernel.json: ratio of the sum over lags at 1024 above 5;
each whole kernel within 10 minutes, in tiles, with a progress bar.

The floor: 4 L flops an entry (the product of an L x L matrix with a sheared plane of twice the
size; half of each is zeros), 256 at 64 places: 1.6 ns at the 160 GFLOP/s of two AVX2 cores at
2.5 GHz.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from benchmarks import timing
from farwide.progress import counting_progress
from kernels_pallas import long_conv
from theory import stax, stream_kernel
from theory.stax.diagonals import along_diagonals

NAME = "long_conv_kernel"
PLACES = {16: 2048, 64: 256, 256: 16, 512: 4, 1024: 1}  # and pairs of examples, 4 MB or less
WHOLE = {64: 2000, 256: 500}  # places and sequences of the whole kernels
BAR_RATIO, BAR_SECONDS = 5.0, 600.0


def profile(places: int) -> np.ndarray:
    """Variances that fall by e over a quarter of the length, power 1."""
    v = np.exp(-np.arange(places) / (places / 4))
    return v / v.sum()


def network(places: int) -> stax.Layer:
    """Three blocks of a long convolution, a mixing of channels and a ReLU; the mean; a readout."""
    block = (stax.LongConv(profile(places)), stax.Dense(1, 2**0.5, 0.1), stax.Relu())
    start = (stax.Dense(1, 2**0.5, 0.1), stax.Relu())
    return stax.serial(*start, *block * 3, stax.GlobalAvgPool(), stax.Dense(1))


def sum_over_lags(K: jax.Array, v: jax.Array) -> jax.Array:
    """sum_s v(s) K(t - s, t' - s), one shifted plane after another."""
    at = jnp.arange(K.shape[0])

    def step(total, lag):
        s, weight = lag
        inside = (at[:, None, None] >= s) & (at[:, None] >= s)
        shifted = jnp.roll(K, (s, s), (0, 1))
        return total + weight * jnp.where(inside, shifted, 0), None

    return jax.lax.scan(step, jnp.zeros_like(K), (at, v))[0]


def diagonals(places: int, pairs: int, rounds: int) -> dict[str, Any]:
    """Nanoseconds an entry of the three ways, and that they agree."""
    K = jax.random.normal(jax.random.key(0), (places, places, pairs))
    v = profile(places)
    lags = np.concatenate([np.zeros(places - 1), v])
    taps = jnp.asarray(v, jnp.float32)
    ways = {
        "matrix": jax.jit(lambda k: along_diagonals(k, lags, 1, None)),
        "long_conv operator": jax.jit(lambda k: along_diagonals(k, lags, 1, long_conv)),
        "sum over lags": jax.jit(lambda k: sum_over_lags(k, taps)),
    }
    results = {name: np.asarray(way(K)) for name, way in ways.items()}
    exact = results["sum over lags"]
    errors = {k: float(np.abs(r - exact).max() / np.abs(exact).max()) for k, r in results.items()}
    calls = {name: (lambda way=way: way(K)) for name, way in ways.items()}
    seconds = timing.alternate(calls, rounds=rounds, warmup=1)
    rows = timing.summarise(seconds, "matrix")
    for name, row in rows.items():
        row["ns_an_entry"] = row["median_ms"] * 1e6 / (places**2 * pairs)
        row["difference"] = errors[name]
    return {"places": places, "pairs": pairs, "ways": rows}


def entries(places: int, count: int) -> float:
    """Covariances of places, over pairs of sequences on and above the diagonal."""
    return places**2 * count * (count + 1) / 2


def an_entry(places: int, count: int) -> dict[str, Any]:
    """Nanoseconds an entry (all blocks) of the NNGP and of both kernels, without compilation."""
    x = np.random.default_rng(0).standard_normal((count, places, 1)).astype(np.float32)
    kernel_fn = network(places).kernel_fn
    found: dict[str, Any] = {"places": places, "sequences": count}
    programs = {
        name: jax.jit(lambda a, get=get: kernel_fn(a, None, get)).lower(x).compile()
        for name, get in (("nngp", "nngp"), ("nngp and ntk", ("nngp", "ntk")))
    }
    calls = {name: (lambda run=run: run(x)) for name, run in programs.items()}
    for name, times in timing.alternate(calls, rounds=5, warmup=1).items():
        found[name] = 1e9 * float(np.median(times)) / entries(places, count)
    return found


def whole(places: int, count: int) -> dict[str, Any]:
    """The NNGP of `count` sequences, streamed to disk in tiles, compilation included."""
    x = np.random.default_rng(1).standard_normal((count, places, 1)).astype(np.float32)
    start = time.perf_counter()
    label = f"{count} sequences of {places}"
    with (
        tempfile.TemporaryDirectory() as folder,
        counting_progress(Console(), label, "entries") as progress,
    ):
        kernel = stream_kernel(
            network(places).kernel_fn, folder, x, None, "nngp", batch_size=100, progress=progress
        )
        seconds = time.perf_counter() - start
        corner = np.array(kernel[:100, :100])
    expected = np.asarray(network(places).kernel_fn(x[:100], None, "nngp"))
    return {
        "places": places,
        "sequences": count,
        "seconds": seconds,
        "ns_an_entry": 1e9 * seconds / entries(places, count),
        "largest_error": float(np.abs(corner - expected).max() / np.abs(expected).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few sequences")
    parser.add_argument("--out", type=Path, default=timing.RESULTS)
    options = parser.parse_args()
    rounds, shrink = (3, 40) if options.quick else (9, 1)
    lines = [diagonals(places, pairs, rounds) for places, pairs in PLACES.items()]
    single = [an_entry(places, max(2, WHOLE[places] // 10 // shrink)) for places in WHOLE]
    kernels = [whole(places, count // shrink) for places, count in WHOLE.items()]
    for row in lines:
        costs = ", ".join(f"{k} {w['ns_an_entry']:.1f} ns" for k, w in row["ways"].items())
        ratio = row["ways"]["sum over lags"]["ratio_to_ours"]
        print(f"{row['places']} places: {costs} an entry; sum over lags {ratio:.1f} times slower")
    for row in single:
        print(
            f"three blocks, {row['places']} places: NNGP {row['nngp']:.1f} ns an entry, "
            f"with the NTK {row['nngp and ntk']:.1f} ns"
        )
    for row in kernels:
        print(
            f"NNGP of {row['sequences']} sequences of {row['places']}: {row['seconds']:.0f} s, "
            f"{row['ns_an_entry']:.1f} ns an entry"
        )
    result = {"diagonals": lines, "entries": single, "whole": kernels}
    provenance = timing.provenance(f"python -m benchmarks.{NAME}" + " --quick" * options.quick)
    print("wrote", timing.write(NAME, {"provenance": provenance} | result, options.out))
    if options.quick:
        return
    ratio = lines[-1]["ways"]["sum over lags"]["ratio_to_ours"]
    slowest = max(row["seconds"] for row in kernels)
    if ratio < BAR_RATIO or slowest > BAR_SECONDS:
        raise SystemExit(f"missed: ratio {ratio:.1f} (bar 5), {slowest:.0f} s (bar 600)")


if __name__ == "__main__":
    main()
