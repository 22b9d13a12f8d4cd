"""The gated long convolution on a GPU: correctness, times, peers and the floor, in one command.

Question: on this device, is every backend right, and how far from the floor of memory traffic is
    it, beside torch.fft (complex and real), plain jnp.fft and the published FlashFFTConv? bfloat16,
    gated, causal, N = 256 to 4M, B = 64, H = 768 (fewer where memory asks, which is recorded),
    forward and forward plus backward.
Command: `python -m benchmarks.long_conv_gpu [--out DIR] [--lengths N ...] [--only NAME ...]
    [--append] [--rounds N] [--smoke]`, from a bare checkout with PYTHONPATH=src:.
Time: about 20 minutes on one H100 (an estimate: not measured); a minute with --smoke on a CPU.
Expected result: OUT/<device>/long_conv_gpu.json (OUT is benchmarks/results unless given) and a
    table; no error above its limit; ours within 2x of the floor to 8K and 3x at 32K.

Each implementation runs in a process of its own, so that one that crashes or hangs costs its own
length alone, and is recorded. With little time at hand, take a few --lengths at a time with
--append. A call too large for memory is timed with fewer channels, and scaled. Needs jax and numpy;
PyTorch where present. Without a GPU it refuses; --smoke runs all of it at toy size, kernels
interpreted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.long_conv_peers import (
    NAMES,
    PASSES,
    TORCH,
    Problem,
    errors,
    jax_timer,
    measure,
    torch_timer,
)
from kernels_pallas.long_conv import cost
from kernels_pallas.long_conv.api import Call

LENGTHS = tuple(1 << p for p in range(8, 23))
FULL, SMOKE = Problem(64, 768, 0), Problem(2, 2, 0)
LARGEST_SIGNAL = 3.3e9  # bytes of one operand to begin with; halved while memory is short
LIMITS = {"float32": 1e-6, "bfloat16": 8e-3}  # relative L2
H100_BANDWIDTH = 3.0e12  # bytes/s, of the published floors; other devices: what a copy reaches
PUBLISHED = {  # FlashFFTConv on an H100, gated, forward, ms (Fu et al. 2023)
    256: 0.11, 1024: 0.29, 4096: 1.43, 8192: 3.58, 16384: 12.2, 32768: 26.3, 1 << 20: 1769.0,
    4 << 20: 10049.0,
}  # fmt: skip
SECONDS_A_LENGTH = 240.0
ROOT = Path(__file__).resolve().parents[1]


def call_of(problem: Problem) -> Call:
    """The static facts that bytes are counted from."""
    return Call(
        batch=problem.batch, channels=problem.channels, length=problem.length,
        taps=problem.length, future_taps=0, dtype=problem.dtype, mode="causal", layout="BCL",
        has_spectrum=False, has_skip=False, has_pre_gate=True, has_post_gate=True,
    )  # fmt: skip


def floor_ms(problem: Problem, bandwidth: float) -> dict[str, float]:
    """Compulsory bytes over bandwidth, for both passes."""
    forward, backward = (cost.expected_bytes(call_of(problem), backward=b) for b in (False, True))
    return {
        name: 1e3 * cost.floor_seconds(moved, 0, bandwidth, math.inf)
        for name, moved in zip(PASSES, (forward, forward + backward), strict=True)
    }


def halved(problem: Problem) -> Problem | None:
    """Fewer channels, down to 16, then fewer signals; None when there is nothing left to halve."""
    if problem.channels > 16:
        return problem._replace(channels=problem.channels // 2)
    if problem.batch > 1:
        return problem._replace(batch=problem.batch // 2)
    return None


def out_of_memory(error: Exception) -> bool:
    """Whether an exception speaks of memory."""
    text = f"{type(error).__name__} {error}".lower()
    return any(words in text for words in ("resource_exhausted", "out of memory", "outofmemory"))


def reason(error: BaseException) -> str:
    """One line of an exception."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def device_facts(smoke: bool) -> dict[str, Any]:
    """What a result says of where it comes from, and the rate of a large copy in bytes/s."""
    import jax
    import jax.numpy as jnp

    size = 1 << (20 if smoke else 30)
    source = jnp.zeros((size // 4,), jnp.float32)
    copy = jax.jit(lambda a: a + 1)

    def timed(calls: int) -> float:
        start, result = time.perf_counter(), source
        for _ in range(calls):
            result = copy(source)
        jax.block_until_ready(result)
        return (time.perf_counter() - start) / calls

    milliseconds = measure(timed, 5)["median_ms"]
    return {
        "platform": jax.devices()[0].platform,
        "provenance": timing.provenance(""),
        "copy_bytes_per_s": 2 * size / (1e-3 * milliseconds),
    }


def one_length(name: str, length: int, rounds: int, smoke: bool) -> dict[str, Any]:
    """Errors and times of one implementation at one length; whatever fails is written down."""
    result: dict[str, Any] = {"errors": {}}
    small = Problem(3, 4, length) if length <= 1 << 16 else Problem(1, 2, length)
    for dtype in LIMITS if name not in TORCH else ():
        try:
            result["errors"][dtype] = errors(name, small._replace(dtype=dtype), interpret=smoke)
        except Exception as error:
            result["errors"][dtype] = reason(error)
    full = (SMOKE if smoke else FULL)._replace(length=length)
    for label in PASSES:
        problem: Problem | None = full
        while problem is not None and 2 * math.prod(problem[:3]) > LARGEST_SIGNAL:
            problem = halved(problem)
        while problem is not None:
            try:
                backward = label != "forward"
                timed = (
                    torch_timer(name, problem, backward)
                    if name in TORCH
                    else jax_timer(name, problem, backward, interpret=smoke)
                )
                row = measure(timed, rounds)
            except Exception as error:
                result[label] = {"error": reason(error), "problem": problem._asdict()}
                problem = halved(problem) if out_of_memory(error) else None
                continue
            scale = math.prod(full[:2]) / math.prod(problem[:2])
            row["scaled_ms"] = scale * row["median_ms"]
            result[label] = {**row, "problem": problem._asdict()}
            break
    return result


def work(name: str, lengths: Iterable[int], rounds: int, smoke: bool, path: Path) -> None:
    """The worker: a JSON line a length, appended to `path` as each is done."""
    for length in lengths:
        try:
            result = one_length(name, length, rounds, smoke)
        except Exception as error:
            result = {"error": reason(error)}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"length": length, "result": result}) + "\n")


