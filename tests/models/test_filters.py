"""Long filters against their published definitions, written again in NumPy."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from farwide.models import (
    Hyena,
    HyenaFilter,
    SGConv,
    SGConvFilter,
    Squash,
    SquashedFilter,
    sgconv_taps,
    squash,
)
from farwide.models.filters import make_filter, sgconv_scales, smooth


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


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_smoothing_is_a_centred_mean(window):
    taps = np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    before, after = window // 2, (window - 1) // 2
    padded = np.pad(taps, ((0, 0), (before, after)))
    expected = [padded[:, t : t + window].sum(1) / window for t in range(9)]
    np.testing.assert_allclose(smooth(taps, window), np.transpose(expected), atol=1e-6)


def test_dropped_taps_are_zero_and_the_rest_is_scaled():
    filter_ = make_filter(Squash(threshold=0.0, dropout=0.25), 8, 500)
    params = filter_.init(jax.random.key(0))
    quiet = np.asarray(filter_.apply(params))
    noisy = np.asarray(filter_.apply(params, False, rngs={"dropout": jax.random.key(1)}))
    dropped = noisy == 0
    assert 0.2 < dropped.mean() < 0.3
    np.testing.assert_allclose(noisy[~dropped], quiet[~dropped] / 0.75, rtol=1e-5)


def test_hyena_taps_are_the_sine_network_times_the_window():
    """Written again in NumPy from the parameters."""
    config = Hyena(bands=2, hidden=8, layers=2, frequency=3.0)
    length, channels = 50, 4
    filter_ = HyenaFilter(channels, length, config)
    taps, variables = filter_.init_with_output(jax.random.key(0))
    p = variables["params"]
    n = np.arange(length)
    features = [n / (length - 1)]
    for trig in (np.cos, lambda a: -np.sin(a)):
        features += [trig(2 * np.pi * f * n / length) for f in (1e-4, 1.0)]
    h = np.array([features[0], *features[1:]]).T
    for i in range(2):
        layer = p[f"sine_{i}"]
        h = np.sin(np.asarray(p["frequency"]) * (h @ layer["kernel"] + layer["bias"]))
    rates = np.linspace(np.log(100) / 1.5, np.log(100) / 0.3, channels)
    window = np.exp(-rates[:, None] * features[0]) + config.shift
    np.testing.assert_allclose(taps, window * (h @ p["out"]).T, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(taps, axis=1), 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Squash, {"threshold": -1.0}, "threshold is -1.0"),
        (Squash, {"smooth": 0}, "smooth is 0"),
        (Squash, {"init": "zeros"}, "init is 'zeros'"),
        (Squash, {"dropout": 1.0}, "dropout is 1.0"),
        (SGConv, {"decay": 0.5}, "decay is 0.5"),
        (SGConv, {"scale_dim": 0}, "scale_dim is 0"),
        (Hyena, {"fast": 2.0}, "fast is 2.0"),
        (Hyena, {"hidden": 0}, "hidden is 0"),
    ],
)
def test_bad_settings_are_named(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_an_unknown_filter_is_named():
    with pytest.raises(TypeError, match="filter is 's4'"):
        make_filter("s4", 4, 8)  # pyright: ignore[reportArgumentType]
