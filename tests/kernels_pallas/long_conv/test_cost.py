"""Bytes and operations of a call, against counts by hand."""

from __future__ import annotations

import math

import pytest

from kernels_pallas.long_conv import cost
from kernels_pallas.long_conv.api import Call

PLAIN = Call(
    batch=2, channels=3, length=8, taps=8, future_taps=0, dtype="float32", mode="causal",
    layout="BCL", has_spectrum=False, has_skip=False, has_pre_gate=False, has_post_gate=False,
)  # fmt: skip
LONG = PLAIN._replace(length=1024, taps=1024)
FLASH = LONG._replace(
    batch=64, channels=768, dtype="bfloat16", has_pre_gate=True, has_post_gate=True
)


def test_bytes_of_a_plain_call():
    signal, taps = 2 * 3 * 8 * 4, 3 * 8 * 4
    assert cost.expected_bytes(PLAIN) == 2 * signal + taps  # u, k; y
    assert cost.expected_bytes(PLAIN, backward=True) == 3 * signal + 2 * taps  # u, g, k; du, dk


def test_bytes_of_everything_at_once():
    call = PLAIN._replace(
        dtype="bfloat16", taps=5, future_taps=7, has_skip=True, has_pre_gate=True,
        has_post_gate=True,
    )  # fmt: skip
    signal, weights = 2 * 3 * 8 * 2, 3 * (5 + 7 + 1) * 4
    assert cost.signal_bytes(call) == 4 * signal  # u, two gates; y
    assert cost.filter_bytes(call) == weights
    assert cost.expected_bytes(call) == 4 * signal + weights
    # in: u, two gates, g; out: du, dpre, dpost
    assert cost.expected_bytes(call, backward=True) == 7 * signal + 2 * weights


def test_bytes_of_a_spectrum():
    call = LONG._replace(has_spectrum=True)  # half-length: 1024 complex numbers a channel
    assert cost.filter_bytes(call) == 3 * 1024 * 8
    circular = call._replace(mode="circular")  # real: 513
    assert cost.filter_bytes(circular) == 3 * 513 * 8


@pytest.mark.parametrize(
    ("length", "milliseconds"),
    [(1024, 0.134), (4096, 0.537), (8192, 1.07), (16384, 2.15), (32768, 4.29)],
)
def test_the_published_floor_counts_signals_alone(length, milliseconds):
    call = FLASH._replace(length=length, taps=length)
    seconds = cost.floor_seconds(cost.signal_bytes(call), 0, 3.0e12, math.inf)
    assert 1e3 * seconds == pytest.approx(milliseconds, rel=5e-3)
    # float32 taps beside 64 signals of 16 bits and four arrays: under 1 % more
    assert cost.expected_bytes(call) == pytest.approx(cost.signal_bytes(call), rel=1e-2)


def test_flops_of_xla():
    one = 5 * 1024 * 10  # half-length form, log2(1024) = 10
    assert cost.expected_flops(LONG, implementation="xla") == one * (2 * 6 + 3)
    # backward: F(g), F(u) and one inverse a signal; the taps' spectrum and their gradient
    assert cost.expected_flops(LONG, implementation="xla", backward=True) == one * (3 * 6 + 2 * 3)
    both = LONG._replace(future_taps=1024)
    assert cost.expected_flops(both, implementation="xla") == one * (2 * 6 + 2 * 3)
    ready = LONG._replace(has_spectrum=True)
    assert cost.expected_flops(ready, implementation="xla") == one * 2 * 6
    sparse = ready._replace(kept=3, blocks=8)
    assert cost.expected_flops(sparse, implementation="xla") == one * 2 * 6 * 3 / 8
    assert cost.filter_bytes(sparse) == cost.filter_bytes(ready) * 3 // 8
    circular = LONG._replace(mode="circular")  # a real transform is half of a complex one
    assert cost.expected_flops(circular, implementation="xla") == one * (2 * 6 + 3) / 2
    # taps = length / 4 at 4096: the real form at 5120 points
    partial = LONG._replace(length=4096, taps=1024)
    expected = 2.5 * 5120 * math.log2(5120) * (2 * 6 + 3)
    assert cost.expected_flops(partial, implementation="xla") == round(expected)


