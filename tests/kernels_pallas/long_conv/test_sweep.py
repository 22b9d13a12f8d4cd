"""A seeded sweep over shape, dtype, mode, layout, gates and taps: values and every gradient."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.long_conv.cases import Case
from tests.kernels_pallas.long_conv.problems import (
    cast,
    direct_gradients,
    direct_sum,
    operands,
    run,
)
from tests.numerics import (
    assert_accurate,
    assert_close,
    assert_conditioned,
    assert_rounded_once,
)

CASES, BLOCKS = 2080, 20
LENGTHS = (1, 2, 3, 5, 8, 17, 31, 64, 65, 97, 127, 128, 150, 210, 255, 257, 509, 1000)
LONG = (1024, 2039, 3000, 4093, 4096)
DTYPES = ("float32", "float32", "float64", "bfloat16", "float16")


def random_case(rng: np.random.Generator, length: int) -> Case:
    mode = str(rng.choice(["causal", "causal", "causal", "circular"]))
    few = min(length, 12)
    taps = int(rng.choice([1, length, rng.integers(1, length + 1), rng.integers(1, few + 1)]))
    future = int(rng.choice([0, 0, length, rng.integers(1, length + 1), rng.integers(1, few + 1)]))
    return Case(
        batch=int(rng.integers(0, 4)) or 1,
        channels=int(rng.integers(1, 3 if length > 1000 else 6)),
        length=length,
        taps=taps,
        future_taps=future if mode == "causal" else 0,
        mode=mode,
        layout=str(rng.choice(["BCL", "BLC"])),
        skip=bool(rng.integers(2)),
        pre_gate=bool(rng.integers(2)),
        post_gate=bool(rng.integers(2)),
    )


def block_of_cases(block: int) -> list[tuple[Case, str]]:
    """This block's cases and dtypes; three of them are long."""
    rng = np.random.default_rng([20, block])
    count = CASES // BLOCKS
    lengths = [int(rng.choice(LONG)) for _ in range(3)]
    lengths += [int(rng.choice(LENGTHS)) for _ in range(count - len(lengths))]
    return [(random_case(rng, length), str(rng.choice(DTYPES))) for length in lengths]


def well_conditioned(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same, with skip of the sign of k[:, 0].

    At length 1 the result is (k + skip) x: where the two nearly cancel, rounding the operands alone
    moves it by more than any tolerance relative to the result.
    """
    if "skip" in arrays:
        arrays["skip"] = np.abs(arrays["skip"]) * np.sign(arrays["k"][:, 0])
    return arrays


@partial(jax.jit, static_argnames="case")
def value_and_gradients(case: Case, arrays: dict, g: jax.Array):
    """y, and the gradient of sum(g * y) for each array."""
    y, pull = jax.vjp(lambda a: run(case, a), arrays)
    return y, pull(g)[0]


def check(case: Case, dtype: str, seed: int) -> None:
    """One case: values by the plain rules, gradients by the rule for sums that may cancel."""
    with jax.enable_x64(dtype == "float64"):
        arrays = cast(well_conditioned(operands(case, seed)), dtype)
        shape = arrays["u"].shape
        g = jnp.asarray(np.random.default_rng([seed, 1]).standard_normal(shape), dtype)
        y, slopes = jax.tree.map(np.asarray, value_and_gradients(case, arrays, g))
        wide = {name: np.asarray(a, np.float64) for name, a in arrays.items()}
        wide_g = np.asarray(g, np.float64)
    assert str(y.dtype) == dtype
    expected = direct_sum(case, wide)
    if dtype in ("bfloat16", "float16"):  # float32 inside: one rounding, of the result
        assert_rounded_once(y, expected, dtype)
    else:
        assert_close(y, expected, dtype)
        assert_accurate(y, expected, dtype)
    exact = direct_gradients(case, wide, wide_g)
    squares = direct_gradients(case, {name: a**2 for name, a in wide.items()}, wide_g**2)
    assert slopes.keys() == exact.keys() == arrays.keys()
    for name, slope in slopes.items():
        assert str(slope.dtype) == dtype
        assert_conditioned(slope, exact[name], np.sqrt(squares[name]), dtype)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_sweep(block):
    failed = []
    for i, (case, dtype) in enumerate(block_of_cases(block)):
        try:
            check(case, dtype, seed=block * CASES + i)
        except AssertionError as error:
            failed.append(f"{case} {dtype}: {error}")
    jax.clear_caches()  # every case is a program of its own
    assert not failed, f"{len(failed)} cases failed:\n" + "\n".join(failed)


@pytest.mark.parametrize("length", [1, 2, 17, 64, 97])
def test_a_few(length):
    rng = np.random.default_rng(length)
    for seed in range(3):
        check(random_case(rng, length), DTYPES[(seed + length) % len(DTYPES)], seed)


def test_the_gradients_are_the_slopes_of_the_direct_sum():
    """The hand-written gradients against central differences of the hand-written sum."""
    for mode, layout, future in (("causal", "BCL", 7), ("circular", "BLC", 0)):
        case = Case(2, 3, 9, 9, future, mode, layout, skip=True, pre_gate=True, post_gate=True)
        arrays = operands(case)
        g = np.random.default_rng(1).standard_normal(arrays["u"].shape)
        slopes = direct_gradients(case, arrays, g)
        for name in arrays:
            step = np.random.default_rng(2).standard_normal(arrays[name].shape)
            up, down = ({**arrays, name: arrays[name] + sign * step} for sign in (0.5, -0.5))
            moved = (g * (direct_sum(case, up) - direct_sum(case, down))).sum()  # linear in each
            np.testing.assert_allclose((slopes[name] * step).sum(), moved, rtol=1e-12)
