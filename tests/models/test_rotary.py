"""Axial rotary embedding against its definition by complex numbers."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from farwide.models import axial_rotary
from tests.numerics import assert_close, assert_rounded_once


def turned(x, base):
    """Features j and j + m/2 of each axis's part as one complex number, float64."""
    space = x.shape[1:-2]
    part = x.shape[-1] // len(space)
    y = np.array(x, np.float64)
    for place in np.ndindex(*space):
        for axis, coordinate in enumerate(place):
            for j in range(part // 2):
                a, b = axis * part + j, axis * part + j + part // 2
                here = (slice(None), *place, slice(None))
                z = (x[here][..., a] + 1j * x[here][..., b]).astype(complex)
                z = z * np.exp(1j * coordinate * base ** (-2 * j / part))
                y[here][..., a], y[here][..., b] = z.real, z.imag
    return y


@pytest.mark.parametrize("space", [(7,), (3, 5), (2, 4, 3)])
def test_the_definition(space):
    x = np.random.default_rng(0).standard_normal((2, *space, 3, 12)).astype(np.float32)
    assert_close(axial_rotary(jnp.asarray(x), base=50.0), turned(x, 50.0))
    narrow = jnp.asarray(x, "bfloat16")
    y = axial_rotary(narrow)
    assert y.dtype == jnp.bfloat16
    assert_rounded_once(y, turned(np.asarray(narrow, np.float64), 10000.0), "bfloat16")


def test_products_depend_on_the_difference_of_coordinates():
    rng = np.random.default_rng(1)
    q, k = (jnp.asarray(np.tile(rng.standard_normal(8), (1, 6, 9, 1, 1))) for _ in range(2))
    scores = np.einsum("yxd,vud->yxvu", *(np.asarray(axial_rotary(a))[0, :, :, 0] for a in (q, k)))
    assert np.abs(scores[1:, 2:, 1:, 2:] - scores[:-1, :-2, :-1, :-2]).max() < 1e-5
    assert np.abs(scores[0, 0] - scores[0, 0, 0, 0]).max() > 0.1


@pytest.mark.parametrize(
    ("shape", "base", "message"),
    [
        ((2, 5, 3, 7), 1e4, "x has head_dim 7"),
        ((2, 5, 5, 3, 6), 1e4, "multiple of 4"),
        ((2, 3, 8), 1e4, "x has shape"),
        ((2, 5, 3, 8), 0.0, "base is 0.0"),
        ((2, 5, 3, 8), float("nan"), "base is nan"),
    ],
)
def test_errors(shape, base, message):
    with pytest.raises(ValueError, match=message):
        axial_rotary(jnp.zeros(shape), base=base)
