"""Ladder, derivatives: every gradient, forward mode, second order, vmap, jit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import long_conv, long_conv_spectrum
from kernels_pallas.long_conv import cases
from kernels_pallas.long_conv.cases import Case
from tests.kernels_pallas.long_conv.problems import cast, operands, run
from tests.numerics import assert_close

CASES = pytest.mark.parametrize("case", cases.TESTS.values(), ids=list(cases.TESTS))
FORMS = pytest.mark.parametrize(
    "case",
    [
        Case(2, 2, 9, 3, 2, skip=True, pre_gate=True, post_gate=True),
        Case(2, 2, 21, 6, 5, skip=True, post_gate=True),
        Case(1, 2, 70, 70, 3, pre_gate=True, layout="BLC"),
        Case(1, 2, 90, 70, skip=True),
        Case(1, 2, 66, 65, mode="circular", skip=True),
    ],
    ids=["shifts", "shifts forward only", "half", "half partial", "circular"],
)


def gradients(case, arrays, implementation):
    weight = jnp.asarray(np.random.default_rng(1).standard_normal(arrays["u"].shape), jnp.float32)
    return jax.grad(lambda a: (weight * run(case, a, implementation=implementation)).sum())(arrays)


@CASES
def test_every_gradient(case):
    arrays = cast(operands(case))
    ours, expected = (gradients(case, arrays, name) for name in ("xla", "reference"))
    for name in arrays:
        assert ours[name].shape == arrays[name].shape
        assert_close(ours[name], expected[name])


def test_gradients_of_16_bit_inputs_keep_their_dtype():
    case = cases.TESTS["gated"]
    grads = jax.grad(lambda a: run(case, a).astype(jnp.float32).sum())(
        cast(operands(case), "bfloat16")
    )
    assert {g.dtype for g in grads.values()} == {jnp.dtype("bfloat16")}


@FORMS
def test_jvp(case):
    arrays, moved = cast(operands(case)), cast(operands(case, seed=1))
    outs = [
        jax.jvp(lambda a, n=name: run(case, a, implementation=n), (arrays,), (moved,))
        for name in ("xla", "reference")
    ]
    for ours, expected in zip(*outs, strict=True):
        assert_close(ours, expected)


@FORMS
def test_jvp_in_one_argument(case):
    arrays, moved = cast(operands(case)), cast(operands(case, seed=1))
    for argument in arrays:
        outs = [
            jax.jvp(
                lambda value, n=name, at=argument: run(
                    case, {**arrays, at: value}, implementation=n
                ),
                (arrays[argument],),
                (moved[argument],),
            )[1]
            for name in ("xla", "reference")
        ]
        assert_close(*outs)


@FORMS
def test_jacfwd_is_jacrev(case):
    arrays = cast(operands(case))

    def of_taps(k):
        return run(case, {**arrays, "k": k})[:, ::7, ::7]

    assert_close(jax.jacfwd(of_taps)(arrays["k"]), jax.jacrev(of_taps)(arrays["k"]))


@FORMS
def test_gradient_of_a_gradient(case):
    arrays = cast(operands(case))

    def second_order(name):
        def squared_slope(a):
            inner = jax.grad(lambda b: (run(case, b, implementation=name) ** 3).sum())(a)
            return sum((g**2).sum() for g in inner.values())

        return jax.grad(squared_slope)(arrays)

    ours, expected = second_order("xla"), second_order("reference")
    for name in arrays:
        assert_close(ours[name], expected[name])


@FORMS
def test_forward_over_reverse(case):
    arrays, moved = cast(operands(case)), cast(operands(case, seed=1))

    def product(name):
        loss = jax.grad(lambda a: (run(case, a, implementation=name) ** 2).sum())
        return jax.jvp(loss, (arrays,), (moved,))[1]

    ours, expected = product("xla"), product("reference")
    for name in arrays:
        assert_close(ours[name], expected[name])


@FORMS
@pytest.mark.parametrize("implementation", ["xla", "reference"])
def test_vmap_over_everything_and_jit(case, implementation):
    many = [cast(operands(case, seed)) for seed in range(3)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *many)

    def one(arrays):
        return run(case, arrays, implementation=implementation)

    together = jax.jit(jax.vmap(one))(stacked)
    for y, arrays in zip(together, many, strict=True):
        assert_close(y, one(arrays))
    slopes = jax.vmap(jax.grad(lambda a: (one(a) ** 2).sum()))(stacked)
    single = jax.grad(lambda a: (one(a) ** 2).sum())(many[1])
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
