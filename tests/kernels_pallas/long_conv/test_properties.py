"""Properties of the default implementation, over random sizes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels_pallas import long_conv, long_conv_spectrum
from tests.numerics import CAUSAL, assert_close

# Few distinct shapes, since each one compiles: odd, even, prime; each form; past and future.
SHAPES = st.sampled_from(
    [
        (1, 1, 0, "causal"),
        (64, 64, 0, "causal"),
        (75, 30, 20, "causal"),
        (97, 97, 50, "causal"),
        (90, 66, 0, "causal"),
        (75, 75, 0, "circular"),
    ]
)
SEEDS = st.integers(0, 2**32 - 1)
SPECTRUM = jax.jit(long_conv_spectrum, static_argnums=1, static_argnames="mode")
CHECK = settings(max_examples=15, deadline=None, derandomize=True)


def draw(shape, seed):
    length, taps, future, mode = shape
    rng = np.random.default_rng(seed)

    def normal(*size):
        return jnp.asarray(rng.standard_normal(size), jnp.float32)

    u, v, k = normal(2, 3, length), normal(2, 3, length), normal(3, taps)
    return u, v, k, {"mode": mode, "k_future": normal(3, future) if future else None}


@CHECK
@given(SHAPES, SEEDS, st.floats(-4, 4, width=32))
def test_linear_in_the_signal_and_in_the_taps(shape, seed, scale):
    u, v, k, options = draw(shape, seed)
    scale = np.float32(scale)
    expected = long_conv(u, k, **options) + scale * long_conv(v, k, **options)
    assert_close(long_conv(u + scale * v, k, **options), expected)
    other = {**options, "k_future": None}
    expected = long_conv(u, k, **other) * (1 + scale)
    assert_close(long_conv(u, k + scale * k, **other), expected)


@CHECK
@given(SHAPES, SEEDS, st.integers(0, 100))
def test_shift_equivariant(shape, seed, steps):
    u, _, k, options = draw(shape, seed)
    length, steps = u.shape[-1], steps % u.shape[-1]
    if options["mode"] == "circular":
        moved = long_conv(jnp.roll(u, steps, -1), k, **options)
        assert_close(moved, jnp.roll(long_conv(u, k, **options), steps, -1))
        return
    options["k_future"] = None
    delayed = jnp.pad(u, ((0, 0), (0, 0), (steps, 0)))[..., :length]
    y, moved = long_conv(u, k, **options), long_conv(delayed, k, **options)
    expected = np.zeros(y.shape, np.float32)
    expected[..., steps:] = y[..., : length - steps]
    scale = max(float(jnp.abs(y).max()), 1e-30)
    assert np.abs(moved - expected).max() <= 1e-5 * scale


@CHECK
@given(SHAPES.filter(lambda s: s[3] == "causal"), SEEDS, st.integers(0, 100))
def test_causal(shape, seed, cut):
    u, v, k, _ = draw(shape, seed)
    cut = cut % u.shape[-1]
    y = long_conv(u, k)
    changed = long_conv(u.at[..., cut:].add(v[..., cut:]), k)
    leak = np.abs(np.asarray(changed - y))[..., :cut].max(initial=0.0)
    scale = max(float(jnp.abs(y).max()), float(jnp.abs(changed).max()))
    assert leak <= CAUSAL["float32"] * scale


@CHECK
@given(SHAPES.filter(lambda s: s[2] > 0), SEEDS)
def test_future_taps_are_the_mirror_of_past_taps(shape, seed):
    u, _, k, options = draw(shape, seed)
    ahead = options["k_future"]
    nothing = jnp.zeros_like(k[:, :1])
    y = long_conv(u, nothing, k_future=ahead)
    delayed = jnp.concatenate([nothing, ahead], -1)[:, : u.shape[-1]]
    assert_close(y, long_conv(u[..., ::-1], delayed)[..., ::-1])
    cut = u.shape[-1] // 2
    changed = long_conv(u.at[..., :cut].add(1.0), nothing, k_future=ahead)
    leak = float(jnp.abs(changed - y)[..., cut:].max())
    assert leak <= CAUSAL["float32"] * float(jnp.abs(changed).max())


@CHECK
@given(SHAPES, SEEDS)
def test_adjoint(shape, seed):
    u, v, k, options = draw(shape, seed)
    if options["mode"] == "circular":
        lags = np.arange(k.shape[-1])
        full = np.zeros((3, u.shape[-1]), np.float32)
        full[:, -lags % u.shape[-1]] = k
        transposed = long_conv(v, jnp.asarray(full), mode="circular")
    else:
        ahead = options["k_future"]
        past = k[:, :1] if ahead is None else jnp.concatenate([k[:, :1], ahead], -1)
        back = k[:, 1:] if k.shape[-1] > 1 else None
        transposed = long_conv(v, past[:, : v.shape[-1]], k_future=back)
    y = long_conv(u, k, **options)
    left, right = (np.vdot(np.float64(a), np.float64(b)) for a, b in ((y, v), (u, transposed)))
    size = np.linalg.norm(y) * np.linalg.norm(v)
    assert abs(left - right) <= 1e-6 * size


@CHECK
@given(SHAPES, SEEDS)
def test_a_spectrum_serves_as_its_taps(shape, seed):
    u, _, k, options = draw(shape, seed)
    spectrum = SPECTRUM(k, u.shape[-1], **options)
    expected = long_conv(u, k, **options)
    assert_close(long_conv(u, spectrum, mode=options["mode"]), expected)
