"""Random problems for neighborhood attention over all of its options."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kernels_pallas.neighborhood_attention import neighborhood_attention
from tests.kernels_pallas.neighborhood_attention.oracle import Expected, Window, attention
from tests.numerics import assert_close_to_terms, assert_conditioned

DTYPES = ("float32", "float32", "float64", "bfloat16", "float16")
MOST_TOKENS = 180


class Problem(NamedTuple):
    """A call: shapes, neighbourhood, and which of the optional operands it has."""

    batch: int = 2
    space: tuple[int, ...] = (13,)
    heads: int = 2
    kv_heads: int = 2
    head_dim: int = 4
    value_dim: int = 4
    window: tuple[int, ...] = (3,)
    dilation: tuple[int, ...] = (1,)
    stride: tuple[int, ...] = (1,)
    causal: tuple[bool, ...] = (False,)
    scale: float | None = None
    additional: int = 0
    mask: bool = False
    bias: bool = False
    dtype: str = "float32"

    @property
    def neighbourhood(self) -> Window:
        """What the oracle takes."""
        return Window(self.window, self.dilation, self.stride, self.causal)

    @property
    def score_scale(self) -> float:
        """The scale that `scale` stands for."""
        return self.head_dim**-0.5 if self.scale is None else self.scale

    def options(self) -> dict[str, Any]:
        """The keyword arguments of the public call that are no arrays."""
        return {**self.neighbourhood._asdict(), "scale": self.scale}


def make(space: tuple[int, ...], window: tuple[int, ...], **options: Any) -> Problem:
    """A problem whose options are those given, and for the rest neutral on each axis."""
    neutral = {"dilation": 1, "stride": 1, "causal": False}
    filled: dict[str, Any] = {name: (value,) * len(space) for name, value in neutral.items()}
    return Problem(space=space, window=window, **{**filled, **options})


# Every option at least once: partial tiles, unequal dilation groups (13 by 3), strides that do not
# divide, even windows, causal axes among others, grouped heads, a value size of its own.
TESTS = {
    "1d": make((70,), (9,)),
    "1d even, dilated": make((41,), (6,), dilation=(3,), heads=4, value_dim=5),
    "1d causal, strided": make((37,), (8,), stride=(3,), causal=(True,), additional=2),
    "1d whole": make((11,), (11,), kv_heads=1, bias=True),
    "2d": make((9, 13), (3, 5), mask=True),
    "2d mixed": make(
        (13, 11), (4, 5), batch=1, dilation=(3, 2), stride=(2, 3),
        causal=(True, False), heads=4, additional=1, mask=True, bias=True,
    ),
    "2d blocked": make((10, 9), (4, 3), stride=(4, 3), scale=0.0, bias=True),
    "3d": make(
        (5, 6, 7), (2, 3, 5), batch=1, stride=(2, 1, 4), dilation=(2, 1, 1),
        causal=(False, False, True), scale=0.7, kv_heads=1, bias=True,
    ),
}  # fmt: skip


def random_problem(rng: np.random.Generator, rank: int | None = None) -> Problem:
    """A small problem; lengths that tiles, dilations and strides do not divide are the rule."""
    rank = int(rng.choice([1, 1, 2, 2, 2, 3])) if rank is None else rank
    longest = {1: 70, 2: 19, 3: 9}[rank]
    while True:
        space = tuple(int(rng.integers(2, longest + 1)) for _ in range(rank))
        if np.prod(space) <= MOST_TOKENS:
            break
    dilation = tuple(int(rng.integers(1, L // 2 + 1)) for L in space)
    dilation = tuple(int(rng.choice([1, 1, min(d, 4), d])) for d in dilation)
    window = tuple(
        int(rng.choice([L // d, rng.integers(2, L // d + 1), rng.integers(2, min(L // d, 8) + 1)]))
        for L, d in zip(space, dilation, strict=True)
    )
    stride = tuple(int(rng.choice([1, 1, w, rng.integers(1, w + 1)])) for w in window)
    kv_heads, group = int(rng.integers(1, 3)), int(rng.choice([1, 1, 2, 3]))
    head_dim = int(rng.choice([1, 3, 4, 8]))
    return Problem(
        batch=int(rng.integers(1, 3)),
        space=space,
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=int(rng.choice([head_dim, head_dim, 2, 5])),
        window=window,
        dilation=dilation,
        stride=stride,
        causal=tuple(bool(rng.integers(3) == 0) for _ in space),
        scale=[None, None, 0.0, 0.7, -1.3][int(rng.integers(5))],
        additional=int(rng.choice([0, 0, 1, 3])),
        mask=bool(rng.integers(4) == 0),
        bias=bool(rng.integers(3) == 0),
        dtype=str(rng.choice(DTYPES)),
    )


def operands(
    problem: Problem, seed: int | list[int] = 0, draw: str = "plain"
) -> dict[str, np.ndarray]:
    """The arrays that the problem has, by argument name."""
    factor, kept = DRAWS[draw]
    rng = np.random.default_rng(seed)
    lead = (problem.batch, *problem.space)
    H, G, D, V = problem.heads, problem.kv_heads, problem.head_dim, problem.value_dim
    made = {
        "q": factor * rng.standard_normal((*lead, H, D)),
        "k": rng.standard_normal((*lead, G, D)),
        "v": rng.standard_normal((*lead, G, V)),
    }
    if problem.additional:
        made["additional_keys"] = rng.standard_normal((problem.batch, problem.additional, G, D))
        made["additional_values"] = rng.standard_normal((problem.batch, problem.additional, G, V))
    if problem.mask:
        made["mask"] = rng.random(lead) < kept
    if problem.bias:
        made["bias"] = rng.standard_normal((H, *(2 * w - 1 for w in problem.window)))
    return made


def cast(arrays: dict[str, np.ndarray], dtype: str) -> dict[str, Any]:
    """JAX arrays of one dtype, the mask aside and a bias of at most the precision computed in."""
    return {n: jnp.asarray(a, bool if n == "mask" else dtype) for n, a in arrays.items()}


DRAWS = {  # how values are drawn: factor of the scores, share of the keys that a mask leaves
    "plain": (1.0, 0.5),
    "sharp": (2.0, 0.9),
    "flat": (0.05, 0.1),
}


def cotangents(problem: Problem, seed: int | list[int] = 1) -> tuple[np.ndarray, np.ndarray]:
    """(do, dlse)."""
    rng = np.random.default_rng(seed)
    rows = (problem.batch, *problem.space, problem.heads)
    return rng.standard_normal((*rows, problem.value_dim)), rng.standard_normal(rows)


def expected(problem: Problem, arrays: dict, given: Any = None, **options: Any) -> Expected:
    """The oracle's answer to the problem with these arrays (as rounded as they are)."""
    return attention(arrays, problem.neighbourhood, problem.score_scale, given, **options)


