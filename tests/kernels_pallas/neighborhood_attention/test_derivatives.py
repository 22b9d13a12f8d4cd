"""Ladder, derivatives of the XLA path: every mode, twice, under vmap, jit and shard_map."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, PartitionSpec

from kernels_pallas import neighborhood_attention
from tests.kernels_pallas.neighborhood_attention.problems import (
    TESTS,
    cast,
    cotangents,
    make,
    operands,
)
from tests.numerics import assert_close

# Everything that a call can have, small: what is left out of `moving` is the mask.
FULL = make(
    (7, 5), (3, 2), dilation=(2, 1), stride=(2, 1), causal=(False, True), heads=4, value_dim=3,
    additional=2, mask=True, bias=True,
)  # fmt: skip
LINE = make((9,), (3,), dilation=(2,), stride=(2,), additional=1, mask=True, bias=True)
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiles faster


def drawn(problem, seed=0):
    """The operands in float32 that can move, and the mask."""
    made = cast(operands(problem, [seed, 0]), "float32")
    return {n: a for n, a in made.items() if n != "mask"}, made.get("mask")


def attend(problem, mask, moving, implementation="xla"):
    return neighborhood_attention(
        **moving, **problem.options(), mask=mask, return_lse=True, implementation=implementation
    )


def loss(problem, mask, moving, implementation="xla"):
    """A scalar of out and lse that is not linear in either."""
    out, lse = attend(problem, mask, moving, implementation)
    lse = jnp.where(lse > -jnp.inf, lse, 0)
    return (jnp.sin(out)).sum() + (lse * jnp.cos(lse)).sum()


def moved(moving, seed=7):
    keys = jax.random.split(jax.random.key(seed), len(moving))
    return {
        n: jax.random.normal(key, a.shape) for key, (n, a) in zip(keys, moving.items(), strict=True)
    }


def both(transform, problem, *, seed=0):
    """The transformed loss by the XLA path and by the definition, and the same operands."""
    moving, mask = drawn(problem, seed)
    ours, exact = (
        jit(transform(partial(loss, problem, mask, implementation=name)))(moving)
        for name in ("xla", "reference")
    )
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        assert_close(a, b)
    return ours


def test_forward_mode():
    both(lambda f: lambda a: jax.jvp(f, (a,), (moved(a),)), FULL)


def test_forward_mode_in_one_operand():
    moving, mask = drawn(LINE)
    for name in ("k", "bias"):
        rest = {n: a for n, a in moving.items() if n != name}

        def of_one(a, implementation, name=name, rest=rest):
            return loss(LINE, mask, {**rest, name: a}, implementation)

        def along(a, t, implementation, of_one=of_one):
            return jax.jvp(partial(of_one, implementation=implementation), (a,), (t,))

        ours, exact = (
            jit(partial(along, implementation=i))(moving[name], moved(moving)[name])
            for i in ("xla", "reference")
        )
        assert_close(ours[1], exact[1])


@pytest.mark.parametrize(
    "second",
    [
        lambda f: jax.grad(lambda a: sum((x**2).sum() for x in jax.tree.leaves(jax.grad(f)(a)))),
        lambda f: lambda a: jax.jvp(jax.grad(f), (a,), (moved(a),))[1],
        lambda f: jax.grad(lambda a: jax.jvp(f, (a,), (moved(a),))[1]),
    ],
    ids=["reverse over reverse", "forward over reverse", "reverse over forward"],
)
def test_second_order(second):
    both(second, LINE)


@pytest.mark.slow
def test_second_order_of_everything():
    both(lambda f: lambda a: jax.jvp(jax.grad(f), (a,), (moved(a),))[1], FULL)


@pytest.mark.slow
def test_third_order():
    def third(f):
        def along(a):
            return jax.jvp(jax.grad(f), (a,), (moved(a),))[1]

        return lambda a: jax.jvp(along, (a,), (moved(a, 8),))[1]

    both(third, LINE)


@pytest.mark.parametrize("mapped", [("q", "k", "v"), ("q",), ("bias",), ("v", "bias")], ids=str)
def test_vmap_and_its_gradient(mapped):
    """vmap of grad, grad of vmap and jvp of vmap, against a loop over the definition."""
    moving, mask = drawn(LINE)
    stacked = {n: jnp.stack([moving[n], moved(moving, 3)[n]]) for n in mapped}
    rest = {n: a for n, a in moving.items() if n not in mapped}

    def one(some, implementation):
        return loss(LINE, mask, {**rest, **some}, implementation)

    ours = partial(one, implementation="xla")
    exact = jit(jax.grad(partial(one, implementation="reference")))
    expected = jax.tree.map(
        lambda *a: jnp.stack(a), *(exact({n: a[i] for n, a in stacked.items()}) for i in (0, 1))
    )
    inside = jit(jax.vmap(jax.grad(ours)))(stacked)
    outside = jit(jax.grad(lambda a: jax.vmap(ours)(a).sum()))(stacked)
    slopes = {n: jnp.cos(a) for n, a in stacked.items()}
    along = jit(lambda a, t: jax.jvp(lambda a: jax.vmap(ours)(a).sum(), (a,), (t,))[1])
    for name in mapped:
        assert_close(inside[name], expected[name])
        assert_close(outside[name], expected[name])
    terms = [(expected[n] * slopes[n]).sum() for n in mapped]
    scale = float(np.abs(np.concatenate([np.ravel(expected[n] * slopes[n]) for n in mapped])).sum())
    assert abs(float(along(stacked, slopes) - sum(terms))) <= 1e-6 * scale


def test_gradients_under_shard_map_are_summed():
    """A batch over two devices and a bias on both; with the checks of shard_map on."""
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",), axis_types=(AxisType.Auto,))
    moving, _ = drawn(FULL._replace(mask=False))
    specs = {n: PartitionSpec() if n == "bias" else PartitionSpec("data") for n in moving}

    def total(moving):
        part = loss(FULL, None, moving)
        return jax.lax.psum(part, "data")

    sharded = jax.shard_map(total, mesh=mesh, in_specs=(specs,), out_specs=PartitionSpec())
    ours = jit(jax.grad(sharded))(moving)
    exact = jit(jax.grad(lambda a: loss(FULL, None, a, "reference")))(moving)
    for name in moving:
        assert_close(ours[name], exact[name])


def test_pmap():
    """One device: what pmap computes is what jit computes."""
    moving, mask = drawn(LINE)
    slopes = jax.grad(partial(loss, LINE, mask))
    one = jax.pmap(slopes)(jax.tree.map(lambda a: a[None], moving))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(jax.jit(slopes)(moving)), strict=True):
        assert_close(a[0], b)


def test_a_query_without_a_key():
    """Value 0, lse -inf, gradient 0, and no NaN in any derivative."""
    problem = make((6,), (3,), batch=1)
    moving, _ = drawn(problem)
    mask = jnp.array([[False, False, False, True, False, True]])
    do, dlse = (jnp.asarray(a, jnp.float32) for a in cotangents(problem))

    @jit
    def run(moving):
        values, pull = jax.vjp(lambda a: attend(problem, mask, a), moving)
        curved = jax.jvp(jax.grad(partial(loss, problem, mask)), (moving,), (moved(moving),))
        return values, pull((do, dlse))[0], curved

    (out, lse), slopes, curved = run(moving)
    assert not np.asarray(out[0, :2]).any()
    assert np.isneginf(lse[0, :2]).all()
    assert np.isfinite(lse[0, 2:]).all()
    assert not np.asarray(slopes["q"][0, :2]).any()
    for name in ("k", "v"):
        assert not np.asarray(slopes[name])[0, ~np.asarray(mask[0])].any()
    assert all(np.isfinite(a).all() for a in jax.tree.leaves((slopes, curved)))


@pytest.mark.parametrize("implementation", ["xla", "reference"])
def test_what_is_masked_is_never_read(implementation):
    problem = make((8,), (3,))
    moving, _ = drawn(problem)
    mask = jnp.ones((2, 8), bool).at[:, 4].set(False)
    spoiled = {**moving} | {n: moving[n].at[:, 4].set(jnp.nan) for n in ("k", "v")}
    both = jit(jax.value_and_grad(partial(loss, problem, implementation=implementation), 1))
    value, slopes = both(mask, spoiled)
    expected, exact = both(mask, moving)
    assert float(value) == float(expected)
    for name in moving:
        np.testing.assert_array_equal(slopes[name], exact[name])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_keep_the_dtype(dtype):
    problem = TESTS["2d"]
    made = cast(operands(problem), dtype)
    moving = {n: a for n, a in made.items() if n != "mask"}
    slopes = jax.grad(partial(loss, problem, made["mask"]))(moving)
    assert {a.dtype for a in jax.tree.leaves(slopes)} == {jnp.dtype(dtype)}


def test_the_same_bits_twice():
    moving, mask = drawn(FULL)
    slopes = jit(jax.grad(partial(loss, FULL, mask)))
    for a, b in zip(*(jax.tree.leaves(slopes(moving)) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(a, b)
