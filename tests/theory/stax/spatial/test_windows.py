"""Windows against lax's shapes, and sums over them against loops."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.numerics import assert_close
from theory.stax.block import Block, make
from theory.stax.padding import Padding, padded, reading, spreading
from theory.stax.windows import shared_means, total, window_sums

SIZES = [(5, 3, 1), (5, 2, 2), (7, 4, 3), (3, 3, 2), (4, 6, 1), (6, 1, 4)]


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize(("size", "taps", "stride"), SIZES)
def test_sizes_are_those_of_lax(size, taps, stride, padding):
    x, w = np.zeros((1, size, 1)), np.zeros((taps, 1, 1))
    numbers = ("NHC", "HIO", "NHC")
    forward = jax.eval_shape(
        lambda: lax.conv_general_dilated(x, w, (stride,), padding, dimension_numbers=numbers)
    )
    assert max(0, reading(size, taps, stride, Padding[padding]).size) == forward.shape[1]
    back = jax.eval_shape(
        lambda: lax.conv_transpose(x, w, (stride,), padding, dimension_numbers=numbers)
    )
    assert spreading(size, taps, stride, Padding[padding]).size == back.shape[1]


@pytest.mark.parametrize(("size", "taps", "stride"), SIZES)
def test_transposed_sums_are_those_of_lax(size, taps, stride):
    """Each tap is placed where lax.conv_transpose places it."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=size), rng.normal(size=taps)
    for padding in ("VALID", "SAME"):
        window = spreading(size, taps, stride, Padding[padding])
        z = np.asarray(padded(jnp.asarray(x), {0: window}))
        ours = [z[o : o + taps] @ w for o in range(window.size)]
        lax_out = lax.conv_transpose(
            x[None, :, None],
            w[:, None, None],
            (stride,),
            padding,
            dimension_numbers=("NHC", "HIO", "NHC"),
        )
        assert_close(ours, lax_out[0, :, 0])


@pytest.mark.parametrize(("size", "taps", "stride"), SIZES)
def test_circular_transposed_sums_are_valid_ones_folded(size, taps, stride):
    """What lies beyond an edge is added at the other one, the middle kept in place."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=size).astype("f4"), rng.normal(size=taps).astype("f4")

    def sums(padding):
        window = spreading(size, taps, stride, padding)
        z = np.asarray(padded(jnp.asarray(x), {0: window}))
        return np.array([z[o : o + taps] @ w for o in range(window.size)])

    long, period = sums(Padding.VALID), size * stride
    folded = np.zeros(period)
    for at, value in enumerate(long):
        folded[(at - (len(long) - period) // 2) % period] += value
    assert_close(sums(Padding.CIRCULAR), folded)


def block_of(shape, diagonal, rank, both=True):
    rng = np.random.default_rng(1)
    nngp, ntk = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(2))
    block = make(nngp, both=False, rank=rank, diagonal=diagonal, itself=False)
    return block.with_values(nngp, ntk) if both else block


def places_read(window, size):
    """For each output the places that its taps read, None for zeros; periodic if it wraps."""
    for o in range(window.size):
        taps = []
        for t in range(window.taps):
            at, period = o * window.stride + t - window.low, size * window.dilation
            if window.wrap:
                at %= period
            inside = 0 <= at < period and at % window.dilation == 0
            taps.append(at // window.dilation if inside else None)
        yield taps


def loops(value, windows, shared, rank):
    """The definition: sums over taps of a full value (p_1, q_1, .., N1, N2)."""
    reads = [list(places_read(w, value.shape[2 * a])) for a, w in enumerate(windows)]
    shape = [size for w in windows for size in (w.size, w.size)]
    out = np.zeros([*shape, *value.shape[2 * rank :]])
    for index in itertools.product(*map(range, shape)):
        pairs = []
        for a in range(rank):
            p, q = reads[a][index[2 * a]], reads[a][index[2 * a + 1]]
            pairs.append(list(zip(p, q, strict=True) if shared else itertools.product(p, q)))
        for choice in itertools.product(*pairs):
            at = [place for pair in choice for place in pair]
            if None not in at:
                out[index] += value[tuple(at)]
    return out


# (space, windows): taps over both limits of the unrolled sums, padding once and axis by axis
CASES = {
    "few taps": ((3, 3), [(3, 1, Padding.SAME), (2, 2, Padding.VALID)]),
    "many taps": ((11,), [(11, 4, Padding.CIRCULAR)]),
    "more than once around": ((2,), [(7, 1, Padding.CIRCULAR)]),
    "short axes": ((2, 2), [(3, 1, Padding.SAME), (3, 1, Padding.SAME)]),
}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_sums_are_those_of_loops(name, shared):
    space, settings = CASES[name]
    windows = [reading(n, *setting) for n, setting in zip(space, settings, strict=True)]
    pairs = [n for size in space for n in (size, size)]
    block = block_of((*pairs, 2, 1), diagonal=False, rank=len(space))
    out = (shared_means if shared else window_sums)(block, windows)
    taps = np.prod([w.taps for w in windows]) if shared else 1
    for actual, value in ((out.nngp, block.nngp), (out.ntk, block.ntk)):
        assert_close(actual, loops(np.asarray(value), windows, shared, len(space)) / taps)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("diagonal", [True, False])
def test_total_is_the_sum_over_places(diagonal, both):
    shape = (3, 4, 2, 5) if diagonal else (3, 3, 4, 4, 2, 5)
    block = block_of(shape, diagonal, rank=2, both=both)
    out = total(block)
    axes = tuple(range(block.spatial_axes))
    assert isinstance(out, Block)
    assert (out.rank, out.batch) == (0, (2, 5))
    assert_close(out.nngp, np.asarray(block.nngp, np.float64).sum(axes))
    if both:
        assert_close(out.ntk, np.asarray(block.ntk, np.float64).sum(axes))
