"""Long convolution against FFT convolution padded to 2N in jnp, SciPy, and PyTorch where present.

Question: what does the XLA path gain on this machine over what one would write by hand? Forward and
    forward plus backward (gradients of u and k, and of skip and gates where the case has them;
    SciPy forward only) on `kernels_pallas.long_conv.cases.BENCHMARKS`, float32.
Command: `python -m benchmarks.long_conv [--threads 1|2] [--devices N] [--quick] [--out DIR]
    [--rounds N] [--only NAME ...]`
Time: about 6 minutes on 2 CPU cores, 30 s with --quick.
Expected result: OUT/<device>/long_conv_<threads>t[_<devices>d].json (OUT is benchmarks/results
    unless given), and a table in which ours is the fastest or near it; docs/long_conv.md says where
    it is not.

--threads binds the process to so many cores and gives PyTorch and SciPy as many threads; XLA's FFT
on CPU has one whatever it is given. --devices splits the cores into host devices and times ours
with the channels sharded over them too. `floor` is the part of our time that the compulsory memory
traffic takes at the speed of a large copy, `GFLOP/s` counts our transforms (see
kernels_pallas/long_conv/cost.py); `temp` is what the compiled forward and backward allocate beside
operands and results, for ours and for plain jnp. Times at N <= 1K depend on the heap, and those of
PyTorch and jnp at every N; to fix it for everybody set, before the start,
    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks import timing
from kernels_pallas import long_conv, long_conv_sharded
from kernels_pallas.long_conv import cost
from kernels_pallas.long_conv.api import Call
from kernels_pallas.long_conv.cases import BENCHMARKS, QUICK, Case

Arrays = dict[str, Any]


def operands(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal float32 arrays by argument name."""
    rng = np.random.default_rng(seed)
    signal = (case.batch, case.channels, case.length)
    if case.layout == "BLC":
        signal = (case.batch, case.length, case.channels)
    shapes: dict[str, tuple[int, ...]] = {"u": signal, "k": (case.channels, case.taps)}
    for name, present in (("pre_gate", case.pre_gate), ("post_gate", case.post_gate)):
        if present:
            shapes[name] = signal
    if case.skip:
        shapes["skip"] = (case.channels,)
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def padded(case: Case, arrays: Arrays, rfft: Callable, irfft: Callable) -> Any:
    """The causal convolution with a real FFT of 2N, by any library's rfft and irfft."""
    blc = case.layout == "BLC"
    x = arrays["u"] * arrays["pre_gate"] if case.pre_gate else arrays["u"]
    z = x.swapaxes(1, 2) if blc else x
    size = 2 * case.length
    y = irfft(rfft(z, size) * rfft(arrays["k"], size), size)[..., : case.length]
    y = y.swapaxes(1, 2) if blc else y
    if case.skip:
        y = y + (arrays["skip"] if blc else arrays["skip"][:, None]) * x
    return y * arrays["post_gate"] if case.post_gate else y


def ours(case: Case, arrays: Arrays) -> jax.Array:
    """`long_conv` on the case."""
    return long_conv(**arrays, mode=case.mode, layout=case.layout)


def jax_functions(case: Case, arrays: Arrays, *, backward: bool) -> dict[str, Any]:
    """Our convolution (also sharded, where there are devices) and the plain jnp one, compiled."""
    device = jax.devices()[0]
    arrays = {**arrays, "weight": operands(case, seed=1)["u"]}
    on_one = {name: jax.device_put(value, device) for name, value in arrays.items()}

    def jnp_padded(case: Case, arrays: Arrays) -> jax.Array:
        return padded(case, arrays, jnp.fft.rfft, jnp.fft.irfft)

    def compiled(function: Callable, placed: Arrays) -> Callable[[], Any]:
        def run(arrays: Arrays, weight: jax.Array) -> Any:
            if not backward:
                return function(case, arrays)
            y, pull = jax.vjp(lambda a: function(case, a), arrays)
            return y, pull(weight)[0]

        given = {n: a for n, a in placed.items() if n != "weight"}
        program = jax.jit(run).lower(given, placed["weight"]).compile()
        return Compiled(program, given, placed["weight"])

    functions = {"ours": compiled(ours, on_one), "jnp rfft 2N": compiled(jnp_padded, on_one)}
    if len(jax.devices()) > 1:
        mesh = jax.make_mesh((len(jax.devices()),), ("x",), axis_types=(AxisType.Auto,))
        functions["ours sharded"] = compiled(partial(sharded, mesh), spread(case, arrays, mesh))
    return functions


