"""The plan: sizes that can hold the result, and which form serves which problem."""

from __future__ import annotations

import pytest

from kernels_pallas.long_conv import config


def test_smooth_sizes_are_the_smallest():
    def smooth(n):
        for p in (2, 3, 5):
            while n % p == 0:
                n //= p
        return n == 1

    smallest = 0
    for n in range(1, 3000):
        smallest = max(smallest, n)
        while not smooth(smallest):
            smallest += 1
        assert config.smooth_size(n) == smallest


@pytest.mark.parametrize("length", [1, 2, 3, 97, 100, 4093, 4096])
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.7, 1.0])
def test_no_alias_reaches_the_result(length, fraction):
    taps = max(1, int(length * fraction))
    for future in (0, 1, taps, length):
        form, size = config.plan(length, taps, future, "causal")
        if form == "half":
            assert length <= size
        else:
            assert size >= length + taps - 1
            assert size >= length + min(future, length - 1)
    assert config.plan(length, taps, 0, "circular") == ("real", length)


def test_forms():
    assert config.plan(256, 256, 0, "causal") == ("half", 256)
    assert config.plan(255, 255, 255, "causal") == ("half", 256)
    assert config.plan(135, 135, 0, "causal") == ("half", 135)
    assert config.plan(4096, 2048, 0, "causal") == ("half", 4096)
    assert config.plan(4096, 1024, 0, "causal") == ("real", 5120)
    assert config.use_shifts(8, 0, differentiated=True)
    assert not config.use_shifts(8, 1, differentiated=True)
    assert config.use_shifts(20, 12, differentiated=False)
    assert not config.use_shifts(32, 1, differentiated=False)


@pytest.mark.parametrize(
    ("batch", "channels", "points"),
    [(8, 128, 4096), (4, 127, 16384), (2, 96, 65536), (64, 6, 2**20), (1, 1, 1), (0, 0, 256)],
)
def test_blocks_divide_and_fit(batch, channels, points):
    fits = 1 << 21
    signals, block = config.block(batch, channels, 8 * points, fits)
    assert batch % signals == 0
    assert channels % block == 0
    assert signals * block == 1 or signals * block * points * 8 <= fits
    assert block == 1 or signals == max(batch, 1)


@pytest.mark.parametrize("size", [1, 7, 256, 4095, 4096, 6000, 65536, 3 * 2**16, 2**20, 2**22])
def test_lanes_divide_and_are_short(size):
    lanes = config.lanes(size)
    assert size % lanes == 0
    if size >= config.MANY_LANES:
        assert size // lanes <= config.LONGEST_LANE or lanes == config.MOST_LANES
    else:
        assert lanes == (2 if size in config.TWO_LANES and size % 2 == 0 else 1)


def test_a_size_without_small_factors_has_one_lane():
    assert config.lanes(4099) == 1
