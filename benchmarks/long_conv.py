"""Long convolution against FFT convolution padded to 2N in jnp, SciPy, and PyTorch where present.

Question: what does the XLA path gain on this machine over what one would write by hand? Forward and
    forward plus backward (gradients of u and k, and of skip and gates where the case has them;
    SciPy forward only) on `kernels_pallas.long_conv.cases.BENCHMARKS`, float32.
Command: `python -m benchmarks.long_conv [--quick] [--out DIR] [--rounds N] [--only NAME ...]
    [--torch-threads N]`
Time: about 3 minutes on 2 CPU cores, 30 s with --quick.
Expected result: OUT/<device>/long_conv.json (OUT is benchmarks/results unless given), and a table
    in which ours is the fastest or near it; docs/long_conv.md says where it is not.

FFTs on CPU are single-threaded in JAX and SciPy; PyTorch gets one thread too unless told otherwise,
since its idle workers spin and would slow down whoever runs next. Times at N <= 1K depend on the
heap; to fix it for everybody set, before the start,
    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from benchmarks import timing
from kernels_pallas import long_conv
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


def jax_functions(case: Case, arrays: Arrays, *, backward: bool) -> dict[str, Callable[[], Any]]:
    """Our convolution and the plain jnp one, compiled."""
    on_device = {name: jnp.asarray(value) for name, value in arrays.items()}
    weight = jnp.asarray(operands(case, seed=1)["u"])

    def jnp_padded(case: Case, arrays: Arrays) -> jax.Array:
        return padded(case, arrays, jnp.fft.rfft, jnp.fft.irfft)

    def compiled(function: Callable) -> Callable[[], Any]:
        def run(arrays: Arrays, weight: jax.Array) -> Any:
            if not backward:
                return function(case, arrays)
            y, pull = jax.vjp(lambda a: function(case, a), arrays)
            return y, pull(weight)[0]

        jitted = jax.jit(run)
        return lambda: jitted(on_device, weight)

    return {"ours": compiled(ours), "jnp rfft 2N": compiled(jnp_padded)}


def scipy_function(case: Case, arrays: Arrays) -> Callable[[], Any]:
    """The padded convolution in SciPy, forward."""
    return lambda: padded(case, arrays, scipy.fft.rfft, scipy.fft.irfft)


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
    expected = scipy_function(case, wide)()
    y = np.asarray(ours(case, {name: jnp.asarray(v) for name, v in arrays.items()}), np.float64)
    return float(np.linalg.norm(y - expected) / np.linalg.norm(expected))


def measure(case: Case, rounds: int, with_torch: bool) -> dict[str, Any]:
    """All timings of one case, with the error of our result."""
    arrays = operands(case)
    entry: dict[str, Any] = {"case": case._asdict(), "relative_l2_error": check(case, arrays)}
    for backward, label in ((False, "forward"), (True, "forward+backward")):
        functions = jax_functions(case, arrays, backward=backward)
        if not backward:
            functions["scipy"] = scipy_function(case, arrays)
        if with_torch:
            functions["torch"] = torch_function(case, arrays, backward=backward)
        seconds = timing.alternate(functions, rounds=rounds)
        entry[label] = timing.summarise(seconds, "ours")
        entry[label + " load_average"] = os.getloadavg()[0]
    return entry


def show(name: str, entry: dict[str, Any]) -> None:
    """Print one case as lines of a plain table."""
    for label in ("forward", "forward+backward"):
        for peer, row in entry[label].items():
            print(
                f"{name:<9} {label:<17} {peer:<12} {row['median_ms']:>9.2f} ms"
                f"  [{row['low_ms']:.2f}, {row['high_ms']:.2f}]  {row['ratio_to_ours']:>5.2f}x",
                flush=True,
            )


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
    parser.add_argument("--torch-threads", type=int, default=1, help="threads for PyTorch")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), help="these cases only")
    options = parser.parse_args(argv)
    names = options.only or (QUICK if options.quick else BENCHMARKS)
    with_torch = importlib.util.find_spec("torch") is not None
    if with_torch:
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(options.torch_threads)
    if not any(name in os.environ for name in timing.HEAP_SETTINGS):
        print("Heap settings are the system's own: times at N <= 1K swing (see the docstring).")
    print(f"{'case':<9} {'pass':<17} {'who':<12} {'median':>12}  [quartiles]  time over ours")
    entries = {}
    for name in names:
        entries[name] = measure(BENCHMARKS[name], options.rounds, with_torch)
        show(name, entries[name])
    flags = (" --quick" if options.quick else "") + f" --rounds {options.rounds}"
    flags += f" --torch-threads {options.torch_threads}" if with_torch else ""
    flags += " --only " + " ".join(map(repr, options.only)) if options.only else ""
    result = {
        "provenance": timing.provenance("python -m benchmarks.long_conv" + flags),
        "threads": {"jax": os.cpu_count(), "scipy": 1, "torch": options.torch_threads},
        "note": "A shared machine: read the ratios, which alternate within a round, before times.",
        "cases": entries,
    }
    print("wrote", timing.write("long_conv", result, options.out))


if __name__ == "__main__":
    main()