class Compiled(NamedTuple):
    """A compiled program and what it is called with."""

    program: Any
    arrays: Arrays
    weight: jax.Array

    def __call__(self) -> Any:
        return self.program(self.arrays, self.weight)

    def temporary_bytes(self) -> int:
        """What it allocates beside operands and results."""
        return self.program.memory_analysis().temp_size_in_bytes


def sharded(mesh: Mesh, case: Case, arrays: Arrays) -> jax.Array:
    """`long_conv_sharded` over channels."""
    options: dict[str, Any] = {"mode": case.mode, "layout": case.layout}
    return long_conv_sharded(**arrays, mesh=mesh, channel_axis="x", **options)


def spread(case: Case, arrays: Arrays, mesh: Mesh) -> Arrays:
    """The arrays on the mesh's devices, split over channels."""
    signal = P(None, "x", None) if case.layout == "BCL" else P(None, None, "x")
    return {
        name: jax.device_put(a, NamedSharding(mesh, P("x") if name in ("k", "skip") else signal))
        for name, a in arrays.items()
    }


def scipy_function(case: Case, arrays: Arrays, threads: int) -> Callable[[], Any]:
    """The padded convolution in SciPy, forward."""
    rfft = partial(scipy.fft.rfft, workers=threads)
    irfft = partial(scipy.fft.irfft, workers=threads)
    return lambda: padded(case, arrays, rfft, irfft)


def torch_function(case: Case, arrays: Arrays, *, backward: bool) -> Callable[[], Any]:
    """The padded convolution in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    tensors = {n: torch.tensor(v, requires_grad=backward) for n, v in arrays.items()}
    weight = torch.tensor(operands(case, seed=1)["u"])

    def run() -> Any:
        if not backward:
            with torch.no_grad():
                padded(case, tensors, torch.fft.rfft, torch.fft.irfft)
            return None
        y = padded(case, tensors, torch.fft.rfft, torch.fft.irfft)
        torch.autograd.grad(y, list(tensors.values()), weight)
        return None

    return run


def check(case: Case, arrays: Arrays) -> float:
    """Relative L2 distance of our result from SciPy's in float64."""
    wide = {name: value.astype(np.float64) for name, value in arrays.items()}
    expected = scipy_function(case, wide, 1)()
    y = np.asarray(ours(case, {name: jnp.asarray(v) for name, v in arrays.items()}), np.float64)
    return float(np.linalg.norm(y - expected) / np.linalg.norm(expected))


def measure(case: Case, rounds: int, threads: int, bandwidth: float) -> dict[str, Any]:
    """All timings of one case, with the error of our result, its floor and its memory."""
    arrays = operands(case)
    entry: dict[str, Any] = {"case": case._asdict(), "relative_l2_error": check(case, arrays)}
    for backward, label in ((False, "forward"), (True, "forward+backward")):
        functions = jax_functions(case, arrays, backward=backward)
        if backward:
            entry["temporary_bytes"] = {n: f.temporary_bytes() for n, f in functions.items()}
        else:
            functions["scipy"] = scipy_function(case, arrays, threads)
        if importlib.util.find_spec("torch") is not None:
            functions["torch"] = torch_function(case, arrays, backward=backward)
        pause = 0.01 if threads > 1 else 0.0  # PyTorch's idle workers spin for a while
        rows = timing.summarise(timing.alternate(functions, rounds=rounds, pause=pause), "ours")
        seconds = 1e-3 * rows["ours"]["median_ms"]
        entry[label] = rows
        entry[label + " floor"] = {
            "fraction": work(case, cost.expected_bytes, backward) / bandwidth / seconds,
            "gflop_per_s": 1e-9 * work(case, flops, backward) / seconds,
        }
        entry[label + " load_average"] = os.getloadavg()[0]
    return entry


