"""Problems in kernel form, their exact results, and the run with 16-bit operands, in NumPy.

Nothing here shares code with the kernels: `exact` is the formulas of kernel.py by NumPy's FFT in
float64, `rounded` the same with the transforms done factor by factor, every product's operands
rounded to 16 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels_pallas.long_conv.kernel import Static, Tile
from tests.numerics import assert_accurate, assert_conditioned, assert_rounded, relative_l2

NAMES = ("y", "u", "s_re", "s_im", "skip", "pre", "post")
CEILING = {"bfloat16": {2: 6e-3, 3: 8e-3}, "float16": {2: 7.5e-4, 3: 1e-3}}  # relative L2, by order


class Problem(NamedTuple):
    """A convolution in kernel form, float32 and dense unless it says otherwise."""

    length: int
    size: int
    batch: int = 2
    channels: int = 2
    twisted: bool = True
    dtype: str = "float32"
    kept: int = 1
    blocks: int = 1
    skip: bool = True
    pre: bool = True
    post: bool = True

    @property
    def static(self) -> Static:
        return Static(
            self.batch, self.channels, self.length, self.size, self.twisted, self.dtype,
            self.kept, self.blocks, interpret=True,
        )  # fmt: skip


# For a kernel that takes whole transforms: the problem, and a tile's batch and factors.
ONE_PROGRAM = {
    "order 2, last tile short": (Problem(256, 256, batch=3), 2, (16, 16)),
    "order 2, ragged, bfloat16": (Problem(300, 512, dtype="bfloat16"), 2, (16, 32)),
    "order 3, bfloat16, one gate": (
        Problem(4096, 4096, channels=1, dtype="bfloat16", pre=False),
        2,
        (16, 16, 16),
    ),
    "frequency-sparse": (Problem(1024, 1024, kept=1, blocks=4, skip=False), 2, (64, 16)),
    "order 2, float16, one gate": (
        Problem(400, 512, dtype="float16", post=False, skip=False),
        1,
        (32, 16),
    ),
    "order 3, ragged": (Problem(3001, 4096, channels=1, pre=False, post=False), 1, (16, 16, 16)),
    "circular": (
        Problem(256, 256, twisted=False, skip=False, pre=False, post=False),
        2,
        (16, 16),
    ),
    "frequency-sparse, order 3": (
        Problem(8192, 8192, channels=1, kept=1, blocks=2, post=False),
        2,
        (32, 16, 16),
    ),
}


def operands(problem: Problem, seed: int = 0) -> list[Any]:
    """u, s_re, s_im, skip, pre, post, g as JAX arrays; None where the problem has none."""
    rng = np.random.default_rng(seed)
    signal = (problem.batch, problem.channels, problem.length)
    shapes = [signal, *[(problem.channels, problem.size)] * 2, (problem.channels,), *[signal] * 3]
    dtypes = [problem.dtype, *["float32"] * 3, *[problem.dtype] * 3]
    has = (True, True, True, problem.skip, problem.pre, problem.post, True)
    made = [
        jnp.asarray(rng.standard_normal(shape), dtype)
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    if problem.kept < problem.blocks:
        zero = np.arange(problem.size) % problem.blocks >= problem.kept
        made[1:3] = [jnp.where(zero, 0, part) for part in made[1:3]]
    return [a if present else None for a, present in zip(made, has, strict=True)]


def exact(problem: Problem, arrays: list[Any]) -> dict[str, np.ndarray]:
    """y and every slope in float64, by name; the absent ones left out."""
    size = problem.size
    twist = np.exp(-0.5j * np.pi * np.arange(size) / size) if problem.twisted else np.ones(size)

    def transform(x: np.ndarray) -> np.ndarray:
        return np.fft.fft(np.pad(x, [(0, 0)] * 2 + [(0, size - x.shape[-1])]) * twist, norm="ortho")

    def inverse(z: np.ndarray) -> np.ndarray:
        return (np.fft.ifft(z, norm="ortho") * twist.conj()).real

    return _results(problem, arrays, transform, inverse)


def rounded(problem: Problem, arrays: list[Any], factors: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The same with the operands of every stage's product rounded to the problem's dtype."""
    e = 0.25 if problem.twisted else 0.0
    cast = partial(_cast, dtype=problem.dtype)

    def transform(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, [(0, 0)] * 2 + [(0, problem.size - x.shape[-1])])
        return _stages(padded.astype(complex), factors, e, cast)

    def inverse(z: np.ndarray) -> np.ndarray:
        return _stages_back(z, factors, e, cast).real

    made = _results(problem, arrays, transform, inverse)
    return {
        name: a if name in ("s_re", "s_im", "skip") else cast(a).real for name, a in made.items()
    }


def _results(problem, arrays, transform, inverse) -> dict[str, np.ndarray]:
    """The formulas of kernel.py over unitary transforms."""
    wide = [None if a is None else np.asarray(a, np.float64) for a in arrays]
    u, s_re, s_im, skip, pre, post, g = wide
    assert u is not None
    s = s_re + 1j * s_im
    weight = 0.0 if skip is None else skip[:, None]
    x = u if pre is None else u * pre
    gc = g if post is None else g * post
    x_hat, g_hat = transform(x), transform(gc)
    c = inverse(x_hat * s)[..., : problem.length] + weight * x
    dx = inverse(g_hat * s.conj())[..., : problem.length] + weight * gc
    w = (x_hat * g_hat.conj()).sum(0)
    w = np.where(np.arange(problem.size) % problem.blocks < problem.kept, w, 0)
    made = {"y": c if post is None else c * post, "u": dx if pre is None else dx * pre}
    made |= {"s_re": w.real, "s_im": -w.imag}
    if skip is not None:
        made["skip"] = (gc * x).sum((0, 2))
    if pre is not None:
        made["pre"] = u * dx
    if post is not None:
        made["post"] = g * c
    return made


