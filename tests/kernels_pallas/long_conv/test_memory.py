"""What the compiled forward and backward allocate on CPU, beside operands and results."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from kernels_pallas import long_conv

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="of the walk on CPU")


def padded(u, k):
    """What one would write by hand."""
    n = u.shape[-1]
    return jnp.fft.irfft(jnp.fft.rfft(u, 2 * n) * jnp.fft.rfft(k, 2 * n), 2 * n)[..., :n]


def temporary_bytes(function, batch, channels, length):
    def both(u, k, g):
        y, pull = jax.vjp(function, u, k)
        return y, pull(g)

    u = jax.ShapeDtypeStruct((batch, channels, length), jnp.float32)
    k = jax.ShapeDtypeStruct((channels, length), jnp.float32)
    return jax.jit(both).lower(u, k, u).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    ("batch", "channels", "length"),
    [(8, 32, 1024), (8, 32, 4096), (4, 32, 16384), (2, 16, 65536), (2, 8, 262144)],
)
def test_at_most_three_fifths_of_plain_jnp(batch, channels, length):
    ours = temporary_bytes(long_conv, batch, channels, length)
    assert ours <= 0.6 * temporary_bytes(padded, batch, channels, length)


def test_linear_in_the_length():
    """Once several blocks are taken: a block itself has a size of its own."""
    taken = {n: temporary_bytes(long_conv, 2, 16, n) / n for n in (1 << 15, 1 << 16, 1 << 18)}
    assert max(taken.values()) <= 1.5 * min(taken.values()), taken