def flops(call: Call, *, backward: bool = False) -> int:
    """Operations of the XLA path."""
    return cost.expected_flops(call, implementation="xla", backward=backward)


def work(case: Case, of: Callable[..., int], backward: bool) -> int:
    """Bytes or operations of the forward pass, or of both."""
    gates = case.skip, case.pre_gate, case.post_gate
    call = Call(
        *case[:5], dtype="float32", mode=case.mode, layout=case.layout, has_spectrum=False,
        has_skip=gates[0], has_pre_gate=gates[1], has_post_gate=gates[2],
    )  # fmt: skip
    return of(call) + (of(call, backward=True) if backward else 0)


def copy_bandwidth() -> float:
    """Bytes a second of a large copy, read and written, by one thread."""
    source = np.ones(1 << 24, np.float32)
    target = np.empty_like(source)
    seconds = timing.alternate({"copy": lambda: np.copyto(target, source)}, rounds=9)["copy"]
    return 2 * source.nbytes / median(seconds)


def show(name: str, entry: dict[str, Any]) -> None:
    """Print one case as lines of a plain table."""
    for label in ("forward", "forward+backward"):
        for peer, row in entry[label].items():
            print(
                f"{name:<9} {label:<17} {peer:<12} {row['median_ms']:>9.2f} ms"
                f"  [{row['low_ms']:.2f}, {row['high_ms']:.2f}]  {row['ratio_to_ours']:>5.2f}x",
                flush=True,
            )
        floor = entry[label + " floor"]
        print(f"{'':<27} floor {floor['fraction']:.0%}, {floor['gflop_per_s']:.1f} GFLOP/s")
    memory = {n: f"{b / 2**20:.1f} MB" for n, b in entry["temporary_bytes"].items()}
    print(f"{'':<27} temp {memory}", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_conv",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the JSON file")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds a case")
    parser.add_argument("--threads", type=int, default=1, help="cores, for everybody")
    parser.add_argument("--devices", type=int, default=1, help="host devices of JAX")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), help="these cases only")
    options = parser.parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    if len(cores) < options.threads:
        parser.error(f"--threads is {options.threads}; this process has {len(cores)} cores")
    os.sched_setaffinity(0, cores)  # before JAX makes its thread pool
    jax.config.update("jax_num_cpu_devices", options.devices)
    names = options.only or (QUICK if options.quick else BENCHMARKS)
    if importlib.util.find_spec("torch") is not None:
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(options.threads)
    if not any(name in os.environ for name in timing.HEAP_SETTINGS):
        print("Heap settings are the system's own: times swing with it (see the docstring).")
    print(f"{'case':<9} {'pass':<17} {'who':<12} {'median':>12}  [quartiles]  time over ours")
    entries, bandwidth = {}, copy_bandwidth()
    for name in names:
        entries[name] = measure(BENCHMARKS[name], options.rounds, options.threads, bandwidth)
        show(name, entries[name])
    flags = (" --quick" if options.quick else "") + f" --rounds {options.rounds}"
    flags += f" --threads {options.threads}"
    flags += f" --devices {options.devices}" if options.devices > 1 else ""
    flags += " --only " + " ".join(map(repr, options.only)) if options.only else ""
    result = {
        "provenance": timing.provenance("python -m benchmarks.long_conv" + flags),
        "threads": options.threads,
        "host_devices": options.devices,
        "copy_bytes_per_s": bandwidth,
        "note": "A shared machine: read the ratios, which alternate within a round, before times.",
        "cases": entries,
    }
    name = f"long_conv_{options.threads}t" + (f"_{options.devices}d" if options.devices > 1 else "")
    if not any(setting in os.environ for setting in timing.HEAP_SETTINGS):
        name += "_default_heap"
    print("wrote", timing.write(name, result, options.out))


if __name__ == "__main__":
    main()
