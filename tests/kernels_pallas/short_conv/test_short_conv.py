"""Short convolution: the ladder, its properties, and wrong calls."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import long_conv, short_conv
from tests.numerics import assert_close, assert_rounded_once

CASES = pytest.mark.parametrize(
    ("length", "taps", "causal", "layout", "with_bias"),
    [
        (1, 1, True, "BCL", True),
        (1, 3, False, "BLC", False),
        (2, 4, False, "BCL", True),
        (9, 3, True, "BLC", True),
        (9, 3, False, "BLC", False),
        (10, 4, False, "BCL", True),
        (10, 4, True, "BCL", False),
        (5, 8, True, "BLC", True),
        (5, 8, False, "BLC", True),
    ],
)
PAIR = ("xla", "reference")


def problem(length, taps, layout, with_bias, seed=0):
    rng = np.random.default_rng(seed)
    shape = (2, 3, length) if layout == "BCL" else (2, length, 3)
    made = {"u": rng.standard_normal(shape), "k": rng.standard_normal((3, taps))}
    if with_bias:
        made["bias"] = rng.standard_normal(3)
    return made


def direct_sum(arrays, causal, layout):
    """The definition in NumPy float64, a loop over positions and taps."""
    u = arrays["u"] if layout == "BCL" else arrays["u"].swapaxes(1, 2)
    taps, length = arrays["k"].shape[1], u.shape[2]
    ahead = 0 if causal else (taps - 1) // 2
    y = np.zeros_like(u)
    for t in range(length):
        for s in range(taps):
            if 0 <= t + ahead - s < length:
                y[:, :, t] += arrays["k"][:, s] * u[:, :, t + ahead - s]
        if "bias" in arrays:
            y[:, :, t] += arrays["bias"]
    return y if layout == "BCL" else y.swapaxes(1, 2)


@CASES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values(length, taps, causal, layout, with_bias, dtype):
    arrays = problem(length, taps, layout, with_bias)
    expected = direct_sum(arrays, causal, layout)
    with jax.enable_x64(dtype == "float64"):
        cast = {name: jnp.asarray(value, dtype) for name, value in arrays.items()}
        both = jax.jit(
            lambda a: [
                short_conv(**a, causal=causal, layout=layout, implementation=name) for name in PAIR
            ]
        )
        for y in both(cast):
            assert str(y.dtype) == dtype
            assert_close(np.asarray(y), expected, dtype)


@pytest.mark.parametrize(
    ("length", "taps", "causal", "layout", "with_bias"),
    [(9, 3, True, "BLC", True), (10, 4, False, "BCL", False), (5, 8, False, "BLC", True)],
)
def test_derivatives(length, taps, causal, layout, with_bias):
    arrays, moved = (
        {name: jnp.asarray(v, jnp.float32) for name, v in problem(*args).items()}
        for args in ((length, taps, layout, with_bias), (length, taps, layout, with_bias, 1))
    )

    def all_kinds(name, arrays, moved):
        run = partial(short_conv, causal=causal, layout=layout, implementation=name)
        slope = jax.grad(lambda a: (run(**a) ** 3).sum())
        second = jax.grad(lambda a: sum((g**2).sum() for g in slope(a).values()))
        return slope(arrays), jax.jvp(slope, (arrays,), (moved,))[1], second(arrays)

    both = jax.jit(lambda a, m: [all_kinds(name, a, m) for name in PAIR])(arrays, moved)
    jax.tree.map(assert_close, *both)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("implementation", PAIR)
def test_16_bits_round_once(dtype, implementation):
    arrays = {
        name: jnp.asarray(value, dtype) for name, value in problem(40, 4, "BLC", True).items()
    }
    y = short_conv(**arrays, layout="BLC", implementation=implementation)
    exact = direct_sum({n: np.asarray(a, np.float64) for n, a in arrays.items()}, True, "BLC")
    assert y.dtype == jnp.dtype(dtype)
    assert_rounded_once(y, exact, dtype)


def test_agrees_with_long_conv():
    arrays = {n: jnp.asarray(v, jnp.float32) for n, v in problem(33, 5, "BCL", False).items()}
    assert_close(short_conv(**arrays), long_conv(**arrays))
    centred = long_conv(arrays["u"], arrays["k"][:, 2:], k_future=arrays["k"][:, :2][:, ::-1])
    assert_close(short_conv(**arrays, causal=False), centred)


def test_causal_to_the_last_bit():
    arrays = {n: jnp.asarray(v, jnp.float32) for n, v in problem(20, 3, "BCL", True).items()}
    y = short_conv(**arrays)
    changed = short_conv(**{**arrays, "u": arrays["u"].at[..., 7:].set(jnp.nan)})
    np.testing.assert_array_equal(changed[..., :7], y[..., :7])


def test_no_batch_and_vmap():
    assert short_conv(jnp.zeros((0, 3, 5)), jnp.ones((3, 2))).shape == (0, 3, 5)
    u = jnp.arange(24.0).reshape(2, 2, 3, 2)
    k = jnp.ones((2, 3, 2))
    assert_close(jax.vmap(short_conv)(u, k)[1], short_conv(u[1], k[1]))


U, K = jnp.zeros((2, 3, 8)), jnp.zeros((3, 4))


@pytest.mark.parametrize(
    ("name", "error", "wrong"),
    [
        ("u", TypeError, {"u": [1.0]}),
        ("u", TypeError, {"u": U.astype(jnp.int32)}),
        ("u", ValueError, {"u": U[0]}),
        ("u", ValueError, {"u": U[..., :0]}),
        ("k", TypeError, {"k": None}),
        ("k", TypeError, {"k": K.astype(jnp.complex64)}),
        ("k", ValueError, {"k": K[0]}),
        ("k", ValueError, {"k": K[:2]}),
        ("k", ValueError, {"k": K[:, :0]}),
        ("k", ValueError, {"layout": "BLC"}),
        ("bias", TypeError, {"bias": 0.0}),
        ("bias", ValueError, {"bias": jnp.zeros(4)}),
        ("bias", ValueError, {"bias": jnp.zeros((3, 1))}),
        ("causal", TypeError, {"causal": 1}),
        ("causal", TypeError, {"causal": None}),
        ("layout", ValueError, {"layout": "LBC"}),
        ("implementation", ValueError, {"implementation": "fast"}),
    ],
)
def test_wrong_calls(name, error, wrong):
    with pytest.raises(error, match=rf"^{name}\b"):
        short_conv(**{"u": U, "k": K, **wrong})
