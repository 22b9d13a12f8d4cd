"""What a long convolution must cost: bytes that have to move, and floating-point operations.

Memory traffic is compulsory traffic: every input read once, every output written once, and nothing
in between. Operations are counted for an implementation's own algorithm. Together they give the
floor that a benchmark prints its fraction of:

    seconds >= max(bytes / bandwidth, flops / flop rate)

Conventions: a complex FFT of n points is 5 n log2 n operations and a real one half of that; a real
matrix product (a, b) x (b, c) is 2 a b c. Products with twiddles, spectra, gates and skip are left
out: they are a few tens of operations a point.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from kernels_pallas import validate
from kernels_pallas.long_conv import config
from kernels_pallas.long_conv.api import Call

FILTER_BYTES = 4  # of one tap or skip weight: parameters are float32
SPECTRUM_BYTES = 8  # of one frequency: complex64
LARGEST_FACTOR = 64  # of a Monarch decomposition at order 2
MONARCH = ("triton", "mosaic_gpu", "mosaic_tpu")
IMPLEMENTATIONS = ("xla", "reference", *MONARCH)


def signal_bytes(call: Call, *, backward: bool = False) -> int:
    """Bytes of signals that a call must move; the filter's are left out.

        forward     batch channels length itemsize (2 + gates)     u and gates in, y out
        backward    batch channels length itemsize (3 + 2 gates)   u, gates, g in; du, dgates out

    Backward is the backward pass alone, from saved inputs. A gated bfloat16 call moves 8 bytes a
    point forward and 14 backward.
    """
    gates = call.has_pre_gate + call.has_post_gate
    arrays = 3 + 2 * gates if backward else 2 + gates
    points = call.batch * call.channels * call.length
    return points * jnp.dtype(call.dtype).itemsize * arrays


def filter_bytes(call: Call, *, backward: bool = False) -> int:
    """Bytes of taps and skip (or of a spectrum) that a call must move.

        forward     channels (4 (taps + future taps) + 4 skip), or channels (8 frequencies + 4 skip)
        backward    twice that: each is read, and its gradient written

    Taps are float32 parameters. A spectrum's frequencies are those that config.plan gives it, or
    those that a frequency-sparse one keeps.
    """
    weights = FILTER_BYTES * (call.taps + call.future_taps)
    if call.has_spectrum:
        form, size = _transform(call)
        frequencies = size * call.kept // call.blocks if form == "half" else size // 2 + 1
        weights = SPECTRUM_BYTES * frequencies
    once = call.channels * (weights + FILTER_BYTES * call.has_skip)
    return 2 * once if backward else once


def expected_bytes(call: Call, *, backward: bool = False) -> int:
    """Compulsory memory traffic of a call in bytes: `signal_bytes` + `filter_bytes`.

    Args:
      call: the call's static facts.
      backward: the backward pass alone instead of the forward pass.
    """
    return signal_bytes(call, backward=backward) + filter_bytes(call, backward=backward)


def expected_flops(
    call: Call,
    *,
    implementation: str,
    backward: bool = False,
    factors: tuple[int, ...] | None = None,
) -> int:
    """Floating-point operations of a call, by the implementation's algorithm.

    With F one transform's operations, BC = batch channels, T the number of tap arrays (1, and 1
    more with k_future; 0 with a spectrum, which is transformed already):

        reference   2 BC length^2                              backward: twice (dx and dk)
        xla         shifts: 2 BC length (taps + future taps)   backward: twice
                    else F (2 BC + T channels)                 backward: F (3 BC + 2 T channels)
                    F = 5 size log2 size (half-length form), 2.5 size log2 size (real form),
                    the first times kept / blocks for a frequency-sparse filter
        Monarch     F_m 2 BC + 5 size log2 size T channels
                    backward: F_m BC (3 + 1 with a post gate), X is transformed again, + the same
                    F_m = (4 N1 + 8 N2 + 8 N3 ...) size kept / blocks: the first factor's products
                    have a real side (2 of 2 size N1 operations), the others' none (4)

    Args:
      call: the call's static facts.
      implementation: "xla", "reference", or a Monarch backend: "triton", "mosaic_gpu",
        "mosaic_tpu".
      backward: the backward pass alone instead of the forward pass.
      factors: of the Monarch transform, their product its size; None for `balanced_factors`.

    Raises:
      ValueError: an unknown implementation, or factors given to one that has none.
    """
    validate.one_of("implementation", implementation, IMPLEMENTATIONS)
    signals = call.batch * call.channels
    if implementation in MONARCH:
        return _monarch(call, signals, backward, factors)
    if factors is not None:
        raise ValueError(
            f"factors is {factors} with implementation {implementation!r}; accepted: None, or one "
            f"of {', '.join(MONARCH)}"
        )
    passes = 2 if backward else 1
    if implementation == "reference":
        return passes * 2 * signals * call.length**2
    few = config.use_shifts(call.taps, call.future_taps, differentiated=backward)
    if few and not call.has_spectrum:
        return passes * 2 * signals * call.length * (call.taps + call.future_taps)
    form, size = _transform(call)
    one = fft_flops(size) * (call.kept / call.blocks if form == "half" else 1 / 2)
    filters = passes * _tap_arrays(call) * call.channels
    return round(one * ((passes + 1) * signals + filters))


def fft_flops(size: int) -> float:
    """5 size log2 size: a complex FFT of `size` points."""
    return 5 * size * math.log2(size)


def balanced_factors(size: int) -> tuple[int, ...]:
    """`size` as the fewest powers of two of at most 64, at least two, as equal as can be.

    The smallest comes first, where a factor costs half. From 256 to 4096 that is order 2, to 256K
    order 3.

    Raises:
      ValueError: size is no power of two, or below 4.
    """
    bits = size.bit_length() - 1
    if size < 4 or size != 1 << bits:
        raise ValueError(f"size is {size}; accepted: powers of two from 4")
    order = max(2, -(-bits // (LARGEST_FACTOR.bit_length() - 1)))
    return tuple(1 << ((bits + i) // order) for i in range(order))


def floor_seconds(bytes: float, flops: float, bandwidth: float, flop_rate: float) -> float:
    """max(bytes / bandwidth, flops / flop_rate): no run takes less.

    Args:
      bytes: memory traffic in bytes.
      flops: floating-point operations.
      bandwidth: of memory, in bytes/s.
      flop_rate: of arithmetic, in operations/s; math.inf for the floor of memory alone.

    Raises:
      ValueError: a bandwidth or rate that is not positive.
    """
    if not (bandwidth > 0 and flop_rate > 0):
        raise ValueError(f"bandwidth is {bandwidth}, flop_rate {flop_rate}; both must be positive")
    return max(bytes / bandwidth, flops / flop_rate)


def _monarch(
    call: Call,
    signals: int,
    backward: bool,
    factors: tuple[int, ...] | None,
) -> int:
    """The count for a Monarch backend."""
    size = 1 << max(call.length - 1, 3).bit_length()
    if factors is None:
        factors = balanced_factors(size)
    if math.prod(factors) < call.length:
        raise ValueError(f"factors are {factors}; their product must reach length {call.length}")
    size = math.prod(factors)
    transform = (4 * factors[0] + 8 * sum(factors[1:])) * size * call.kept // call.blocks
    count = 3 + call.has_post_gate if backward else 2
    filters = fft_flops(size) * _tap_arrays(call) * call.channels
    return round(transform * count * signals + filters)


def _transform(call: Call) -> tuple[str, int]:
    """The form and the points of the XLA path's transform."""
    if call.blocks > 1:
        return "half", max(1 << (call.length - 1).bit_length(), call.blocks)
    return config.plan(call.length, call.taps, call.future_taps, call.mode)


def _tap_arrays(call: Call) -> int:
    """How many arrays of taps are transformed with the call."""
    return 0 if call.has_spectrum else 1 + (call.future_taps > 0)


__all__ = [
    "balanced_factors",
    "expected_bytes",
    "expected_flops",
    "fft_flops",
    "filter_bytes",
    "floor_seconds",
    "signal_bytes",
]
