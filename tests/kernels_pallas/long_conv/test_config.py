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
    assert config.plan(4096, 2048, 0, "causal") == ("real", 6144)
    assert config.use_shifts(8, 0, differentiated=True)
    assert not config.use_shifts(8, 1, differentiated=True)
    assert config.use_shifts(20, 12, differentiated=False)
    assert not config.use_shifts(32, 1, differentiated=False)


@pytest.mark.parametrize(
    ("batch", "channels", "size"), [(8, 128, 4096), (4, 127, 16384), (2, 96, 65536), (64, 6, 2**20)]
)
def test_blocks_divide_the_channels(batch, channels, size):
    for form in ("half", "real"):
        block = config.channel_block(form, batch, channels, size, 8)
        assert channels % block == 0
        whole = form == "real" and size > config.LONGEST_BLOCKED_REAL
        assert (block == channels) == whole
        assert whole or block == 1 or block * batch * size * 8 <= config.BLOCK_BYTES


def test_small_problems_take_small_blocks_or_none():
    assert config.channel_block("half", 8, 64, 256, 8) == 8
    assert config.channel_block("real", 8, 64, 256, 8) == 64
    assert config.channel_block("half", 4, 16, 256, 8) == 16
    assert config.channel_block("half", 2, 32, 16384, 8) == 32
    assert config.channel_block("real", 2, 64, 98304, 8) == 64
    assert config.channel_block("half", 0, 0, 256, 8) == 1
