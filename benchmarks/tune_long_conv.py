"""Tile sizes of the long convolution's kernels, measured on the device they are for.

Question: for each transform that one program takes, which factors, batch tile, warps and stages are
    the fastest on this device, and by how much over the backend's rule of thumb?
Command: `python -m benchmarks.tune_long_conv [--tables DIR] [--backend NAME] [--sizes N ...]
    [--dtypes NAME ...] [--rounds N] [--smoke]`, from a bare checkout with PYTHONPATH=src:.
Time: about 10 minutes on a GPU (an estimate: not measured), most of it compilation.
Expected result: DIR/<device>.json (DIR is kernels_pallas/long_conv/tiles unless given), which
    `kernels_pallas.long_conv.tiles` reads, and a line a transform with both times.

One thing is varied at a time, in the order factors, warps, batch tile, stages, from the rule of
thumb on; the candidates of a step take turns within a round (benchmarks/timing.py), and the fastest
median goes on. A candidate that does not compile is left out. Refuses on a CPU, where nothing it
measures would mean anything; --smoke runs it there, interpreted, at toy size.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import jax

from benchmarks import timing
from kernels_pallas.long_conv import tiles
from kernels_pallas.long_conv.kernel import Static, Tile

BACKENDS = {"gpu": "triton", "tpu": "mosaic_tpu", "cpu": "triton"}  # by platform
SIZES = tuple(1 << p for p in range(8, 16))
DTYPES = ("bfloat16", "float32")
BATCH, CHANNELS = 64, 768
LEAST_FACTOR, MOST_FACTOR = 16, 256
LARGEST_SIGNAL = 1 << 30  # bytes of one operand; fewer channels where it would be more
CALLS = 10  # a measurement: queued one after another, the last one waited for


def factorings(size: int) -> list[tuple[int, ...]]:
    """`size` as two or three powers of two from 16 to 256, in every order."""
    powers = [1 << p for p in range(4, 9)]
    two = [(a, size // a) for a in powers if size % a == 0]
    three = [(a, b, size // (a * b)) for a in powers for b in powers if size % (a * b) == 0]
    return [f for f in two + three if LEAST_FACTOR <= f[-1] <= MOST_FACTOR]


def steps(
    first: Tile, size: int, batch: int, warps: bool
) -> Iterator[Callable[[Tile], list[Tile]]]:
    """For each thing to vary, the candidates around the best tile so far."""
    yield lambda best: [best, *(best._replace(factors=f) for f in factorings(size))]
    if warps:
        yield lambda best: [best, *(best._replace(warps=w) for w in (1, 2, 4, 8, 16, 32))]
    powers = sorted({first.batch_tile, *(1 << p for p in range(batch.bit_length()))})
    yield lambda best: [best, *(best._replace(batch_tile=b) for b in powers)]
    if warps:
        yield lambda best: [best, *(best._replace(stages=s) for s in (1, 2, 3))]


def channels_of(size: int, dtype: str) -> int:
    """768 channels, halved while a signal is too large."""
    channels = CHANNELS
    while BATCH * channels * size * jax.numpy.dtype(dtype).itemsize > LARGEST_SIGNAL:
        channels //= 2
    return channels


def operands(static: Static, backward: bool) -> tuple[jax.Array, ...]:
    """Normal signals and gates, a spectrum, no skip; with a cotangent for the backward pass."""
    keys = jax.random.split(jax.random.key(0), 6)
    shape, filters = (static.batch, static.channels, static.length), (static.channels, static.size)
    u, pre, post, g = (jax.random.normal(key, shape, static.dtype) for key in keys[:4])
    s_re, s_im = (jax.random.normal(key, filters) for key in keys[4:])
    return (u, s_re, s_im, pre, post, *((g,) if backward else ()))


def runner(module: Any, static: Static, tile: Tile, backward: bool, arrays: tuple) -> Callable:
    """A compiled, warmed run of CALLS calls; raises where the tile cannot be compiled."""
    function = module.adjoint if backward else module.convolve

    @jax.jit
    def one(u, s_re, s_im, pre, post, *g):
        return function(static, u, s_re, s_im, None, pre, post, *g, tile=tile)

    def run() -> Any:
        result = None
        for _ in range(CALLS):
            result = one(*arrays)
        return result

    jax.block_until_ready(one(*arrays))
    return run


def fastest(
    module: Any, static: Static, backward: bool, rounds: int, most: int | None
) -> dict[str, Any]:
    """The best tile of one transform, and its time beside the heuristic's, in ms a call."""
    arrays = operands(static, backward)
    first = module.default_tile(static, backward)
    best, times, refused = first, {}, {}
    has_warps = "triton" in module.__name__
    for step in steps(first, static.size, static.batch, has_warps):
        candidates = list(dict.fromkeys([first, *step(best)]))[:most]
        runs = {}
        for tile in candidates:
            if tile in refused:
                continue
            try:
                runs[tile] = runner(module, static, tile, backward, arrays)
            except Exception as error:
                refused[tile] = f"{type(error).__name__}: {str(error)[:200]}"
        if not runs:
            raise RuntimeError(f"no tile of {static.size} points compiles: {refused}")
        named = {str(tile): run for tile, run in runs.items()}
        rows = timing.summarise(timing.alternate(named, rounds=rounds), next(iter(named)))
        times = {tile: rows[str(tile)]["median_ms"] / CALLS for tile in runs}
        best = min(times, key=times.__getitem__)
    return {
        "tile": best,
        "tuned_ms": times[best],
        "heuristic_ms": times.get(first),
        "heuristic": first._asdict(),
        "refused": len(refused),
    }


