"""Long filters against their published definitions, written again in NumPy."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from farwide.models import SGConvFilter, SquashedFilter, sgconv_taps, squash
from farwide.models.filters import sgconv_scales


def upsample_linear(row, factor):
    """Half-pixel linear interpolation with clamped edges, one output at a time."""
    out = []
    for j in range(len(row) * factor):
        position = min(max((j + 0.5) / factor - 0.5, 0.0), len(row) - 1.0)
        low = int(np.floor(position))
        high = min(low + 1, len(row) - 1)
        out.append(row[low] + (position - low) * (row[high] - row[low]))
    return np.array(out)


@pytest.mark.parametrize(("length", "scale_dim"), [(256, 16), (100, 8), (16, 16), (9, 16)])
def test_sgconv_taps_follow_the_definition(length, scale_dim):
    scales = sgconv_scales(length, scale_dim)
    weights = np.random.default_rng(0).normal(size=(scales, 3, scale_dim)).astype(np.float32)
    taps = np.asarray(sgconv_taps(jax.numpy.asarray(weights), length, decay=2.0))
    for channel in range(3):
        pieces = [
            upsample_linear(weights[i, channel], 2 ** max(0, i - 1)) * 0.5**i for i in range(scales)
        ]
        np.testing.assert_allclose(taps[channel], np.concatenate(pieces)[:length], atol=1e-6)
    assert taps.shape == (3, length)


def test_sgconv_scales_cover_the_length():
    for length in range(1, 600):
        scales = sgconv_scales(length, 16)
        covered = 16 * sum(2 ** max(0, i - 1) for i in range(scales))
        assert covered >= length
        assert scales == 1 or covered // 2 < length


def test_sgconv_starts_with_unit_norm_and_decays():
    taps = np.asarray(SGConvFilter(32, 256, 16).init_with_output(jax.random.key(0))[0])
    np.testing.assert_allclose(np.linalg.norm(taps, axis=-1), 1.0, rtol=0.02)
    energy = (taps**2).mean(axis=0)
    assert energy[:16].mean() > 10 * energy[128:].mean()


def test_squash_is_the_soft_threshold():
    values = np.array([-0.5, -0.1, -0.05, 0.0, 0.05, 0.1, 0.5], np.float32)
    np.testing.assert_allclose(squash(values, 0.1), [-0.4, 0, 0, 0, 0, 0, 0.4], atol=1e-7)


def test_squashed_filter_decays_by_channel_and_is_sparse():
    filter_ = SquashedFilter(64, 512)
    taps, _ = filter_.init_with_output(jax.random.key(0))
    taps = np.asarray(taps)
    assert taps.shape == (64, 512)
    assert (taps == 0).mean() > 0.1
    late = np.abs(taps[:, 256:]).mean(axis=1)
    assert late[-16:].mean() < 0.3 * late[:16].mean()  # later channels forget faster