def _terms_of_skip(arrays: list[Any]) -> np.ndarray:
    """The root of the sum of the squares of gc x, a channel."""
    u, _, _, _, pre, post, g = (None if a is None else np.asarray(a, float) for a in arrays)
    terms = u * g * (1.0 if pre is None else pre) * (1.0 if post is None else post)
    return np.sqrt((terms**2).sum((0, 2)))


def _cast(z: np.ndarray, dtype: str) -> np.ndarray:
    """Both parts rounded to `dtype`."""
    return z.real.astype(jnp.dtype(dtype)).astype(float) + 1j * z.imag.astype(
        jnp.dtype(dtype)
    ).astype(float)


def _matrix(n: int, e: float) -> np.ndarray:
    return np.exp(-2j * np.pi * np.outer(np.arange(n) + e, np.arange(n)) / n) / np.sqrt(n)


def _twiddle(n1: int, m: int, e: float) -> np.ndarray:
    return np.exp(-2j * np.pi * np.outer(np.arange(n1) + e, np.arange(m)) / (n1 * m))


def _stages(z: np.ndarray, factors: tuple[int, ...], e: float, cast: Callable) -> np.ndarray:
    """The unitary transform over the last axis, natural order out, one factor after another."""
    n1, rest = factors[0], factors[1:]
    if not rest:
        return cast(z) @ cast(_matrix(n1, e)).T
    m = z.shape[-1] // n1
    a = cast(_matrix(n1, e)) @ cast(z.reshape(*z.shape[:-1], n1, m)) * _twiddle(n1, m, e)
    return _stages(a, rest, 0.0, cast).swapaxes(-1, -2).reshape(z.shape)


def _stages_back(z: np.ndarray, factors: tuple[int, ...], e: float, cast: Callable) -> np.ndarray:
    n1, rest = factors[0], factors[1:]
    if not rest:
        return cast(z) @ cast(_matrix(n1, e)).conj()
    m = z.shape[-1] // n1
    a = _stages_back(z.reshape(*z.shape[:-1], m, n1).swapaxes(-1, -2), rest, 0.0, cast)
    a = cast(_matrix(n1, e)).conj().T @ cast(a * _twiddle(n1, m, e).conj())
    return a.reshape(z.shape)


def computed(problem: Problem, arrays: list[Any], convolve, adjoint, **options) -> dict[str, Any]:
    """y and every slope from a backend's pair, by name; the absent ones left out."""

    @jax.jit
    def both(*arrays):
        y = convolve(problem.static, *arrays[:-1], **options)
        return y, *adjoint(problem.static, *arrays, **options)

    made = dict(zip(NAMES, both(*arrays), strict=True))
    has = {"skip": problem.skip, "pre": problem.pre, "post": problem.post}
    for name, present in has.items():
        assert (made[name] is not None) == present
    return {name: a for name, a in made.items() if a is not None}


def check_tile(backend, problem: Problem, batch_tile: int, factors: tuple[int, ...]) -> dict:
    """`check` for a backend's kernel with a tile."""
    tile = Tile(batch_tile, factors)
    return check(problem, factors, backend.convolve, backend.adjoint, tile=tile)


def every_combination(backend, factors: tuple[int, ...], skip: bool, pre: bool, post: bool) -> None:
    """One choice of operands at each kind of transform."""
    size = int(np.prod(factors))
    for twisted, kept, blocks in ((True, 1, 1), (False, 1, 1), (True, 1, 2)):
        problem = Problem(
            size, size, 3, 1, twisted, kept=kept, blocks=blocks, skip=skip, pre=pre, post=post
        )
        check_tile(backend, problem, 2, factors)


def check(problem: Problem, factors: tuple[int, ...], convolve, adjoint, **options) -> dict:
    """Assert that the pair meets the rules of tests/numerics.py; the relative L2 errors by name."""
    arrays = operands(problem)
    made, expected = computed(problem, arrays, convolve, adjoint, **options), exact(problem, arrays)
    assert made.keys() == expected.keys()
    allowed = rounded(problem, arrays, factors) if problem.dtype != "float32" else {}
    for name, value in made.items():
        full = name in ("s_re", "s_im", "skip") or problem.dtype == "float32"
        assert value.dtype == jnp.dtype("float32" if full else problem.dtype), name
        if name == "skip":  # no product in it: float32 in any dtype
            assert_conditioned(value, expected[name], _terms_of_skip(arrays), "float32")
        elif problem.dtype == "float32":
            assert_accurate(value, expected[name])
        else:
            assert_rounded(value, expected[name], allowed[name], problem.dtype)
            ceiling = CEILING[problem.dtype][min(3, len(factors))]
            assert relative_l2(value, expected[name]) <= ceiling, name
    return {name: relative_l2(value, expected[name]) for name, value in made.items()}
