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
# Lanes on CPU. The FFT takes 2.2 ns a point at 2048 points, 3.1 at 4096 to 8192, 3.6 at 16K, 5 at
# 64K and 12 from 256K on; an outer stage of 2 or 4 lanes about 1 each way, of 16 about 2. So 2
# lanes pay at 4096 (0.92 of the time of one), none at 8K to 32K (1.0 to 1.3), 4 at 64K (0.9), where
# the time of 2 is the same, and at 128K (0.45); above, as many as make lanes of 64K.
TWO_LANES, MANY_LANES = range(4096, 8192), 1 << 16  # sizes
FEWEST_OF_MANY, MOST_LANES, LONGEST_LANE = 4, 16, 1 << 16
# Blocks on CPU, bytes of one complex temporary: 1 MB is the best or within 2 % of it from length 1K
# to 64K, forward and backward, and 4 MB takes up to 1.15 times as long. Splitting the batch of one
# channel costs 1.1 to 1.25 times as long backward at 16K to 128K, nothing from 256K on.
BLOCK_BYTES = 1 << 20


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


def lanes(size: int) -> int:
    """Lanes of the half-length transform on CPU: the fewest that keep each one short.

    Args:
      size: points of the transform; the result divides it.
    """
    if size in TWO_LANES:
        fewest = most = 2
    elif size >= MANY_LANES:
        most = MOST_LANES
        fewest = min(max(FEWEST_OF_MANY, -(-size // LONGEST_LANE)), most)
    else:
        return 1
    more, fewer = range(fewest, most + 1), range(fewest - 1, 0, -1)
    return next(r for r in (*more, *fewer) if size % r == 0)


def block(batch: int, channels: int, signal_bytes: int, fits: int) -> tuple[int, int]:
    """Signals and channels a block on CPU: the most whose complex temporary fits.

    Args:
      batch: signals a channel.
      channels: channels.
      signal_bytes: of one signal's transform.
      fits: bytes that a block of channels may take, and half of what signals of one channel may;
        one signal is taken whatever its size.

    Returns:
      (signals, channels), divisors of `batch` and `channels`.
    """
    if fits < batch * signal_bytes:  # one channel; its batch is whole up to twice that size
        return _divisor(batch, max(1, 2 * fits // signal_bytes)), 1
    return max(batch, 1), _divisor(channels, fits // (max(batch, 1) * signal_bytes))


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most `most`."""
    return max((d for d in range(1, min(most, n) + 1) if n % d == 0), default=1)


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
