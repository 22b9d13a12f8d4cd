"""The walk over blocks and its derivatives: equal to the plain code in every mode, at every form.

Small blocks are forced, so that a small problem takes many of them, in both directions.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.long_conv import bilinear, blocks
from kernels_pallas.long_conv.spectrum import sparse_transform, transform
from tests.numerics import assert_close

BATCH, CHANNELS, LENGTH = 4, 6, 60


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


# What fits in a block, in bytes: everything, two channels, two signals of one channel.
WALKS = {"whole": 1 << 30, "channels": 2 * BATCH * 64 * 8, "signals": 2 * 64 * 8}


def problem(name, walk):
    """(operation, filter) by name."""
    k, ahead = normal(1, CHANNELS, LENGTH), normal(2, CHANNELS, LENGTH)
    fits = WALKS[walk]
    if name == "taps":
        return blocks.of_taps("half", LENGTH, lanes=3, block_bytes=fits), (k,)
    if name == "partial":
        return blocks.of_taps("half", 64, lanes=4, block_bytes=fits), (k[:, :20],)
    if name == "bidirectional":
        return blocks.of_taps("half", 64, lanes=2, block_bytes=fits), (k, ahead[:, :41])
    if name == "one step ahead of everything":
        return blocks.of_taps("half", LENGTH, lanes=1, block_bytes=fits), (k[:, :1], ahead)
    if name == "real":
        return blocks.of_taps("real", 120, block_bytes=fits), (k, ahead)
    if name == "odd real":
        return blocks.of_taps("real", 125, block_bytes=fits), (k,)
    lanes = 1
    if name == "spectrum":
        spectrum, lanes = transform(k, ahead, LENGTH, "causal"), 4
        assert spectrum.ordering == "half"
    elif name == "real spectrum":
        spectrum = transform(k[:, :8], None, LENGTH, "causal")
        assert spectrum.ordering == "real"
    else:
        spectrum = sparse_transform(k, ahead, LENGTH, 3, 8)
    return blocks.of_spectrum(spectrum, lanes=lanes, block_bytes=fits), (spectrum.values,)


PROBLEMS = (
    *("taps", "partial", "bidirectional", "one step ahead of everything", "real", "odd real"),
    *("spectrum", "real spectrum", "sparse spectrum"),
)


def pair(name, walk="channels"):
    """The operation as a primitive and as plain code, with x and its filter."""
    operation, f = problem(name, walk)
    x = normal(3, BATCH, CHANNELS, LENGTH)
    return (
        jax.jit(lambda x, *f: bilinear.apply(operation, x, f)),
        jax.jit(lambda x, *f: operation.plain(operation.facts, x, *f)),
        (x, *f),
    )


def same(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        if jnp.iscomplexobj(a):
            a, b = (jnp.stack([z.real, z.imag]) for z in (a, b))
        assert_close(a, b)


@pytest.mark.parametrize(
    ("name", "walk"),
    [(name, "channels") for name in PROBLEMS]
    + [(name, "signals") for name in ("bidirectional", "sparse spectrum", "real")]
    + [("bidirectional", "whole")],
)
def test_values_and_first_derivatives(name, walk):
    ours, theirs, operands = pair(name, walk)
    same(ours(*operands), theirs(*operands))
    g = normal(4, BATCH, CHANNELS, LENGTH)
    (y, pull), (y_plain, pull_plain) = (jax.vjp(f, *operands) for f in (ours, theirs))
    same((y, pull(g)), (y_plain, pull_plain(g)))
    tangents = tuple(a * 0.7 + 0.1 for a in operands)
    same(*(jax.jvp(f, operands, tangents) for f in (ours, theirs)))


@pytest.mark.parametrize("name", ["bidirectional", "sparse spectrum"])
def test_each_operand_alone(name):
    ours, theirs, operands = pair(name)
    g = normal(4, BATCH, CHANNELS, LENGTH)
    for i in range(len(operands)):

        def alone(f, i=i):
            def of_one(a):
                return f(*operands[:i], a, *operands[i + 1 :])

            return of_one

        same(*(jax.vjp(alone(f), operands[i])[1](g) for f in (ours, theirs)))
        same(*(jax.jvp(alone(f), operands[i : i + 1], operands[i : i + 1]) for f in (ours, theirs)))


@pytest.mark.parametrize("name", ["taps", "bidirectional"])
@pytest.mark.parametrize("outer", ["grad", "jvp"])
@pytest.mark.parametrize("inner", ["grad", "jvp"])
def test_second_derivatives(name, inner, outer):
    ours, theirs, operands = pair(name)
    weight = normal(5, BATCH, CHANNELS, LENGTH)
    tangents = [a * 0.3 - 0.2 for a in operands]

    def derived(mode, f):
        if mode == "grad":
            return lambda *a: jax.grad(lambda *b: (weight * f(*b)).sum(), tuple(range(len(a))))(*a)
        return lambda *a: jax.jvp(f, a, tuple(tangents))[1]

    def scalar(f):
        return lambda *a: sum((leaf**2).sum() for leaf in jax.tree.leaves(f(*a)))

    def both(f):
        first = scalar(derived(inner, f))
        if outer == "grad":
            return jax.grad(first, tuple(range(len(operands))))(*operands)
        return jax.jvp(first, operands, tuple(tangents))[1]

    same(both(ours), both(theirs))


def test_the_pullback_is_transposed_too():
    ours, theirs, operands = pair("bidirectional")
    g = normal(4, BATCH, CHANNELS, LENGTH)
    for f in (ours, theirs):
        for wanted in (slice(0, 3), slice(0, 1), slice(1, 3)):

            def pulled(g, f=f, wanted=wanted):
                return jax.vjp(f, *operands)[1](g)[wanted]

            (back,) = jax.linear_transpose(pulled, g)(pulled(g))
            _, pull = jax.vjp(pulled, g)
            assert_close(back, pull(pulled(g))[0])
    first = [
        jax.linear_transpose(lambda g, f=f: jax.vjp(f, *operands)[1](g), g) for f in (ours, theirs)
    ]
    same(*(t(operands) for t in first))


@pytest.mark.parametrize("axes", [(1, None, None), (None, 0, None), (0, 1, 0), (3, None, 1)])
def test_vmap(axes):
    ours, theirs, operands = pair("bidirectional")
    mapped = [
        a if axis is None else jnp.stack([a, 2 * a + 1, -a], axis)
        for a, axis in zip(operands, axes, strict=True)
    ]
    same(*(jax.vmap(f, axes)(*mapped) for f in (ours, theirs)))
    g = normal(4, 3, BATCH, CHANNELS, LENGTH)
    slopes = [
        jax.vmap(lambda g, *a, f=f: jax.vjp(f, *a)[1](g), (0, *axes))(g, *mapped)
        for f in (ours, theirs)
    ]
    same(*slopes)


def test_backward_keeps_only_the_operands():
    ours, _, operands = pair("taps")
    _, pull = jax.vjp(ours, *operands)
    kept = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(pull))
    assert kept <= sum(a.nbytes for a in operands)