def results(problem: Problem, arrays: dict, given: Any, implementation: str = "xla") -> Any:
    """(out, lse), and the gradients of sum(do out) + sum(dlse lse) by name."""
    slopes = {name: a for name, a in arrays.items() if name != "mask"}
    mask = arrays.get("mask")

    def attend(operands: dict) -> Any:
        return neighborhood_attention(
            **operands,
            **problem.options(),
            mask=mask,
            return_lse=True,
            implementation=implementation,
        )

    values, pull = jax.vjp(attend, slopes)
    return values, pull(given)[0]


run = jax.jit(results, static_argnames=("problem", "implementation"))


def check(
    problem: Problem, seed: int = 0, implementation: str = "xla", draw: str = "plain"
) -> None:
    """Values, log-sum-exp and every gradient against the oracle, by the rules for the dtype.

    The oracle is given what the call is given, rounded to its dtype. 16-bit results are those of a
    float32 computation rounded once, a tighter rule than that for rounded operands.
    """
    wide = "float64" if problem.dtype == "float64" else "float32"
    with jax.enable_x64(problem.dtype == "float64"):
        arrays = cast(operands(problem, [seed, 0], draw), problem.dtype)
        do, dlse = cotangents(problem, [seed, 1])
        given = jnp.asarray(do, problem.dtype), jnp.asarray(dlse, wide)
        (out, lse), slopes = jax.tree.map(np.asarray, run(problem, arrays, given, implementation))
        host = {name: np.asarray(a) for name, a in arrays.items()}
        given = tuple(np.asarray(a, np.float64) for a in given)
    exact = expected(problem, host, given)
    assert str(out.dtype) == problem.dtype
    assert str(lse.dtype) == wide
    assert slopes.keys() == exact.gradients.keys()
    np.testing.assert_array_equal(np.isneginf(lse), np.isneginf(exact.lse))
    finite = np.isfinite(exact.lse)
    assert_close_to_terms(
        np.where(finite, lse, 0), np.where(finite, exact.lse, 0), exact.sizes["lse"], wide
    )
    for name, actual, value in (
        ("out", out, exact.out),
        *((n, slopes[n], exact.gradients[n]) for n in slopes),
    ):
        assert str(actual.dtype) == problem.dtype, name
        rule = assert_close_to_terms if problem.dtype == wide else assert_conditioned
        try:
            rule(actual, value, exact.sizes[name], problem.dtype)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
