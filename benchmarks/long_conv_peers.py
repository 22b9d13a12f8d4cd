"""The gated causal convolution by every library, on the device, with float64 on the host to check.

    y = post * conv(k, pre * u),   u, pre, post (batch, channels, length), k float32

Ours by implementation name; `jnp`: a real FFT padded to 2N; `torch complex`, `torch real`: the
FFTs of PyTorch padded to 2N, in float32 (complex is the baseline of Fu et al. 2023,
"FlashFFTConv").
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels_pallas import long_conv

OURS = ("xla", "triton", "mosaic_gpu")
TORCH = ("torch complex", "torch real")
NAMES = (*OURS, "jnp", *TORCH)
PASSES = ("forward", "forward+backward")
SIGNALS = ("u", "pre", "post")
ROUND_SECONDS, MOST_CALLS = 0.02, 50  # a round is as many calls as take this long


class Problem(NamedTuple):
    """The shape of one gated convolution."""

    batch: int
    channels: int
    length: int
    dtype: str = "bfloat16"


def host_arrays(problem: Problem, seed: int = 0) -> dict[str, np.ndarray]:
    """Float64 arrays on the host: u, pre, post, the cotangent g, and decaying taps k."""
    rng = np.random.default_rng(seed)
    shape = (problem.batch, problem.channels, problem.length)
    decay = np.exp(-4 * np.arange(problem.length) / problem.length)
    made = {name: rng.standard_normal(shape) for name in (*SIGNALS, "g")}
    made["k"] = rng.standard_normal((problem.channels, problem.length)) * decay
    return made


def exact(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """y and the gradients of sum(g y) in NumPy float64, by real FFTs of 2N."""
    a = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
    n = a["u"].shape[-1]
    x, gc = a["pre"] * a["u"], a["post"] * a["g"]
    fx, fg, fk = (np.fft.rfft(z, 2 * n) for z in (x, gc, a["k"]))

    def back(z: np.ndarray) -> np.ndarray:
        return np.fft.irfft(z, 2 * n)[..., :n]

    c, dx = back(fx * fk), back(fg * fk.conj())
    return {
        "y": a["post"] * c,
        "u": a["pre"] * dx,
        "pre": a["u"] * dx,
        "post": a["g"] * c,
        "k": back((fg * fx.conj()).sum(0)),
    }


def jax_convolution(name: str, interpret: bool = False) -> Callable[..., jax.Array]:
    """(u, pre, post, k) -> y by one of our implementations, or by plain jnp."""
    if name == "jnp":
        return jnp_padded
    if name == "xla":
        return lambda u, pre, post, k: long_conv(
            u, k, pre_gate=pre, post_gate=post, implementation="xla"
        )
    forward = import_module(f"kernels_pallas.long_conv.{name}").forward
    return lambda u, pre, post, k: forward(
        u, k, None, None, pre, post, mode="causal", layout="BCL", interpret=interpret
    )


def jnp_padded(u: jax.Array, pre: jax.Array, post: jax.Array, k: jax.Array) -> jax.Array:
    """What one would write by hand: a real FFT of 2N in float32."""
    n = u.shape[-1]
    x = u.astype(jnp.float32) * pre.astype(jnp.float32)
    y = jnp.fft.irfft(jnp.fft.rfft(x, 2 * n) * jnp.fft.rfft(k, 2 * n), 2 * n)[..., :n]
    return (y * post.astype(jnp.float32)).astype(u.dtype)


def with_gradients(convolve: Callable) -> Callable:
    """(u, pre, post, k, g) -> y and the gradients of u, pre, post, k."""

    def both(u, pre, post, k, g):
        y, pull = jax.vjp(convolve, u, pre, post, k)
        return y, pull(g)

    return both


def errors(name: str, problem: Problem, interpret: bool = False) -> dict[str, float]:
    """Relative L2 error of y and of each gradient against float64 on the host."""
    made = host_arrays(problem)
    placed = {
        n: jnp.asarray(a, jnp.float32 if n == "k" else problem.dtype) for n, a in made.items()
    }
    expected = exact({n: np.asarray(a.astype(jnp.float32)) for n, a in placed.items()})
    y, slopes = jax.jit(with_gradients(jax_convolution(name, interpret)))(
        *(placed[n] for n in (*SIGNALS, "k", "g"))
    )
    results = {"y": y, **dict(zip((*SIGNALS, "k"), slopes, strict=True))}
    return {
        n: float(
            np.linalg.norm(np.asarray(a.astype(jnp.float32), np.float64) - expected[n])
            / np.linalg.norm(expected[n])
        )
        for n, a in results.items()
    }


def jax_timer(
    name: str, problem: Problem, backward: bool, interpret: bool = False
) -> Callable[[int], float]:
    """calls -> seconds a call, the calls queued and the last one waited for."""

    @jax.jit
    def operands(key: jax.Array) -> tuple[jax.Array, ...]:
        shape = (problem.batch, problem.channels, problem.length)
        keys = jax.random.split(key, 5)
        k = jax.random.normal(keys[3], shape[1:]) / np.sqrt(problem.length)
        signals = [jax.random.normal(keys[i], shape, problem.dtype) for i in (0, 1, 2)]
        return (*signals, k, *([jax.random.normal(keys[4], shape, problem.dtype)] * backward))

    convolve = jax_convolution(name, interpret)
    run = jax.jit(with_gradients(convolve) if backward else convolve)
    placed = jax.block_until_ready(operands(jax.random.key(0)))

    def timed(calls: int) -> float:
        start = time.perf_counter()
        result = None
        for _ in range(calls):
            result = run(*placed)
        jax.block_until_ready(result)
        return (time.perf_counter() - start) / calls

    return timed


def torch_convolution(name: str) -> Callable:
    """(u, pre, post, k) -> y by PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    def convolve(u: Any, pre: Any, post: Any, k: Any) -> Any:
        n = u.shape[-1]
        x = u.float() * pre.float()
        if name == "torch real":
            y = torch.fft.irfft(torch.fft.rfft(x, 2 * n) * torch.fft.rfft(k, 2 * n), 2 * n)
        else:
            y = torch.fft.ifft(torch.fft.fft(x, 2 * n) * torch.fft.fft(k, 2 * n)).real
        return (y[..., :n] * post.float()).to(u.dtype)

    return convolve


