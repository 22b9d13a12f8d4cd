"""batch: the same results as the kernel function itself, whatever is asked for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.batching.networks import conv, dense, matrix, sequences, vectors
from theory import batch, stax

GETS = ["cov1", None, ("cov2", "x1_is_x2", "shape1", "ntk")]


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("get", GETS, ids=str)
def test_everything_that_get_names(get, symmetric):
    kernel_fn = dense()
    x1, x2 = vectors(7), None if symmetric else vectors(5, 1)
    assert_same(batch(kernel_fn, 3, 0)(x1, x2, get), kernel_fn(x1, x2, get))


@pytest.mark.parametrize("batch_size", [0, 1, 4, 7, 50])
def test_no_batch_size_must_divide(batch_size):
    batched = batch(matrix, batch_size, 0, store_on_device=False)
    for x2 in (None, vectors(5, 1)):
        kernel = batched(vectors(7), x2)
        assert isinstance(kernel, np.ndarray)
        assert_close(kernel, matrix(vectors(7), x2))


def test_the_diagonal_is_exact_in_every_tile():
    """Between copies the general formula loses digits; (x, x) is the self pass's."""
    x = jnp.concatenate([vectors(4), vectors(4)])
    kernel = batch(dense(), 3, 0, store_on_device=False)(x, None, "nngp")
    alone = dense()(x, None, "cov1")
    np.testing.assert_array_equal(np.diag(kernel), alone)


def test_places_are_swapped_where_a_tile_is_mirrored():
    kernel_fn = conv()
    x = sequences(5)
    full = kernel_fn(x, None, "ntk")
    assert full.shape == (5, 5, 4, 4)
    assert_close(batch(kernel_fn, 2, 0)(x, None, "ntk"), full)
    equal = np.einsum("ijpp->ijp", full)
    assert_close(batch(kernel_fn, 2, 0)(x, None, "ntk", diagonal_spatial=True), equal)


def test_a_function_whose_further_axes_are_unknown_is_not_mirrored():
    def kernel_fn(x1, x2=None):
        x2 = x1 if x2 is None else x2
        return jnp.einsum("ia,jb->ijab", x1, x2)  # (j, i) is (i, j) with a and b swapped

    x = vectors(5)
    assert_close(batch(kernel_fn, 2, 0)(x), kernel_fn(x))


def test_any_tree_of_matrices_of_any_function():
    def kernel_fn(x1, x2=None, scale=1.0, *, params, power):
        x2 = x1["a"] if x2 is None else x2["a"]
        linear = scale * params[0] * x1["a"] @ x2.T + params[1]
        return {"linear": linear, "power": (linear**power, linear)}

    x1, x2 = {"a": vectors(5)}, {"a": vectors(3, 1)}
    options = {"params": (jnp.float32(2.0), jnp.float32(0.5)), "power": 3}
    for other in (None, x2):
        expected = kernel_fn(x1, other, 0.1, **options)
        assert_same(batch(kernel_fn, 2, 0)(x1, other, 0.1, **options), expected)


def test_pairs_of_arrays_are_cut_with_their_sides():
    def kernel_fn(x1, x2=None, *, weight):
        x2 = x1 if x2 is None else x2
        return weight[0][:, None] * weight[1] * (x1 @ x2.T)

    x1, x2, w1, w2 = vectors(7), vectors(5, 1), jnp.arange(7.0), jnp.arange(5.0) - 2
    batched = batch(kernel_fn, 3, 0)
    assert_close(batched(x1, x2, weight=(w1, w2)), kernel_fn(x1, x2, weight=(w1, w2)))
    assert_close(batched(x1, weight=(w1, w1)), kernel_fn(x1, weight=(w1, w1)))
    with pytest.raises(
        ValueError, match=r"weight is a pair .* x2 must have 5 of them, got shape \(7,\)"
    ):
        batched(x1, x2, weight=(w1, w1))


def test_keys_differ_between_tiles_and_agree_along_rows():
    def kernel_fn(x1, x2=None, *, rng):
        keys = rng if isinstance(rng, tuple) else (rng, rng)
        x2 = x1 if x2 is None else x2
        u, v = (jax.random.normal(k, (len(x),)) for k, x in zip(keys, (x1, x2), strict=True))
        return u[:, None] * v

    kernel = np.asarray(batch(kernel_fn, 2, 0)(vectors(6), rng=jax.random.key(0)))
    singular = np.linalg.svd(kernel, compute_uv=False)
    assert singular[1] < 1e-5 * singular[0]  # rank one: each example drew one number
    assert len(np.unique(kernel[0])) == 6
    whole = batch(kernel_fn, 6, 0)(vectors(6), rng=jax.random.key(0))
    assert_close(whole, kernel_fn(vectors(6), rng=jax.random.key(0)))


def test_masks():
    kernel_fn = conv(stax.GlobalAvgPool())
    x = sequences(5).at[0, 2:].set(-7.0).at[4, 1:].set(-7.0)
    expected = kernel_fn(x, None, ("ntk", "nngp"), mask_constant=-7.0)
    batched = batch(kernel_fn, 2, 0)
    assert_same(batched(x, None, ("ntk", "nngp"), mask_constant=-7.0), expected)
    masked = stax.MaskedArray(x, (x == -7.0).all(-1, keepdims=True))
    assert_same(batched(masked, None, ("ntk", "nngp")), expected)


@pytest.mark.parametrize("symmetric", [True, False])
def test_kernels_as_inputs(symmetric):
    kernel_fn = dense()
    kernel = kernel_fn(vectors(7), None if symmetric else vectors(5, 1))
    assert_same(batch(kernel_fn, 3, 0)(kernel), kernel_fn(kernel))
    with pytest.raises(TypeError, match="x2 must be None"):
        batch(kernel_fn, 3, 0)(kernel, vectors(5))


def test_under_jit_and_grad():
    kernel_fn, x = dense(), vectors(5)
    batched = batch(kernel_fn, 2, 0)
    value, slope = jax.jit(jax.value_and_grad(lambda x: batched(x, None, "ntk").sum()))(x)
    expected = jax.value_and_grad(lambda x: kernel_fn(x, None, "ntk").sum())(x)
    assert_close(value, expected[0])
    assert_close(slope, expected[1])


def test_float64():
    with jax.enable_x64(True):
        x = np.asarray(vectors(5), np.float64)
        kernel = batch(dense(), 2, 0)(x, None, "ntk")
        assert kernel.dtype == np.float64
        expected, kernel = np.asarray(dense()(x, None, "ntk")), np.asarray(kernel)
    assert_close(kernel, expected, "float64")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": -1}, "batch_size must be an int >= 0, got -1"),
        ({"batch_size": 2.0}, "batch_size must be an int >= 0"),
        ({"device_count": -2}, r"device_count must be -1 \(all\)"),
        ({"device_count": 10**6}, "device_count must be at most the"),
    ],
)
def test_what_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        batch(dense(), **options)


def test_sizes_that_do_not_agree():
    with pytest.raises(ValueError, match="all parts of x1 must be arrays with the same number"):
        batch(dense(), 2, 0)((vectors(3), vectors(4)))
    with pytest.raises(TypeError, match="must return arrays, named tuples of arrays, or Kernels"):
        batch(lambda x1, x2=None: "text", 2, 0)(vectors(3))
