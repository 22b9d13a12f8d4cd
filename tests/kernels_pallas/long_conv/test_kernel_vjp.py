"""The kernels behind the public call's operands: layouts, filters, dtypes, and derivatives."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import long_conv_spectrum
from kernels_pallas.long_conv import kernel, mosaic_tpu, spectrum, triton
from kernels_pallas.long_conv.cases import Case
from tests.kernels_pallas.long_conv.problems import (
    cast,
    direct_gradients,
    direct_sum,
    operands,
    run,
)
from tests.numerics import assert_accurate, assert_close, assert_rounded_once, relative_l2

CASES = {
    "everything, channels last": Case(
        2, 2, 300, 300, 120, layout="BLC", skip=True, pre_gate=True, post_gate=True
    ),
    "partial": Case(2, 2, 200, 33, skip=True, pre_gate=True),
    "mostly future": Case(1, 2, 257, 1, 257, post_gate=True),
    "circular": Case(2, 2, 256, 100, mode="circular", layout="BLC", skip=True),
    "one point": Case(2, 3, 1, 1, 1, skip=True),
}
GATED = CASES["everything, channels last"]


def by_kernel(backend, case: Case, arrays: dict, **options):
    get = [arrays.get(name) for name in ("u", "k", "k_future", "skip", "pre_gate", "post_gate")]
    return backend.forward(*get, mode=case.mode, layout=case.layout, interpret=True, **options)


def reference(case: Case, arrays: dict):
    return run(case, arrays, implementation="reference")


@pytest.mark.parametrize(
    ("name", "backend"),
    [*((name, triton) for name in CASES), ("everything, channels last", mosaic_tpu)],
)
def test_values_and_gradients(name, backend):
    case = CASES[name]
    wide = operands(case)
    g = np.random.default_rng(1).standard_normal(wide["u"].shape)

    @jax.jit
    def value_and_gradients(arrays, g):
        y, pull = jax.vjp(partial(by_kernel, backend, case), arrays)
        return y, pull(g)[0]

    arrays = cast(wide)
    y, made = value_and_gradients(arrays, jnp.asarray(g, jnp.float32))
    assert_accurate(y, direct_sum(case, arrays))
    expected = direct_gradients(case, arrays, np.asarray(g, np.float32))
    for argument, value in expected.items():
        assert made[argument].shape == arrays[argument].shape
        assert_close(made[argument], value)


def test_16_bit_gradients_keep_their_dtype():
    arrays = cast(operands(GATED), "bfloat16") | {"skip": jnp.ones(2, jnp.float32)}
    loss = jax.jit(jax.grad(lambda a: by_kernel(triton, GATED, a).astype(jnp.float32).sum()))
    for name, gradient in loss(arrays).items():
        assert gradient.dtype == arrays[name].dtype


def test_signals_of_two_dtypes_are_computed_in_float32():
    wide = operands(GATED)
    arrays = cast(wide) | {"u": jnp.asarray(wide["u"], "bfloat16")}
    y = jax.jit(partial(by_kernel, triton, GATED))(arrays)
    assert y.dtype == jnp.bfloat16
    assert_rounded_once(y, direct_sum(GATED, arrays), "bfloat16")


@pytest.mark.parametrize("precision", ["high", jax.lax.Precision.HIGHEST])
def test_precision_is_accepted(precision):
    arrays = cast(operands(CASES["partial"]))
    y = jax.jit(partial(by_kernel, triton, CASES["partial"], precision=precision))(arrays)
    assert relative_l2(y, direct_sum(CASES["partial"], arrays)) < 1e-3


@pytest.mark.parametrize(
    ("length", "taps", "mode"), [(256, 256, "causal"), (300, 40, "causal"), (256, 90, "circular")]
)
def test_spectrum_of_any_ordering(length, taps, mode):
    """Half-length of the same size, real of another (turned back into taps), and circular."""
    case = Case(2, 2, length, taps, mode=mode)
    arrays = cast(operands(case))

    @jax.jit
    def by_spectrum(arrays):
        s = long_conv_spectrum(arrays["k"], length, mode=mode)
        return by_kernel(triton, case, arrays | {"k": s})

    assert_accurate(by_spectrum(arrays), direct_sum(case, arrays))
    slope = jax.jit(jax.grad(lambda a: (by_spectrum(a) ** 2).sum()))(arrays)
    expected = jax.jit(jax.grad(lambda a: (reference(case, a) ** 2).sum()))(arrays)
    assert_close(slope["k"], expected["k"])


@pytest.mark.parametrize(("length", "kept", "blocks"), [(300, 4, 4), (300, 1, 4), (100, 2, 8)])
def test_frequency_sparse_spectrum(length, kept, blocks):
    """Ordering "lanes": used as it is, or below 256 points turned into the taps it stands for."""
    case = Case(2, 2, length, length)
    arrays = cast(operands(case))

    @jax.jit
    def both(arrays):
        s = spectrum.sparse_transform(arrays["k"], None, length, kept, blocks)
        past, future = spectrum.taps_of(s)
        taps = {"k": past, "k_future": future}
        return by_kernel(triton, case, arrays | {"k": s}), reference(case, arrays | taps)

    ours, expected = both(arrays)
    assert_close(ours, expected)
    s = spectrum.sparse_transform(arrays["k"], None, length, kept, blocks)
    s_re, s_im, *pattern = kernel.kernel_spectrum(s, None, length, "causal")
    assert s_re.shape == s_im.shape == (2, kernel.transform_size(length))
    assert pattern == ([kept, blocks] if length == 300 and kept < blocks else [1, 1])


def cubed(case, arrays, function):
    return (function(case, arrays) ** 3).sum()


@pytest.mark.parametrize(
    ("name", "backend"), [("everything, channels last", triton), ("circular", mosaic_tpu)]
)
def test_gradient_of_a_gradient(name, backend):
    case, arrays = CASES[name], cast(operands(CASES[name]))

    def squared_slope(function, arrays):
        slope = jax.grad(cubed, argnums=1)(case, arrays, function)
        return sum((g**2).sum() for g in slope.values())

    ours = jax.jit(jax.grad(partial(squared_slope, partial(by_kernel, backend))))(arrays)
    expected = jax.jit(jax.grad(partial(squared_slope, reference)))(arrays)
    for argument, value in expected.items():
        assert_close(ours[argument], value)


@pytest.mark.parametrize("backend", [triton, mosaic_tpu], ids=["triton", "mosaic_tpu"])
def test_vmap_over_everything(backend):
    many = [cast(operands(GATED, seed)) for seed in range(2)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *many)

    def value_and_slopes(arrays):
        y, pull = jax.vjp(partial(by_kernel, backend, GATED), arrays)
        return y, pull(y)[0]

    y, slopes = jax.jit(jax.vmap(value_and_slopes))(stacked)
    y_1, slopes_1 = jax.jit(value_and_slopes)(many[1])
    assert_close(y[1], y_1)
    for name, value in slopes_1.items():
        assert_close(slopes[name][1], value)


def call(**changes):
    facts = {"batch": 2, "channels": 3, "length": 300, "dtype": "float32", "mode": "causal"}
    return SimpleNamespace(**(facts | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "float64"}, "u is float64"),
        ({"batch": 0}, "batch 0"),
        ({"channels": 0}, "0 channels"),
        ({"length": (1 << 22) + 1}, "above 4194304"),
        ({"mode": "circular"}, "circular at length 300"),
        ({"mode": "circular", "length": 128}, "circular at length 128"),
    ],
)
def test_unsupported(changes, reason):
    for module in (kernel, triton, mosaic_tpu):
        assert reason in module.unsupported(call(**changes))


@pytest.mark.parametrize(
    "changes", [{}, {"length": 1}, {"length": 1 << 22}, {"mode": "circular", "length": 512}]
)
def test_supported(changes):
    assert kernel.unsupported(call(**changes)) is None