def torch_timer(name: str, problem: Problem, backward: bool) -> Callable[[int], float]:
    """calls -> seconds a call, between CUDA events where there is a GPU."""
    import torch  # pyright: ignore[reportMissingImports]

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, problem.dtype)
    torch.manual_seed(0)
    shape = (problem.batch, problem.channels, problem.length)
    tensors = [torch.randn(shape, device=device, dtype=dtype) for _ in SIGNALS]
    tensors.append(torch.randn(shape[1:], device=device) / np.sqrt(problem.length))
    g = torch.randn(shape, device=device, dtype=dtype) if backward else None
    convolve = torch_convolution(name)
    for tensor in tensors:
        tensor.requires_grad_(backward)

    def run() -> Any:
        if not backward:
            with torch.no_grad():
                return convolve(*tensors)
        y = convolve(*tensors)
        return y, torch.autograd.grad(y, tensors, g)

    return torch_clock(run, device)


def torch_clock(run: Callable[[], Any], device: str) -> Callable[[int], float]:
    """A function from a number of calls to their mean seconds, by the device's own clock."""
    import torch  # pyright: ignore[reportMissingImports]

    def timed(calls: int) -> float:
        if device == "cpu":
            start = time.perf_counter()
            for _ in range(calls):
                run()
            return (time.perf_counter() - start) / calls
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(calls):
            run()
        last.record()
        torch.cuda.synchronize()
        return 1e-3 * first.elapsed_time(last) / calls

    return timed


def measure(timed: Callable[[int], float], rounds: int) -> dict[str, float]:
    """Median and quartiles over rounds in ms a call, the first call (compilation) apart."""
    first = timed(1)
    once = timed(1)
    calls = max(1, min(MOST_CALLS, int(ROUND_SECONDS / max(once, 1e-9))))
    times = sorted(timed(calls) for _ in range(rounds))
    return {
        "median_ms": 1e3 * median(times),
        "low_ms": 1e3 * times[len(times) // 4],
        "high_ms": 1e3 * times[(3 * len(times)) // 4 - (len(times) % 4 == 0)],
        "rounds": rounds,
        "calls_a_round": calls,
        "first_call_s": first,
    }