def collect(
    command: Callable[[list[int], Path], list[str]], lengths: list[int], env: dict[str, str]
) -> dict[int, dict[str, Any]]:
    """Results by length from workers in processes of their own; a dead one is started again.

    Args:
      command: (lengths, path) -> the command of a worker that does them and writes to the path.
      lengths: what is to be done.
      env: the workers' environment.
    """
    done: dict[int, dict[str, Any]] = {}
    while missing := [n for n in lengths if n not in done]:
        with tempfile.TemporaryDirectory() as folder:
            path, log = Path(folder) / "results.jsonl", Path(folder) / "log"
            with log.open("wb") as file:
                try:
                    ended = subprocess.run(
                        command(missing, path), stdout=file, stderr=subprocess.STDOUT, env=env,
                        timeout=SECONDS_A_LENGTH * len(missing), check=False, cwd=ROOT,
                    ).returncode  # fmt: skip
                    why = f"the process ended with status {ended}"
                except subprocess.TimeoutExpired as expired:
                    why = f"no end after {expired.timeout:.0f} s"
            for line in path.read_text().splitlines() if path.exists() else ():
                row = json.loads(line)
                done[row["length"]] = row["result"]
            still = [n for n in missing if n not in done]
            if still:
                tail = " ".join(log.read_text(errors="replace").split())[-400:]
                done[still[0]] = {"error": f"{why}: {tail}"}
    return done