def main(argv: list[str] | None = None) -> int:
    """Tune from the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tune_long_conv",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tables", type=Path, default=tiles.TABLES, help="folder of the table")
    parser.add_argument("--backend", help="triton or mosaic_tpu; the platform's own unless given")
    parser.add_argument("--sizes", type=int, nargs="+", help="points of the transforms")
    parser.add_argument("--dtypes", nargs="+", default=DTYPES, help="of the signals")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds a step")
    parser.add_argument("--smoke", action="store_true", help="toy size, interpreted")
    options = parser.parse_args(argv)
    device = jax.devices()[0]
    if device.platform == "cpu" and not options.smoke:
        print(
            "JAX sees only a CPU here, and tiles are measured on the device they are for; run this "
            "on a GPU or a TPU, or --smoke.",
            file=sys.stderr,
        )
        return 2
    if options.smoke and options.tables == tiles.TABLES:
        print("--smoke measures nothing of use; give it --tables of its own.", file=sys.stderr)
        return 2
    backend = options.backend or BACKENDS.get(device.platform, "triton")
    module = import_module(f"kernels_pallas.long_conv.{backend}")
    if "tile" not in inspect.signature(module.convolve).parameters:
        print(f"--backend {backend} takes no tile; there is nothing to tune.", file=sys.stderr)
        return 2
    sizes = options.sizes or ((256,) if options.smoke else SIZES)
    entries = []
    for size in sizes:
        for dtype in options.dtypes:
            for backward in (False, True):
                shape = (2, 2) if options.smoke else (BATCH, channels_of(size, dtype))
                static = Static(*shape, size, size, True, dtype, interpret=options.smoke)
                tune = partial(fastest, module, static, backward)
                try:
                    found = tune(1, 2) if options.smoke else tune(options.rounds, None)
                except Exception as error:
                    print(f"{size} {dtype} backward={backward}: {error}", file=sys.stderr)
                    continue
                key = {"backend": backend, "size": size, "dtype": dtype, "backward": backward}
                entries.append({**key, **found, "batch": shape[0], "channels": shape[1]})
                print(key, found["tile"], f"{found['tuned_ms']:.3f} ms", found["heuristic_ms"])
    given = sys.argv[1:] if argv is None else argv
    provenance = timing.provenance(" ".join(["python -m benchmarks.tune_long_conv", *given]))
    print("wrote", tiles.save(device.device_kind, provenance, entries, options.tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
