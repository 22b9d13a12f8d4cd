"""Frequency-sparse filters: what they mean, that zeros are not computed, and what is refused."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import long_conv, long_conv_sparse_spectrum, long_conv_spectrum
from tests.numerics import assert_accurate, assert_close

BATCH, CHANNELS = 2, 3


def normal(seed, *shape, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def by_definition(u, k, ahead, kept, blocks):
    """The masked half-length spectrum, applied in NumPy complex128."""
    length = u.shape[-1]
    size = max(1 << (length - 1).bit_length(), blocks)
    twist = np.exp(-0.5j * np.pi * np.arange(size) / size)

    def transform(x):
        padded = np.zeros((*x.shape[:-1], size))
        padded[..., : x.shape[-1]] = x
        return np.fft.fft(padded * twist)

    spectrum = transform(k)
    if ahead is not None:
        delayed = np.zeros((k.shape[0], size + 1))
        delayed[:, 1 : ahead.shape[1] + 1] = ahead
        delayed[:, length:] = 0
        spectrum = spectrum + transform(delayed[:, :size]).conj()
    spectrum = np.where(np.arange(size) % blocks < kept, spectrum, 0)
    return (twist.conj() * np.fft.ifft(transform(u) * spectrum)).real[..., :length]


@pytest.mark.parametrize("implementation", ["xla", "reference"])
@pytest.mark.parametrize(
    ("length", "kept", "blocks", "future"),
    [(64, 3, 8, 0), (60, 1, 16, 20), (37, 5, 16, 37), (256, 8, 16, 0), (1, 1, 2, 1), (9, 4, 4, 0)],
)
def test_values(implementation, length, kept, blocks, future):
    with jax.enable_x64(True):
        u = normal(0, BATCH, CHANNELS, length, dtype=np.float64)
        k = normal(1, CHANNELS, length, dtype=np.float64)
        ahead = normal(2, CHANNELS, future, dtype=np.float64) if future else None
        spectrum = long_conv_sparse_spectrum(k, length, kept=kept, blocks=blocks, k_future=ahead)
        y = np.asarray(long_conv(u, spectrum, implementation=implementation))
        u, k = np.asarray(u), np.asarray(k)
        ahead = None if ahead is None else np.asarray(ahead)
    expected = by_definition(u, k, ahead, kept, blocks)
    assert_accurate(y, expected, "float64")


def test_all_frequencies_are_the_filter_itself():
    u, k = normal(0, BATCH, CHANNELS, 100), normal(1, CHANNELS, 100)
    spectrum = long_conv_sparse_spectrum(k, 100, kept=16, blocks=16)
    assert_close(long_conv(u, spectrum), long_conv(u, k))


def test_skip_gates_and_channels_last():
    u, k, gate = (
        normal(0, BATCH, 50, CHANNELS),
        normal(1, CHANNELS, 50),
        normal(2, BATCH, 50, CHANNELS),
    )
    skip = normal(3, CHANNELS)
    spectrum = long_conv_sparse_spectrum(k, 50, kept=2, blocks=8)
    y = long_conv(u, spectrum, skip=skip, pre_gate=gate, post_gate=gate, layout="BLC")
    x = np.asarray(u * gate, np.float64).swapaxes(1, 2)
    c = by_definition(x, np.asarray(k, np.float64), None, 2, 8)
    expected = (c + np.asarray(skip)[:, None] * x).swapaxes(1, 2) * np.asarray(gate)
    assert_close(y, expected)


@pytest.mark.parametrize("kept", [1, 3, 8])
def test_lanes_that_are_zero_are_not_transformed(kept):
    """Every transform has size / blocks points, and the spectrum holds what is kept."""
    spectrum = long_conv_sparse_spectrum(normal(1, CHANNELS, 256), 256, kept=kept, blocks=8)
    assert spectrum.values.shape == (CHANNELS, kept, 32)
    exported = jax.export.export(jax.jit(long_conv), platforms=["cuda"])
    text = exported(normal(0, BATCH, CHANNELS, 256), spectrum).mlir_module()
    lengths = re.findall(r"stablehlo\.fft .*length = \[(\d+)\]", text)
    assert set(lengths) == {"32"}


def test_gradient_of_the_taps():
    u, k, g = (
        normal(0, BATCH, CHANNELS, 60),
        normal(1, CHANNELS, 60),
        normal(2, BATCH, CHANNELS, 60),
    )

    def loss(k, implementation):
        spectrum = long_conv_sparse_spectrum(k, 60, kept=3, blocks=8)
        return (g * long_conv(u, spectrum, implementation=implementation)).sum()

    assert_close(*(jax.grad(loss)(k, name) for name in ("xla", "reference")))


def test_refused():
    k = jnp.ones((2, 8))
    for options, error, text in (
        ({"kept": 0}, ValueError, "kept is 0"),
        ({"kept": 9, "blocks": 8}, ValueError, "kept is 9"),
        ({"kept": 1.0}, TypeError, "kept"),
        ({"kept": 1, "blocks": 3}, ValueError, "blocks is 3"),
        ({"kept": True}, TypeError, "kept"),
    ):
        with pytest.raises(error, match=text):
            long_conv_sparse_spectrum(k, 8, **options)
    sparse = long_conv_sparse_spectrum(k, 8, kept=1, blocks=4)
    u = jnp.ones((1, 2, 8))
    with pytest.raises(ValueError, match="mode"):
        long_conv(u, sparse, mode="circular")
    with pytest.raises(ValueError, match="length 8"):
        long_conv(jnp.ones((1, 2, 9)), sparse)
    with pytest.raises(ValueError, match=r"3 of 8|1 of 4"):
        long_conv(u.astype(jnp.bfloat16), sparse, implementation="mosaic_gpu")
    dense = long_conv_spectrum(k, 8)
    with pytest.raises(TypeError, match="already a Spectrum"):
        long_conv_sparse_spectrum(dense, 8, kept=1)  # pyright: ignore[reportArgumentType]
