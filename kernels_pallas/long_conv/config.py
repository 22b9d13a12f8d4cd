"""Which form the XLA path takes: a pure function of static sizes. docs/long_conv.md has the figures.

shifts   few taps: shifted copies, added; no transform
real     one real FFT of at least length + taps - 1 (what does not fit a half-length transform
         because it is shorter still), and every circular convolution, of size `length`
half     one complex FFT of at least `length`, twisted by D (see docs/long_conv.md)
"""

from __future__ import annotations

from typing import NamedTuple

SHIFT_TAPS = 32  # up to here shift-and-add beats every transform on CPU, from length 256 to 64K
REAL_OVER_HALF = 1.6  # a real FFT this many times the half-length transform still costs less
ROUGH_PRIME = 13  # a prime factor above this makes padding to the next 5-smooth size faster
BLOCK_BYTES = 1 << 18  # one block's complex temporary: fits the second-level cache
MIN_BLOCKED_BYTES = 1 << 19  # below this one pass over everything is as fast


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
    return Plan("real", real) if real <= REAL_OVER_HALF * half else Plan("half", half)


def use_shifts(taps: int, future_taps: int) -> bool:
    """Whether shift-and-add serves the call."""
    return taps + future_taps <= SHIFT_TAPS


def channel_block(batch: int, channels: int, size: int, itemsize: int) -> int:
    """Channels a block on CPU: the largest divisor whose temporary fits; `channels` means no loop.

    Args:
      batch: signals a channel.
      channels: channels.
      size: points of the transform.
      itemsize: bytes of one complex number.
    """
    row = max(batch, 1) * size * itemsize
    if row * channels <= MIN_BLOCKED_BYTES:
        return max(channels, 1)
    most = max(1, BLOCK_BYTES // row)
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
