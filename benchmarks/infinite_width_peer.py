"""Infinite-width workloads by one library, in a process of its own that is told when to run.

The same text runs on theory and on neural_tangents: `--library` names the module that is imported
as `nt`. The second needs an environment of its own (tests/golden/requirements.txt), whose
interpreter is given to benchmarks.infinite_width as --peer; so this file imports neither farwide
nor theory unless it is asked to.

Question: how long does one library take for one workload?
Command: `python -m benchmarks.infinite_width_peer --library theory`, by benchmarks.infinite_width
Time: as long as it is asked to work.
Expected result: answers to what it reads. A line of JSON in, a line out:

    {"prepare": workload, "sizes": {..}}  ->  {"first_s": .., "outputs": [..]}
    {"run": workload}                     ->  {"seconds": ..}
    {"versions": true}                    ->  {"neural_tangents": "0.6.5", "jax": .., ..}

`first_s` is the first call: tracing, compilation and one run. `outputs` are a few sums, by which
the two libraries are seen to compute the same.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
import types
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Thunk = Callable[[], Any]
BOTH = ("nngp", "ntk")


def fully_connected(nt: Any, *, n: int, features: int, same: bool) -> Thunk:
    """NNGP and NTK of 4 hidden ReLU layers, n x n."""
    s = nt.stax
    hidden = [layer for _ in range(4) for layer in (s.Dense(512, 1.4, 0.1), s.Relu())]
    return kernel_of(s.serial(*hidden, s.Dense(1))[2], (n, features), same)


def myrtle(nt: Any, *, n: int, side: int, same: bool) -> Thunk:
    """NNGP and NTK of Myrtle-5 with global pooling, n x n images (Shankar et al. 2020)."""
    s = nt.stax

    def conv() -> tuple[Any, ...]:
        return s.Conv(512, (3, 3), (1, 1), "SAME", 2**0.5, 0.1), s.Relu()

    pool = s.AvgPool((2, 2), (2, 2))
    layers = [*conv(), *conv(), pool, *conv(), pool, *conv(), s.GlobalAvgPool(), s.Dense(10)]
    return kernel_of(s.serial(*layers)[2], (n, side, side, 3), same)


def strided(nt: Any, *, n: int, side: int, same: bool) -> Thunk:
    """NNGP and NTK of three convolutions of stride 2 and Flatten, n x n images."""
    s = nt.stax
    convs = [
        layer
        for _ in range(3)
        for layer in (s.Conv(512, (3, 3), (2, 2), "SAME", 2**0.5, 0.1), s.Relu())
    ]
    return kernel_of(s.serial(*convs, s.Flatten(), s.Dense(10))[2], (n, side, side, 3), same)


def kernel_of(kernel_fn: Any, shape: tuple[int, ...], same: bool) -> Thunk:
    """A jitted kernel function on two draws of `shape`, or on one and itself."""
    rng = np.random.RandomState(0)
    x1, x2 = (jnp.asarray(rng.standard_normal(shape)) for _ in range(2))
    if same:
        run = jax.jit(lambda x: kernel_fn(x, None, BOTH))
        return lambda: run(x1)
    run_two = jax.jit(lambda x, y: kernel_fn(x, y, BOTH))
    return lambda: run_two(x1, x2)


def empirical(nt: Any, *, n: int, width: int, traced: bool, implementation: str) -> Thunk:
    """The NTK of a finite network of 3 hidden ReLU layers and 10 outputs, n x n."""
    s = nt.stax
    hidden = [layer for _ in range(3) for layer in (s.Dense(width, 1.4, 0.1), s.Relu())]
    init_fn, apply_fn, _ = s.serial(*hidden, s.Dense(10))
    rng = np.random.RandomState(0)
    _, params = init_fn(jax.random.PRNGKey(0), (-1, width))
    params = jax.tree_util.tree_map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), params)
    x1, x2 = (jnp.asarray(rng.standard_normal((n, width))) for _ in range(2))
    ntk_fn = nt.empirical_ntk_fn(
        apply_fn,
        trace_axes=(-1,) if traced else (),
        vmap_axes=0,
        implementation=nt.NtkImplementation[implementation],
    )
    run = jax.jit(lambda x, y, p: ntk_fn(x, y, p))
    return lambda: run(x1, x2, params)


def ensemble(nt: Any, *, n: int, n_test: int, t: float | None) -> Thunk:
    """Mean and covariance of an ensemble's predictions at time t, of a kernel prepared before."""
    s = nt.stax
    kernel_fn = s.serial(
        s.Dense(512, 1.4, 0.1), s.Relu(), s.Dense(512, 1.4, 0.1), s.Relu(), s.Dense(1)
    )[2]
    rng = np.random.RandomState(0)
    x, x_test = (jnp.asarray(rng.standard_normal((m, 20))) for m in (n, n_test))
    y = jnp.sin(x[:, :1] + x[:, 1:2] ** 2)
    predict_fn = nt.predict.gradient_descent_mse_ensemble(
        jax.jit(kernel_fn, static_argnames="get"), x, y, diag_reg=1e-4
    )
    return lambda: predict_fn(t=t, x_test=x_test, get=BOTH, compute_cov=True)


WORKLOADS = {
    "fully_connected": fully_connected,
    "myrtle": myrtle,
    "strided": strided,
    "empirical": empirical,
    "ensemble": ensemble,
}


def sums(outputs: Any) -> list[float]:
    """The sum and the sum of squares of every array of a result."""
    arrays = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(outputs)]
    return [float(f(a)) for a in arrays for f in (np.sum, lambda a: np.sum(a * a))]


def timed(thunk: Thunk) -> tuple[float, Any]:
    """Seconds of one call, its result waited for."""
    start = time.perf_counter()
    result = jax.block_until_ready(thunk())
    return time.perf_counter() - start, result


def serve(nt: Any, requests: Any, answers: Any) -> None:
    """Answer requests until there are none."""
    ready: dict[str, Thunk] = {}
    jax.block_until_ready(jax.jit(jnp.sin)(jnp.ones(3)))  # start the backend
    for line in requests:
        request = json.loads(line)
        if "prepare" in request:
            name, sizes = request["prepare"], dict(request["sizes"])
            ready[name] = WORKLOADS[sizes.pop("workload")](nt, **sizes)
            seconds, result = timed(ready[name])
            answer: dict[str, Any] = {"first_s": seconds, "outputs": sums(result)}
        elif "run" in request:
            answer = {"seconds": timed(ready[request["run"]])[0]}
        elif "forget" in request:
            del ready[request["forget"]]
            jax.clear_caches()
            answer = {}
        else:
            answer = versions(nt)
        print(json.dumps(answer), file=answers, flush=True)


def versions(nt: Any) -> dict[str, str]:
    """Versions of the library, JAX, NumPy and Python."""
    named = {m.__name__: str(getattr(m, "__version__", "")) for m in (nt, jax, np)}
    return {**named, "python": platform.python_version()}


def main() -> None:
    """Import the library, and serve standard input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--library", choices=("theory", "neural_tangents"), required=True)
    library = parser.parse_args().library
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    warnings.simplefilter("ignore")
    if library == "neural_tangents":  # it would import TensorFlow for this module
        sys.modules["neural_tangents.experimental"] = types.ModuleType("experimental")
    jax.config.update("jax_enable_x64", True)
    serve(importlib.import_module(library), sys.stdin, answers)


if __name__ == "__main__":
    main()
