"""Which form the XLA path takes: a pure function of static sizes; docs/long_conv.md has figures.

shifts   few taps: shifted copies, added; no transform
half     one complex FFT of at least `length` points, twisted by D (see docs/long_conv.md)
real     one real FFT of at least length + taps - 1 points, where that costs less than `half`;
         and every circular convolution, at `length`

The thresholds are medians of float32 runs on 2 CPU cores, JAX 0.10.2.
"""

from __future__ import annotations

from typing import NamedTuple

# Forward: 64 shifts take 0.3 to 0.65 of a transform from length 256 to 16K.
SHIFT_TAPS = 64
# Derivative: each tap's is a reduction of its own. 8 taps cost what a transform does, 32 cost 4
# (length 1K) to 9 times (16K) as much.
SHIFT_TAPS_DIFFERENTIATED = 8
# A real transform this many times the half-length one costs the same, forward and backward: 0.9 to
# 1.0 of it at 1.5 (length 1K); 0.75 to 0.95 at 1.75 (4K to 64K).
REAL_OVER_HALF_SHORT, REAL_OVER_HALF_LONG = 1.5, 1.8
LONG = 2048
# Padding to the next 5-smooth size: equal at 13 (286, 1001), 1.1 to 2 times faster from 17 up,
# 5 to 8 times for primes near 4K and 8K.
ROUGH_PRIME = 13
# Blocks of channels pay 1.3 to 2.5 times once every pass over the complex temporary faults its
# pages in anew. Below that, small blocks pay 1.1 to 1.4 times in the half form; blocks of 256K, and
# the real form in any blocks, cost up to 2 times.
BLOCK_BYTES, MIN_BLOCKED_BYTES = 1 << 21, 1 << 24
SMALL_BLOCK_BYTES, MIN_SMALL_BLOCKED_BYTES = 1 << 17, 1 << 20


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
    if row * channels >= MIN_BLOCKED_BYTES:
        most = max(1, BLOCK_BYTES // row)
    elif form == "half" and row * channels >= MIN_SMALL_BLOCKED_BYTES and row <= SMALL_BLOCK_BYTES:
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
