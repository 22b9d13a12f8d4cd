"""Kernels of random finite networks, averaged."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
from jax import Array

from theory.batching import batch
from theory.empirical.implementation import NtkImplementation
from theory.empirical.kernel import NAMES, canonical_get, empirical_kernel_fn, named_tuple

Tree = Any
STDERR = "_stderr"
ACCEPTED = (*NAMES, *(name + STDERR for name in NAMES))


def monte_carlo_kernel_fn(
    init_fn: Callable[..., Any],
    apply_fn: Callable[..., Tree],
    key: Array,
    n_samples: int | Sequence[int],
    batch_size: int = 0,
    device_count: int = -1,
    store_on_device: bool = True,
    trace_axes: int | Sequence[int] = (-1,),
    diagonal_axes: int | Sequence[int] = (),
    vmap_axes: Any = None,
    implementation: NtkImplementation | int = NtkImplementation.AUTO,
) -> Callable[..., Any]:
    """The NNGP and the NTK of a network, averaged over random parameters.

        K = (1/n) sum over i <= n of K_i,    stderr = sqrt(sum (K_i - K)² / (n (n - 1)))

    Args:
      init_fn: (key, input shape) -> (output shape, params).
      apply_fn: (params, x, **kwargs) -> outputs; it is handed a key `rng` if it takes one.
      key: a PRNG key; sample i is drawn with a key of its own, so that estimates from more samples
        contain those from fewer.
      n_samples: networks to draw; or several numbers, of each of which an estimate is given.
      batch_size, device_count, store_on_device: as of `theory.batch`; every tile has the same
        network.
      trace_axes, diagonal_axes, vmap_axes, implementation: as of `empirical_ntk_fn`.

    Returns:
      kernel_fn(x1, x2=None, get=None, **kwargs). `get` as of `empirical_kernel_fn`; besides "nngp"
      and "ntk" also "nngp_stderr" and "ntk_stderr", the standard errors of the averages. Where
      n_samples is several numbers the result is an iterator over results, in increasing order of
      them.

    Raises:
      ValueError: n_samples or `get` is not as described; standard errors of one sample.
      TypeError: n_samples is no int and no collection of them.
    """
    counts = _counts(n_samples)
    generates = not isinstance(n_samples, int)
    once = empirical_kernel_fn(apply_fn, trace_axes, diagonal_axes, vmap_axes, implementation)
    if batch_size or not store_on_device or (device_count and len(jax.local_devices()) > 1):
        once = batch(once, batch_size, device_count, store_on_device)
    takes_rng = _takes(apply_fn, "rng")

    @partial(jax.jit, static_argnums=1)
    def draw(init_key: Array, shape: Tree) -> Tree:
        return init_fn(init_key, shape)[1]

    def samples(x1: Tree, x2: Tree, names: tuple[str, ...], kwargs: dict[str, Any]) -> Iterator:
        shape = _shapes(x1)
        for i in range(counts[-1]):
            init_key, rng = jax.random.split(jax.random.fold_in(key, i))
            own = {"rng": rng} if takes_rng else {}
            yield once(x1, x2, names, draw(init_key, shape), **own, **kwargs)

    def estimates(x1: Tree, x2: Tree, names: tuple[str, ...], kwargs: dict[str, Any]) -> Iterator:
        wanted = tuple(dict.fromkeys(name.removesuffix(STDERR) for name in names))
        result = named_tuple("MonteCarloKernel", names)
        mean = spread = None
        for n, sample in enumerate(samples(x1, x2, wanted, kwargs), start=1):
            if mean is None:
                mean, spread = sample, jax.tree.map(lambda k: 0 * k, sample)
            else:  # Welford's recurrences
                step = jax.tree.map(lambda k, m: k - m, sample, mean)
                mean = jax.tree.map(lambda m, d, n=n: m + d / n, mean, step)
                spread = jax.tree.map(lambda s, d, n=n: s + d * d * ((n - 1) / n), spread, step)
            if n in counts:
                scale = 1 / (n * (n - 1)) if n > 1 else math.nan
                error = jax.tree.map(lambda s, c=scale: (s * c) ** 0.5, spread)

                def pick(m: Any, e: Any) -> Any:
                    return result(
                        *(
                            getattr(e if name.endswith(STDERR) else m, name.removesuffix(STDERR))
                            for name in names
                        )
                    )

                yield jax.tree.map(pick, mean, error, is_leaf=_is_result)

    def kernel_fn(
        x1: Tree,
        x2: Tree | None = None,
        get: str | Sequence[str] | None = None,
        **apply_fn_kwargs,
    ) -> Any:
        names = canonical_get(get, ACCEPTED)
        if counts[0] == 1 and any(name.endswith(STDERR) for name in names):
            raise ValueError("n_samples must be at least 2 for standard errors, got 1")
        found = estimates(x1, x2, names, apply_fn_kwargs)
        if isinstance(get, str):
            single = partial(jax.tree.map, lambda k: k[0], is_leaf=_is_result)
            found = map(single, found)
        return found if generates else next(iter(found))

    return kernel_fn


def _is_result(tree: Any) -> bool:
    return isinstance(tree, tuple) and set(getattr(tree, "_fields", ("",))) <= set(ACCEPTED)


def _counts(n_samples: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(n_samples, int) and not isinstance(n_samples, bool):
        given = (n_samples,)
    elif isinstance(n_samples, Iterable):
        given = tuple(n_samples)
    else:
        kind = type(n_samples).__name__
        raise TypeError(f"n_samples must be an int or several of them, got {kind}")
    if not given or not all(type(n) is int and n > 0 for n in given):
        raise ValueError(f"n_samples must be positive ints, got {n_samples!r}")
    return tuple(sorted(set(given)))


def _shapes(x: Tree) -> Tree:
    """The shapes of inputs, hashable: tuples in tuples."""
    if isinstance(x, list | tuple):
        return tuple(_shapes(part) for part in x)
    return tuple(x.shape)


def _takes(fn: Callable[..., Any], name: str) -> bool:
    """Whether a function takes a keyword argument."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(
        p.kind is inspect.Parameter.VAR_KEYWORD or (p.name == name and p.kind in kinds)
        for p in parameters
    )
