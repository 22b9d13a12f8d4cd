"""Which form the XLA path takes: a pure function of static sizes; docs/long_conv.md has figures.

shifts   few taps: shifted copies, added; no transform
half     one complex FFT of at least `length` points, twisted by D (see docs/long_conv.md)
real     one real FFT of at least length + taps - 1 points, where that costs less than `half`;
         and every circular convolution, at `length`

The thresholds are medians in float32 on 2 CPU cores, JAX 0.10.2, from
`python -m benchmarks.long_conv_forms` (benchmarks/results/cpu-2/long_conv_forms.json).
"""

from __future__ import annotations

from typing import NamedTuple

# Forward, length 256 to 16K: 32 shifts take 0.3 to 0.5 of the best transform, 64 take 0.8 to 1.2.
SHIFT_TAPS = 32
# Forward and backward: each tap's derivative is a reduction of its own. 8 taps take 0.8 to 0.9 of
# the best transform, 16 already 1.8 to 4, 32 take 5 to 10.
SHIFT_TAPS_DIFFERENTIATED = 8
# The real transform against the half-length one, forward and backward: 0.8 to 1.0 of its time at
# 1.5 times its size (length 256 and 1K), 0.7 to 0.8 at 1.75 times its size (4K and 16K).
REAL_OVER_HALF_SHORT, REAL_OVER_HALF_LONG = 1.5, 1.8
LONG = 2048
# Padding to the next 5-smooth size, by largest prime factor: no gain at 13 (1001), 0.7 to 1.2 times
# as fast at 17 to 23 below length 400, 2 times at 17017, 1.8 to 10 times for primes.
ROUGH_PRIME = 13
# Blocks of channels, forward: 1.25 to 2.2 times as fast once every pass over the complex temporary
# faults its pages in anew, except in the real form at the longest sizes, which they slow down.
# Below that, blocks of 128K in the half form are 0.96 to 1.3 times as fast; blocks of 256K are down
# to 0.6, and the real form gains nothing.
BLOCK_BYTES, MIN_BLOCKED_BYTES = 1 << 21, 1 << 24
SMALL_BLOCK_BYTES, MIN_SMALL_BLOCKED_BYTES = 1 << 17, 1 << 20
LONGEST_BLOCKED_REAL = 1 << 16


class Plan(NamedTuple):
    """How a convolution is computed."""

    form: str  # "half" or "real": the order of a spectrum's frequencies
    size: int  # points of the transform


def plan(length: int, taps: int, future_taps: int, mode: str) -> Plan:
    """The transform for a call that is not served by shifts.

    Args:
      length: points of the signal.
      taps: present and past taps, 1 to `length`.
      future_taps: taps on the future, 0 to `length`.
      mode: "causal" or "circular".
    """
    if mode == "circular":
        return Plan("real", length)
    half = smooth_size(length) if _largest_prime(length) > ROUGH_PRIME else length
    real = smooth_size(max(length + taps - 1, length + min(future_taps, length - 1)))
    ratio = REAL_OVER_HALF_LONG if length >= LONG else REAL_OVER_HALF_SHORT
    return Plan("real", real) if real <= ratio * half else Plan("half", half)


def use_shifts(taps: int, future_taps: int, *, differentiated: bool) -> bool:
    """Whether shift-and-add serves the call, or its derivative."""
    most = SHIFT_TAPS_DIFFERENTIATED if differentiated else SHIFT_TAPS
    return taps + future_taps <= most


def channel_block(form: str, batch: int, channels: int, size: int, itemsize: int) -> int:
    """Channels a block on CPU: the largest divisor whose temporary fits; `channels` means no loop.

    Args:
      form: "half" or "real".
      batch: signals a channel.
      channels: channels.
      size: points of the transform.
      itemsize: bytes of one complex number.
    """
    row = max(batch, 1) * size * itemsize
    if form == "real" and (size > LONGEST_BLOCKED_REAL or row * channels < MIN_BLOCKED_BYTES):
        return max(channels, 1)
    if row * channels >= MIN_BLOCKED_BYTES:
        most = max(1, BLOCK_BYTES // row)
    elif row * channels >= MIN_SMALL_BLOCKED_BYTES and row <= SMALL_BLOCK_BYTES:
        most = SMALL_BLOCK_BYTES // row
    else:
        return max(channels, 1)
    return max(d for d in range(1, min(most, channels) + 1) if channels % d == 0)


def smooth_size(n: int) -> int:
    """The smallest 2^a 3^b 5^c that is at least n."""
    best = 1 << max(n - 1, 0).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            quotient = -(-n // three)
            best = min(best, three << max(quotient - 1, 0).bit_length())
            three *= 3
        five *= 5
    return best


def _largest_prime(n: int) -> int:
    """The largest prime factor of n (1 for n = 1)."""
    largest, factor = 1, 2
    while factor * factor <= n:
        while n % factor == 0:
            largest, n = factor, n // factor
        factor += 1
    return max(largest, n)
