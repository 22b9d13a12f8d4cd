"""Memory of a kernel that would not fit: pooled Myrtle-5 on 32x32 images, killed and resumed.

Question: A network that pools holds covariances of all pairs of places: 32^4 of them, 8 MiB with
NNGP and NTK, for each pair of images. Does the kernel of 256 x 256 images, half a terabyte of them,
run in 8 GB of memory, with progress, and go on after a kill -9?

Command: `python -m benchmarks.pooled_myrtle` (`--quick`: 16 images of 8x8)
Time: 8 minutes on 2 CPU cores; --quick under a minute.
Expected result: results/<device>/pooled_myrtle.json: peak resident memory of every process under 1
GB; what was done at the kill is kept; entries equal those of the kernel function itself to 1e-5.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks import timing
from farwide.progress import counting_progress
from theory import describe, stax, stream_kernel

NAME = "pooled_myrtle"
KILL_AT = 0.3  # of all entries
MEMORY = 8e9  # bytes that must be enough


def myrtle5() -> stax.Layer:
    """Five convolutions with ReLU, two 2x2 poolings and one of all places (Shankar et al. 2020)."""

    def conv():
        return stax.serial(stax.Conv(1, (3, 3), W_std=2**0.5, padding="SAME"), stax.Relu())

    def pool():
        return stax.AvgPool((2, 2), strides=(2, 2))

    return stax.serial(
        conv(), conv(), pool(), conv(), pool(), conv(), conv(), stax.GlobalAvgPool(), stax.Dense(1)
    )


def images(count: int, size: int) -> np.ndarray:
    """(count, size, size, 3), unit variance, smoothed a little as images are."""
    noise = np.random.default_rng(0).standard_normal((count, size, size, 3))
    smooth = noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2) + np.roll(noise, (1, 1), (1, 2))
    return (smooth / 2).astype(np.float32)


def work(folder: Path, count: int, size: int, batch_size: int, sync_seconds: float) -> None:
    """The job of one process: prints entries done and in all as they reach the disk."""

    def report(done: int, total: int) -> None:
        print(done, total, flush=True)

    x = images(count, size)
    stream_kernel(
        myrtle5().kernel_fn, folder, x, None, ("nngp", "ntk"), batch_size=batch_size,
        progress=report, sync_seconds=sync_seconds,
    )  # fmt: skip
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def run_once(arguments: list[str], kill_at: float | None, progress: Callable) -> dict[str, Any]:
    """One process of the job, killed when that part of the entries is done."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{NAME}", "--work", *arguments],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    found: dict[str, Any] = {"killed": False, "peak_bytes": 0}
    for line in process.stdout:
        word, number = line.split()
        if word == "peak":
            found["peak_bytes"] = int(number)
            continue
        done, total = int(word), int(number)
        found.setdefault("entries_before", done)
        found.setdefault("seconds_to_start", time.perf_counter() - start)
        found |= {"entries_after": done, "entries": total}
        progress(done, total)
        if kill_at is not None and kill_at * total <= done < total:
            found["peak_bytes"] = _peak(process.pid)
            process.kill()
            found["killed"] = True
            break
    code = process.wait()
    if code != 0 and not found["killed"]:
        raise SystemExit(f"the job ended with status {code}")
    return found | {"seconds": time.perf_counter() - start}


def _peak(pid: int) -> int:
    """Peak resident bytes of a running process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def check(folder: Path, x: np.ndarray) -> float:
    """Largest error of four blocks of entries against the kernel function, over their size."""
    kernel_fn, worst = myrtle5().kernel_fn, 0.0
    last = len(x) - 2
    for rows, columns in ((0, 0), (0, last), (last, 0), (len(x) // 2, last)):
        a, b = x[rows : rows + 2], x[columns : columns + 2]
        expected = kernel_fn(a, None if rows == columns else b, ("nngp", "ntk"))
        for name in ("nngp", "ntk"):
            whole = np.load(folder / f"{name}.npy", mmap_mode="r")
            held = whole[rows : rows + 2, columns : columns + 2]
            wanted = np.asarray(getattr(expected, name))
            worst = max(worst, float(np.abs(held - wanted).max() / np.abs(wanted).max()))
    return worst


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole job: begun, killed, resumed, checked."""
    console = Console()
    count, size, batch_size = options.images, options.size, options.batch_size
    cost = describe(myrtle5().kernel_fn, (count, size, size, 3))
    print(cost)
    folder = Path(options.folder or tempfile.mkdtemp(prefix=NAME))
    arguments = ["--folder", str(folder), "--images", str(count), "--size", str(size)]
    arguments += ["--batch-size", str(batch_size)] + ["--quick"] * options.quick
    with counting_progress(console, "entries", "entries") as progress:
        runs = [run_once(arguments, KILL_AT, progress)]
        if runs[0]["killed"]:
            runs.append(run_once(arguments, None, progress))
    error = check(folder, images(count, size))
    if options.folder is None:
        shutil.rmtree(folder)
    seconds, peak = sum(run["seconds"] for run in runs), max(run["peak_bytes"] for run in runs)
    pairs = count * (count + 1) // 2
    console.print(
        f"{seconds:.0f} s, {1e3 * seconds / pairs:.2f} ms a pair of images; peak resident memory "
        f"{peak / 1e6:.0f} MB; largest relative error of the entries compared {error:.1e}"
    )
    if error > 1e-5 or peak > MEMORY:
        raise SystemExit(f"missed: error {error:.1e} (aim 1e-5), {peak / 1e9:.1f} GB (aim 8)")
    return {
        "images": count,
        "shape": [size, size, 3],
        "batch_size": batch_size,
        "all_pairs_of_places_bytes": count**2 * size**4 * 8,
        "estimated_work_bytes": cost.tile_bytes,
        "peak_bytes": peak,
        "seconds": seconds,
        "ms_a_pair": 1e3 * seconds / pairs,
        "largest_error": error,
        "runs": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, default=32, help="height and width, a multiple of 4")
    parser.add_argument("--batch-size", type=int, default=16, help="images a side of a tile")
    parser.add_argument("--folder", type=Path, help="kept; a temporary one where not given")
    parser.add_argument("--quick", action="store_true", help="16 images of 8x8")
    parser.add_argument("--out", type=Path, default=timing.RESULTS)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.images, options.size, options.batch_size = 16, 8, 2
    if options.work:
        work(
            options.folder,
            options.images,
            options.size,
            options.batch_size,
            0.0 if options.quick else 5.0,
        )
        return
    result = measure(options)
    command = f"python -m benchmarks.{NAME}" + " --quick" * options.quick
    path = timing.write(NAME, {"provenance": timing.provenance(command)} | result, options.out)
    print("wrote", path)


if __name__ == "__main__":
    main()
