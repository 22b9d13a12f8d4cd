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

# Forward, length 256 to 16K: 32 shifts take 0.3 to 0.5 of the best transform, 64 take 0.7 to 1.2.
SHIFT_TAPS = 32
# Forward and backward: each tap's derivative is a reduction of its own. 8 taps take 0.5 to 0.8 of
# the best transform, 16 take 0.9 to 2.2, 32 take 2.6 to 5.
SHIFT_TAPS_DIFFERENTIATED = 8
# The real transform against the half-length one, forward and backward: 0.6 to 0.8 of its time at
# about its size, 0.8 at 1.13 times its size, 1.0 to 1.1 at 1.5 times, 1.0 to 1.3 at 1.75 times.
REAL_OVER_HALF = 1.4
# Padding to the next 5-smooth size, by largest prime factor: 1.1 times as fast at 13 (286, 1001),
# 1.2 to 1.4 times at 17 to 23 below length 400, 2.7 times at 17017, 2 to 11 times for primes.
ROUGH_PRIME = 13
# Lanes on CPU. The FFT takes 2.2 ns a point at 2048 points, 3.1 at 4096 to 8192, 3.6 at 16K, 5 at
# 64K and 12 from 256K on; an outer stage of 2 or 4 lanes about 1 each way, of 16 about 2. So 2
# lanes pay at 4096 (0.93 of the time of one), none at 8K to 32K (1.0 to 1.15), 2 at 64K (0.88) and
# 4 at 128K (0.47); above, as many as make lanes of 64K (4 at 256K take 0.56 of the time of 2, 8 at
# 512K 0.7 of that of 4, 16 at 1M 0.7 of that of 8).
TWO_LANES, MANY_LANES = range(4096, 8192), 1 << 16  # sizes
FEWEST_LANES = 2, 4  # of many: below twice that size, and from there on
MOST_LANES, LONGEST_LANE = 16, 1 << 16
# Blocks on CPU, bytes of one complex temporary: 256 KB to 1 MB are within 5 % of one another from
# length 1K on, forward and backward; 4 MB take up to 1.15 times as long.
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
    return Plan("real", real) if real <= REAL_OVER_HALF * half else Plan("half", half)


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
        fewest = min(max(FEWEST_LANES[size >= 2 * MANY_LANES], -(-size // LONGEST_LANE)), most)
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
      fits: bytes that a block may take; one signal is taken whatever its size.

    Returns:
      (signals, channels), divisors of `batch` and `channels`.
    """
    most = max(1, fits // signal_bytes)
    if most < batch:
        return _divisor(batch, most), 1
    return max(batch, 1), _divisor(channels, most // max(batch, 1))


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
