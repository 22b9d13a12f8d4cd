"""Ladder, values: reference against NumPy, XLA against the reference, accuracy, 16 bits."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import long_conv
from kernels_pallas.long_conv import cases, spectrum
from kernels_pallas.long_conv.cases import Case
from tests.kernels_pallas.long_conv.problems import cast, direct_sum, operands, run
from tests.numerics import assert_accurate, assert_close, assert_rounded, assert_rounded_once

CASES = pytest.mark.parametrize("case", cases.TESTS.values(), ids=list(cases.TESTS))


@partial(jax.jit, static_argnames="case")
def both(case, arrays):
    return tuple(run(case, arrays, implementation=name) for name in ("reference", "xla"))


@CASES
def test_float32(case):
    arrays = cast(operands(case))
    reference, xla = both(case, arrays)
    assert xla.dtype == reference.dtype == jnp.float32
    assert xla.shape == arrays["u"].shape
    assert_close(reference, direct_sum(case, arrays))
    assert_close(xla, direct_sum(case, arrays))
    assert_close(xla, reference)


@pytest.mark.parametrize("name", list(cases.TESTS)[1::2])
def test_float64(name):
    case = cases.TESTS[name]
    arrays = operands(case)
    with jax.enable_x64(True):
        reference, xla = (np.asarray(y) for y in both(case, cast(arrays, "float64")))
    assert xla.dtype == reference.dtype == np.float64
    assert_close(reference, direct_sum(case, arrays), "float64")
    assert_accurate(xla, direct_sum(case, arrays), "float64")


@pytest.mark.parametrize("implementation", ["xla", "reference"])
def test_float32_stays_float32_under_x64(implementation):
    case = cases.TESTS["gated"]
    with jax.enable_x64(True):
        y = run(case, cast(operands(case)), implementation=implementation)
        dtype = y.dtype
    assert dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["gated", "bidirectional odd", "few taps circular"])
@pytest.mark.parametrize("implementation", ["xla", "reference"])
def test_16_bits(name, dtype, implementation):
    case = cases.TESTS[name]
    arrays = cast(operands(case), dtype)
    y = run(case, arrays, implementation=implementation)
    assert y.dtype == jnp.dtype(dtype)
    assert_rounded(y, direct_sum(case, arrays), rounded_run(case, arrays, dtype), dtype)


def rounded_run(case: Case, arrays: dict, dtype: str) -> np.ndarray:
    """The direct sum with every stage's operands rounded to 16 bits, sums in float32."""

    def round_to(value):
        return np.asarray(jnp.asarray(np.asarray(value, np.float32), dtype), np.float32)

    x = round_to(np.asarray(arrays["u"], np.float32) * np.asarray(arrays.get("pre_gate", 1.0)))
    inner = {name: arrays[name] for name in ("k", "k_future", "skip") if name in arrays}
    y = direct_sum(case, {"u": x, **inner})
    return round_to(round_to(y) * np.asarray(arrays.get("post_gate", 1.0), np.float32))


def test_mixed_dtypes_take_the_dtype_of_u():
    case = cases.TESTS["gated"]
    arrays = cast(operands(case))
    mixed = {**arrays, "u": arrays["u"].astype(jnp.bfloat16)}
    y = run(case, mixed)
    assert y.dtype == jnp.bfloat16
    assert_rounded_once(y, direct_sum(case, mixed), "bfloat16")
    mixed = {**arrays, "k": arrays["k"].astype(jnp.float16)}
    y = run(case, mixed)
    assert y.dtype == jnp.float32
    assert_accurate(y, direct_sum(case, mixed))


@pytest.mark.parametrize(
    ("length", "taps", "future"),
    [(4096, 4096, 0), (4093, 4093, 4093), (8191, 5000, 0), (32768, 32768, 0), (32749, 9000, 0)],
)
def test_float32_accuracy(length, taps, future):
    case = Case(1, 1, length, taps, future)
    arrays = cast(operands(case))
    assert_accurate(run(case, arrays), direct_sum(case, arrays))


def test_float64_accuracy_at_32k():
    case = Case(1, 1, 32768, 32768)
    arrays = operands(case)
    with jax.enable_x64(True):
        y = np.asarray(run(case, cast(arrays, "float64")))
    assert_accurate(y, direct_sum(case, arrays), "float64")


@pytest.mark.parametrize("size", [1, 2, 7, 255, 4096, 4097, 6561, 65536])
def test_twiddles_are_accurate(size):
    cos, sin = spectrum.twiddle(size, jnp.dtype("float32"))
    angle = np.pi * np.arange(size) / (2 * size)
    error = max(np.abs(cos - np.cos(angle)).max(), np.abs(sin - np.sin(angle)).max())
    assert error < 2e-7


def test_a_program_carries_no_large_constant():
    u, k = jnp.zeros((1, 1, 65536)), jnp.zeros((1, 65536))
    text = jax.jit(long_conv).lower(u, k).as_text()
    assert len(text) < 100_000  # 65536 numbers as a constant are half a million characters


def test_blocks_of_channels_change_nothing():
    case = Case(2, 6, 262144, 262144)  # 24 MB of spectra: above config.MIN_BLOCKED_BYTES
    arrays = cast(operands(case))
    whole = run(case, arrays)
    assert "stablehlo.while" in jax.jit(lambda a: run(case, a)).lower(arrays).as_text()
    for c in (0, 5):
        one = {name: a[:, c : c + 1] if name == "u" else a[c : c + 1] for name, a in arrays.items()}
        assert_close(whole[:, c : c + 1], long_conv(**one))
