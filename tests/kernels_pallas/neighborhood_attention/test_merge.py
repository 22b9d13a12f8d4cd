"""merge_attentions: parts of a softmax put together are the softmax, with its gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.neighborhood_attention import merge_attentions, neighborhood_attention
from tests.numerics import assert_close


def attention(q, k, v):
    """Plain attention of every query over all keys: (..., queries, value_dim), lse."""
    scores = q @ k.T
    return jax.nn.softmax(scores) @ v, jax.nn.logsumexp(scores, axis=-1)


def problem(dtype="float32", keys=12):
    rng = np.random.default_rng(0)
    shapes = ((9, 4), (keys, 4), (keys, 5))
    return tuple(jnp.asarray(rng.standard_normal(s), dtype) for s in shapes)


merge = jax.jit(merge_attentions)
CUTS = (3, 4, 12)  # parts of 3, 1 and 8 keys


def in_parts(q, k, v):
    parts = [attention(q, k[a:b], v[a:b]) for a, b in zip((0, *CUTS[:-1]), CUTS, strict=True)]
    return merge_attentions(*zip(*parts, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts_make_the_whole(dtype):
    """Values, and every gradient of both results, through the parts' log-sum-exps."""
    with jax.enable_x64(dtype == "float64"):
        arrays = problem(dtype)
        rng = np.random.default_rng(1)
        given = jnp.asarray(rng.standard_normal((9, 5)), dtype), jnp.asarray(rng.random(9), dtype)

        @jax.jit
        def both(arrays, given):
            results = []
            for function in (in_parts, attention):
                value, pull = jax.vjp(function, *arrays)
                results.append((value, pull(given)))
            return results

        merged, whole = jax.tree.map(np.asarray, both(arrays, given))
    for a, b in zip(jax.tree.leaves(merged), jax.tree.leaves(whole), strict=True):
        assert str(a.dtype) == dtype
        assert_close(a, b, dtype)


def test_order_and_grouping_do_not_matter():
    rng = np.random.default_rng(2)
    outs = [jnp.asarray(rng.standard_normal((2, 6, 3)), jnp.float32) for _ in range(3)]
    lses = [jnp.asarray(4 * rng.standard_normal((2, 6)), jnp.float32) for _ in range(3)]
    out, lse = merge(outs, lses)
    for a, b in zip(merge(outs[::-1], lses[::-1]), (out, lse), strict=True):
        assert_close(a, b)
    first = merge(outs[:2], lses[:2])
    grouped = merge([first[0], outs[2]], [first[1], lses[2]])
    for a, b in zip(grouped, (out, lse), strict=True):
        assert_close(a, b)


def test_one_part_is_itself():
    out, lse = jnp.arange(6.0).reshape(2, 3), jnp.array([100.0, -200.0])
    merged = merge([out], [lse])
    np.testing.assert_array_equal(merged[0], out)
    np.testing.assert_array_equal(merged[1], lse)


def test_extreme_log_sum_exps():
    """Far apart, the larger one wins; neither exp(1000) nor exp(-1000) is formed."""
    one, two = jnp.ones((3, 2)), 2 * jnp.ones((3, 2))
    lses = [jnp.array([1000.0, -1000.0, 500.0]), jnp.array([-1000.0, 1000.0, 500.0])]
    out, lse = merge([one, two], lses)
    np.testing.assert_allclose(out[:, 0], [1.0, 2.0, 1.5])
    np.testing.assert_allclose(lse, [1000.0, 1000.0, 500.0 + np.log(2)], rtol=1e-7)


def test_parts_with_no_key():
    """A part with lse -inf counts for nothing; all of them so give 0, -inf and zero gradients."""
    rng = np.random.default_rng(3)
    outs = [jnp.asarray(rng.standard_normal((4, 2)), jnp.float32) for _ in range(2)]
    lses = [jnp.array([0.5, -jnp.inf, 1.0, -jnp.inf]), jnp.array([0.1, 2.0, -jnp.inf, -jnp.inf])]

    def total(outs, lses):
        out, lse = merge_attentions(outs, lses)
        return out.sum() + jnp.where(jnp.isfinite(lse), lse, 0).sum()

    out, lse = merge(outs, lses)
    np.testing.assert_array_equal(out[1], outs[1][1])
    np.testing.assert_array_equal(out[2], outs[0][2])
    np.testing.assert_array_equal(lse[1:], [2.0, 1.0, -np.inf])
    np.testing.assert_array_equal(out[3], [0, 0])
    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(outs, lses)
    for leaf in jax.tree.leaves(slopes):
        assert np.isfinite(leaf).all()
        np.testing.assert_array_equal(leaf[3], np.zeros_like(leaf[3]))
    np.testing.assert_array_equal(slopes[0][0][1], [0, 0])
    np.testing.assert_array_equal(slopes[0][1][1], [1, 1])


def test_dtypes():
    """The first output's dtype; float32 inside, float64 when any operand is."""
    half, lse = jnp.ones((3, 2), jnp.bfloat16), jnp.zeros(3)
    out, merged = merge([half, jnp.ones((3, 2))], [lse, lse])
    assert out.dtype == jnp.bfloat16
    assert merged.dtype == jnp.float32
    with jax.enable_x64(True):
        wide = jnp.ones((3, 2), jnp.float64)
        out, merged = merge([half, wide], [lse, lse.astype(jnp.float64)])
        assert out.dtype == jnp.bfloat16
        assert merged.dtype == jnp.float64
        assert merge([wide], [lse])[0].dtype == jnp.float64


def test_additional_keys_are_a_merge():
    """Attention with additional keys is the neighbourhood's merged with theirs, gradients too."""
    rng = np.random.default_rng(4)

    def normal(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    q, k, v = normal(1, 15, 2, 4), normal(1, 15, 2, 4), normal(1, 15, 2, 3)
    keys, values = normal(1, 3, 2, 4), normal(1, 3, 2, 3)
    weights = normal(1, 15, 2, 3), normal(1, 15, 2)

    def in_one(q, k, v, keys, values):
        return neighborhood_attention(
            q, k, v, window=4, additional_keys=keys, additional_values=values, return_lse=True
        )

    def merged(q, k, v, keys, values):
        near = neighborhood_attention(q, k, v, window=4, return_lse=True)
        scores = jnp.einsum("bnhd,bshd->bnhs", q, keys) / 2
        extra = jnp.einsum("bnhs,bshv->bnhv", jax.nn.softmax(scores), values)
        return merge_attentions([near[0], extra], [near[1], jax.nn.logsumexp(scores, -1)])

    @jax.jit
    def both(*arrays):
        results = []
        for function in (in_one, merged):
            value, pull = jax.vjp(function, *arrays)
            results.append((value, pull(weights)))
        return results

    found, expected = both(q, k, v, keys, values)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert_close(a, b)
