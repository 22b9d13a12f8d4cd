"""Ladder, derivatives: every gradient, forward mode, second order, vmap, jit."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import long_conv, long_conv_spectrum
from kernels_pallas.long_conv import cases
from kernels_pallas.long_conv.cases import Case
from tests.kernels_pallas.long_conv.problems import cast, operands, run
from tests.numerics import assert_close

GRADIENTS = [
    "one point",
    "few taps",
    "few taps circular",
    "shifts forward only",
    "full odd",
    "full prime",
    "partial",
    "gated",
    "bidirectional odd",
    "circular odd",
    "no batch",
]
PAIR = ("xla", "reference")
FORMS = pytest.mark.parametrize(
    "case",
    [
        Case(2, 2, 9, 3, 2, skip=True, pre_gate=True, post_gate=True),
        Case(2, 2, 21, 6, 5, skip=True, post_gate=True),
        Case(1, 2, 70, 70, 3, pre_gate=True, layout="BLC"),
        Case(1, 2, 66, 65, mode="circular", skip=True),
    ],
    ids=["shifts", "shifts forward only", "half", "real"],
)


@partial(jax.jit, static_argnames="case")
def gradients(case, arrays, weight):
    return [
        jax.grad(lambda a, n=name: (weight * run(case, a, implementation=n)).sum())(arrays)
        for name in PAIR
    ]


@pytest.mark.parametrize("name", GRADIENTS)
def test_every_gradient(name):
    case = cases.TESTS[name]
    arrays = cast(operands(case))
    ours, expected = gradients(case, arrays, cast(operands(case, seed=1))["u"])
    for argument in arrays:
        assert ours[argument].shape == arrays[argument].shape
        assert_close(ours[argument], expected[argument])


def test_gradients_of_16_bit_inputs_keep_their_dtype():
    case = cases.TESTS["gated"]
    grads = jax.grad(lambda a: run(case, a).astype(jnp.float32).sum())(
        cast(operands(case), "bfloat16")
    )
    assert {g.dtype for g in grads.values()} == {jnp.dtype("bfloat16")}


@partial(jax.jit, static_argnames="case")
def forward_mode(case, arrays, moved):
    """Values and directional derivatives, in all arguments and in each alone."""

    def along(name, arguments):
        def of_some(some):
            return run(case, {**arrays, **some}, implementation=name)

        return jax.jvp(
            of_some, ({a: arrays[a] for a in arguments},), ({a: moved[a] for a in arguments},)
        )

    return [[along(name, list(arrays)), *(along(name, [a]) for a in arrays)] for name in PAIR]


@FORMS
def test_jvp(case):
    ours, expected = forward_mode(case, cast(operands(case)), cast(operands(case, seed=1)))
    for (y, slope), (y_expected, slope_expected) in zip(ours, expected, strict=True):
        assert_close(y, y_expected)
        assert_close(slope, slope_expected)


@FORMS
def test_jacfwd_is_jacrev(case):
    arrays = cast(operands(case))

    def of_taps(k):
        return run(case, {**arrays, "k": k})[:, ::7, ::7]

    forward, reverse = jax.jit(lambda k: (jax.jacfwd(of_taps)(k), jax.jacrev(of_taps)(k)))(
        arrays["k"]
    )
    assert_close(forward, reverse)


@partial(jax.jit, static_argnames="case")
def second_order(case, arrays, moved):
    """Reverse over reverse, and forward over reverse, of both implementations."""

    def both_ways(name):
        slope = jax.grad(lambda a: (run(case, a, implementation=name) ** 3).sum())

        def squared_slope(a):
            return sum((g**2).sum() for g in slope(a).values())

        return jax.grad(squared_slope)(arrays), jax.jvp(slope, (arrays,), (moved,))[1]

    return [both_ways(name) for name in PAIR]


@FORMS
def test_second_order(case):
    ours, expected = second_order(case, cast(operands(case)), cast(operands(case, seed=1)))
    for way in (0, 1):
        for name in expected[way]:
            assert_close(ours[way][name], expected[way][name])


@FORMS
def test_vmap_over_everything(case):
    many = [cast(operands(case, seed)) for seed in range(3)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *many)

    def value_and_slopes(arrays):
        y, pull = jax.vjp(lambda a: run(case, a), arrays)
        return y, pull(y)[0]

    together, slopes = jax.jit(jax.vmap(value_and_slopes))(stacked)
    y, single = jax.jit(value_and_slopes)(many[1])
    assert_close(together[1], y)
    for name in single:
        assert_close(slopes[name][1], single[name])


def test_vmap_of_blocks():
    case = Case(1, 4, 262144, 262144)
    arrays = cast(operands(case))
    doubled = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), arrays)
    y = jax.jit(jax.vmap(lambda a: run(case, a)))(doubled)
    assert_close(y[1], 4 * run(case, arrays))


def test_gradient_through_a_spectrum():
    u = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 77)), jnp.float32)
    k = u[0]

    def direct(k):
        return (long_conv(u, k) ** 2).sum()

    def by_spectrum(k):
        return (long_conv(u, long_conv_spectrum(k, 77)) ** 2).sum()

    assert_close(jax.grad(by_spectrum)(k), jax.grad(direct)(k))