def test_flops_of_few_taps():
    call = LONG._replace(taps=4, future_taps=3)
    assert cost.expected_flops(call, implementation="xla") == 2 * 6 * 1024 * 7
    assert cost.expected_flops(call, implementation="xla", backward=True) == 4 * 6 * 1024 * 7


def test_flops_of_the_reference():
    assert cost.expected_flops(PLAIN, implementation="reference") == 2 * 6 * 64
    assert cost.expected_flops(PLAIN, implementation="reference", backward=True) == 4 * 6 * 64


@pytest.mark.parametrize("implementation", ["triton", "mosaic_gpu", "mosaic_tpu"])
def test_flops_of_a_monarch_transform(implementation):
    # 1024 = 32 x 32. One transform: 2 products (32,32)(32,32) of 2*32^3, then 4; and back.
    one, spectrum = (2 + 4) * 2 * 32**3, 5 * 1024 * 10 * 3
    flops = cost.expected_flops(LONG, implementation=implementation)
    assert flops == 2 * 6 * one + spectrum
    # backward: of u and g, and one inverse; with a post gate one more
    assert cost.expected_flops(LONG, implementation=implementation, backward=True) == (
        3 * 6 * one + spectrum
    )
    gated = LONG._replace(has_post_gate=True)
    assert cost.expected_flops(gated, implementation=implementation, backward=True) == (
        4 * 6 * one + spectrum
    )


def test_flops_of_monarch_orders():
    call = LONG._replace(length=4096, taps=4096, has_spectrum=True)

    def count(**options):
        return cost.expected_flops(call, implementation="triton", **options)

    two = 6 * 2 * 4096 * (4 * 64 + 8 * 64)
    three = 6 * 2 * 4096 * (4 * 16 + 8 * 16 + 8 * 16)
    assert count() == count(factors=(64, 64)) == two
    assert count(factors=(16, 16, 16)) == three
    sparse = call._replace(kept=3, blocks=8)
    assert cost.expected_flops(sparse, implementation="triton", factors=(16, 16, 16)) == (
        three * 3 // 8
    )
    # a ragged length is padded to a power of two
    ragged = call._replace(length=4000)
    assert cost.expected_flops(ragged, implementation="triton") == two


def test_balanced_factors():
    assert cost.balanced_factors(256) == (16, 16)
    assert cost.balanced_factors(2048) == (32, 64)
    assert cost.balanced_factors(4096) == (64, 64)
    assert cost.balanced_factors(8192) == (16, 16, 32)
    assert cost.balanced_factors(32768) == (32, 32, 32)
    for bits in range(2, 23):
        factors = cost.balanced_factors(1 << bits)
        assert math.prod(factors) == 1 << bits
        assert max(factors) <= 2 * min(factors) <= 128


def test_floor_is_the_larger_of_the_two():
    assert cost.floor_seconds(6e12, 1.0, 3e12, 1e15) == 2.0
    assert cost.floor_seconds(1.0, 4e15, 3e12, 1e15) == 4.0


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"^implementation"):
        cost.expected_flops(LONG, implementation="cudnn")
    with pytest.raises(ValueError, match=r"^factors"):
        cost.expected_flops(LONG, implementation="xla", factors=(32, 32))
    with pytest.raises(ValueError, match=r"^factors"):
        cost.expected_flops(LONG, implementation="triton", factors=(16, 16))
    with pytest.raises(ValueError, match=r"^size"):
        cost.balanced_factors(96)
    with pytest.raises(ValueError, match="bandwidth"):
        cost.floor_seconds(1.0, 1.0, 0.0, 1.0)