def worker_environment(name: str) -> dict[str, str]:
    """PyTorch's workers keep JAX off the GPU; the others take nearly all of its memory."""
    if name in TORCH:
        return {**os.environ, "JAX_PLATFORMS": "cpu"}
    return {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92", **os.environ}


def show(name: str, length: int, result: dict[str, Any], floor: dict[str, float]) -> None:
    """Print one implementation at one length."""
    if "error" in result:
        print(f"{length:>8} {name:<14} {result['error']}", flush=True)
        return
    for label in PASSES:
        row = result[label]
        text = row.get("error") or (
            f"{row['scaled_ms']:>10.3f} ms  {row['scaled_ms'] / floor[label]:>7.2f} x floor"
        )
        print(f"{length:>8} {name:<14} {label:<17} {text}", flush=True)
    for dtype, found in result["errors"].items():
        if isinstance(found, str):
            print(f"{length:>8} {name:<14} {dtype} {found}", flush=True)
        elif max(found.values()) > LIMITS[dtype]:
            over = {n: e for n, e in found.items() if e > LIMITS[dtype]}
            print(f"{length:>8} {name:<14} {dtype} ABOVE {LIMITS[dtype]:.0e}: {over}", flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_conv_gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the JSON file")
    parser.add_argument("--lengths", type=int, nargs="+", help="these lengths instead of all")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these alone")
    parser.add_argument("--append", action="store_true", help="add to the JSON file that is there")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds a function")
    parser.add_argument("--smoke", action="store_true", help="toy size, kernels interpreted")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, or one of its workers, from the command line; the exit status."""
    options = parse(argv)
    lengths = options.lengths or ((256, 512) if options.smoke else LENGTHS)
    rounds = min(2, options.rounds) if options.smoke else options.rounds
    if options.worker == "device":
        options.path.write_text(
            json.dumps({"length": 0, "result": device_facts(options.smoke)}) + "\n"
        )
        return 0
    if options.worker:
        work(options.worker, lengths, rounds, options.smoke, options.path)
        return 0

    def command(name: str) -> Callable[[list[int], Path], list[str]]:
        module = [sys.executable, "-m", "benchmarks.long_conv_gpu"]
        flags = ["--rounds", str(rounds), *(["--smoke"] if options.smoke else [])]
        return lambda todo, path: [
            *module, "--worker", name, "--path", str(path), *flags, "--lengths", *map(str, todo)
        ]  # fmt: skip

    facts = collect(command("device"), [0], dict(os.environ))[0]
    if "error" in facts:
        print(f"JAX did not start on this device: {facts['error']}", file=sys.stderr)
        return 2
    provenance = facts["provenance"]
    if facts["platform"] == "cpu" and not options.smoke:
        print("JAX sees no GPU here; run this where there is one, or --smoke.", file=sys.stderr)
        return 2
    is_h100 = "h100" in provenance["device"]
    bandwidth = H100_BANDWIDTH if is_h100 else facts["copy_bytes_per_s"]
    given = [a for a in (sys.argv[1:] if argv is None else argv) if a]
    provenance["command"] = " ".join(["python -m benchmarks.long_conv_gpu", *given])
    path = options.out / provenance["device"] / "long_conv_gpu.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"lengths": {}}
    if options.append and path.exists():
        result = json.loads(path.read_text())
        if result["provenance"]["commit"] != provenance["commit"]:
            print(f"{path} is of another commit; not appended to", file=sys.stderr)
            return 2
    result |= {
        "provenance": provenance,
        "floor_bytes_per_s": bandwidth,
        "copy_bytes_per_s": facts["copy_bytes_per_s"],
        "limits": LIMITS,
        "note": "scaled_ms: to the full problem, from the problem that fits; errors: relative L2",
    }
    for name in options.only:
        done = collect(command(name), list(lengths), worker_environment(name))
        for length, found in done.items():
            full = (SMOKE if options.smoke else FULL)._replace(length=length)
            entry = result["lengths"].setdefault(str(length), {"implementations": {}})
            entry |= {"problem": full._asdict(), "floor_ms": floor_ms(full, bandwidth)}
            if is_h100 and length in PUBLISHED:
                entry["published_flashfftconv_forward_ms"] = PUBLISHED[length]
            entry["implementations"][name] = found
            show(name, length, found, entry["floor_ms"])
        path.write_text(json.dumps(result, indent=1) + "\n")  # after each: a cut run keeps these
    print("wrote", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
