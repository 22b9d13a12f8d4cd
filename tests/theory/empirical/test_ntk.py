"""The empirical neural tangent kernel against its definition."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.empirical.networks import NETWORKS, inputs
from tests.theory.empirical.reference import ntk, reduced
from theory.empirical import NtkImplementation, empirical_ntk_fn

IMPLEMENTATIONS = [i for i in NtkImplementation if i is not NtkImplementation.AUTO]
JACOBIAN, PRODUCTS, STRUCTURED = IMPLEMENTATIONS
QUICK = ("mlp", "tied", "conv", "bare")
AXES = [((), ()), ((2,), ()), ((), (-1,)), ((1,), (0,)), ((0, 2), (1,)), ((0,), ())]


def small():
    """One layer with outputs (batch, 2, 3)."""
    w = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2, 3)))
    return lambda p, x: jnp.sin(jnp.einsum("bc,cde->bde", x, p)), w, (4,)


def check(make, implementation, n1=3, n2=2, same=False, **options):
    with jax.enable_x64(True):
        f, params, shape = make()
        x1, x2 = inputs(shape, n1, n2)
        fn = empirical_ntk_fn(f, (), (), 0, implementation, **options)
        actual = [np.asarray(k) for k in jax.tree.leaves(fn(x1, None if same else x2, params))]
        expected = ntk(f, params, x1, x1 if same else x2)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, "float64")


@pytest.mark.parametrize("name", QUICK)
def test_structured_derivatives_of_every_kind_of_network(name):
    check(NETWORKS[name], STRUCTURED)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", [*NtkImplementation])
@pytest.mark.parametrize("name", NETWORKS)
def test_all_implementations_on_all_networks(name, implementation):
    if name == "called" and implementation is PRODUCTS:
        with pytest.raises(TypeError, match="custom_vjp"):
            check(NETWORKS[name], implementation)
    else:
        check(NETWORKS[name], implementation)
        check(NETWORKS[name], implementation, n1=5, n2=3, memory=3000)


@pytest.mark.parametrize(
    ("trace", "diagonal", "mapped", "implementation"),
    [
        *((*axes, True, STRUCTURED) for axes in AXES),
        *((*axes, True, i) for axes in AXES[2:5] for i in (JACOBIAN, PRODUCTS)),
        *((*axes, False, STRUCTURED) for axes in AXES[3:5]),
        *(((1,), (0,), False, i) for i in (JACOBIAN, PRODUCTS)),
    ],
)
def test_traced_and_diagonal_axes(trace, diagonal, mapped, implementation):
    with jax.enable_x64(True):
        f, w, shape = small()
        x1, x2 = inputs(shape, 3, 3 if 0 in trace + diagonal else 2)
        fn = empirical_ntk_fn(f, trace, diagonal, 0 if mapped else None, implementation)
        actual, (full,) = np.asarray(fn(x1, x2, w)), ntk(f, w, x1, x2)
    assert_close(actual, reduced(full, trace, tuple(a % 3 for a in diagonal)), "float64")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("diagonal", [(), (0,)])
def test_tiles_are_the_whole(diagonal, implementation):
    with jax.enable_x64(True):
        f, w, shape = small()
        x1, x2 = inputs(shape, 7, 7 if diagonal else 5)
        fn = empirical_ntk_fn(f, (-1,), diagonal, 0, implementation, memory=4000)
        actual, (full,) = np.asarray(fn(x1, x2, w)), ntk(f, w, x1, x2)
    assert_close(actual, reduced(full, (2,), diagonal), "float64")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_one_set_of_inputs(implementation):
    check(small, implementation, same=True)


def test_examples_along_other_axes_and_arguments_that_are_not_arrays():
    def f(p, x, *, mask, double):
        return jnp.tanh(p.T @ x["a"]) * (2 if double else 1) * mask.T

    with jax.enable_x64(True):
        w = jax.random.normal(jax.random.key(0), (4, 3))
        x1, x2 = (x.T for x in inputs((4,)))
        masks = (jnp.ones((3, 1)).at[1].set(0.5), jnp.ones((2, 1)))
        fn = empirical_ntk_fn(f, 0, (), ({"a": 1}, 1, {"mask": 0}))
        actual = np.asarray(fn({"a": x1}, {"a": x2}, w, mask=masks, double=True))
        (full,) = ntk(lambda p, x: 2 * jnp.tanh(p.T @ x), w, x1, x2)
    expected = reduced(full, (0,), ()) * np.array([1, 0.5, 1])[:, None]
    assert_close(actual, expected, "float64")


def test_float32_and_the_choice():
    f, w, shape = small()
    x1, x2 = inputs(shape)
    actual = empirical_ntk_fn(f, vmap_axes=0)(x1, x2, w)
    assert actual.dtype == jnp.float32
    (full,) = ntk(f, w, x1, x2)
    assert_close(np.asarray(actual), reduced(full, (2,), ()), "float32")


def test_random_keys_are_one_for_equal_inputs_only():
    def f(p, x, rng):
        return x @ p * jax.random.normal(rng, (1, 3))

    w, x = jnp.ones((4, 3)), inputs((4,))[0]
    fn, key = empirical_ntk_fn(f, (), ()), jax.random.key(3)
    same, equal = fn(x, None, w, rng=key), fn(x, x + 0, w, rng=key)
    np.testing.assert_allclose(same, equal, rtol=1e-6)
    other = fn(x, x + 1e-3, w, rng=key)
    assert np.abs(other - same).max() > 0.1
    given = fn(x, x + 1e-3, w, rng=(key, key))
    assert np.abs(given - same).max() < 0.1


@pytest.mark.parametrize("implementation", [JACOBIAN, STRUCTURED])
def test_no_parameters_no_kernel(implementation):
    fn = empirical_ntk_fn(lambda p, x: jnp.tanh(x), (), (), 0, implementation)
    x1, x2 = inputs((2,))
    np.testing.assert_array_equal(fn(x1, x2, ()), np.zeros((3, 2, 2, 2)))


def test_float32_under_x64_stays_float32():
    with jax.enable_x64(True):
        f, w, shape = small()
        x1, x2 = (x.astype(jnp.float32) for x in inputs(shape))
        for which in IMPLEMENTATIONS:
            fn = empirical_ntk_fn(f, vmap_axes=0, implementation=which)
            assert fn(x1, x2, w.astype(jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize("deep", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_linen_module(deep):
    linen = pytest.importorskip("flax.linen")

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            if deep:
                x = linen.relu(linen.Conv(4, (3, 3), strides=2)(x))
                x = x + linen.MultiHeadDotProductAttention(2)(x, x)
            x = linen.LayerNorm()(linen.Dense(3)(x.reshape(x.shape[0], -1)))
            return linen.Dense(2)(linen.relu(x))

    def make():
        shapes = jax.eval_shape(Net().init, jax.random.key(0), jnp.zeros((1, 4, 4, 2)))
        draw = np.random.default_rng(0)
        params = jax.tree.map(lambda p: jnp.asarray(draw.normal(size=p.shape)), shapes)
        return Net().apply, params, (4, 4, 2)

    check(make, STRUCTURED)


@pytest.mark.slow
def test_kernel_can_be_differentiated_and_compiled():
    f, params, shape = NETWORKS["mlp"]()
    x1, x2 = inputs(shape)
    fn = empirical_ntk_fn(f, vmap_axes=0, implementation=STRUCTURED)
    slope = jax.jit(jax.grad(lambda p: fn(x1, x2, p).sum()))(params)["v"]
    step = 1e-2 * jax.random.normal(jax.random.key(5), params["v"].shape)
    up, down = (fn(x1, x2, params | {"v": params["v"] + s * step}).sum() for s in (1, -1))
    np.testing.assert_allclose((up - down) / 2, (slope * step).sum(), rtol=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"implementation": 4}, "implementation must be one of 0 .AUTO."),
        ({"memory": 0}, "memory must be a positive number of bytes, got 0"),
        ({"vmap_axes": (0, None, {})}, "vmap_axes must map inputs and outputs"),
        ({"trace_axes": (2,)}, "trace_axes must be axes of an output of 2 axes"),
        ({"trace_axes": (1, -1)}, "trace_axes must name an axis once"),
        ({"diagonal_axes": (-1,)}, "must not share axes"),
        ({"diagonal_axes": (0,)}, "must have the same size along"),
        ({"vmap_axes": 2}, "vmap_axes of x must be axes of its arrays"),
        ({"vmap_axes": (0, 1, {})}, "is that of 3 examples"),
        ({"vmap_axes": (0, 0, {"mask": 0})}, "names keyword arguments that were not given"),
    ],
)
def test_wrong_arguments(options, message):
    x1, x2 = inputs((4,))
    with pytest.raises(ValueError, match=message):
        empirical_ntk_fn(lambda p, x: x @ p, **options)(x1, x2, jnp.ones((4, 2)))


def test_wrong_kinds():
    x = jnp.ones((3, 4))
    with pytest.raises(TypeError, match="outputs of f must be floating, got bool"):
        empirical_ntk_fn(lambda p, x: x @ p > 0)(x, None, jnp.ones((4, 2)))
    with pytest.raises(TypeError, match="inputs must be arrays"):
        empirical_ntk_fn(lambda p, x: x[0] @ p)([x, 3.0], None, jnp.ones((4, 2)))
