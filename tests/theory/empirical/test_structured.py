"""What structured derivatives find in a network, and what they do not form."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.theory.empirical.networks import NETWORKS
from theory.empirical import NtkImplementation, empirical_ntk_fn
from theory.empirical.contract import Size, forming_is_cheaper
from theory.empirical.cost import ENTRY, cost
from theory.empirical.factors import windows
from theory.empirical.graph import evaluate, trace
from theory.empirical.uses import Patches, find


def uses_of(name):
    """({leaf path: its uses}, graph) of one example."""
    f, params, shape = NETWORKS[name]()
    leaves, tree = jax.tree.flatten(params)
    graph = trace(lambda *own: f(tree.unflatten(own[:-1]), own[-1]), *leaves, jnp.ones((1, *shape)))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    return dict(zip(paths, find(graph, len(leaves)), strict=True)), graph


def test_weights_and_bias_of_a_layer_share_one_cotangent():
    uses, _ = uses_of("mlp")
    cuts = {path: [use.cut for use in found] for path, found in uses.items()}
    assert cuts["['w']"] == cuts["['b']"]
    assert cuts["['v']"] == cuts["['c']"]
    assert [len(found) for found in uses.values()] == [1] * 5


@pytest.mark.parametrize(
    ("name", "path", "count"),
    [
        ("tied", "", 3),
        ("recurrent", "[0]", 4),
        ("conv", "['first']", 1),
        ("reshaped", "['flat']", 1),
        ("reshaped", "['idle']", 0),
        ("called", "['w']", 3),
        ("experts", "['w']", 1),
        ("attention", "['qkv']", 1),
        ("layer_norm", "['scale']", 1),
    ],
)
def test_uses_that_have_structure(name, path, count):
    uses, graph = uses_of(name)
    assert len(uses[path]) == count
    assert all(use.cut not in graph.ins for use in uses[path])


@pytest.mark.parametrize(
    ("name", "path"),
    [("scanned", "['w']"), ("weight_norm", "['v']"), ("conv", "['grouped']"),
     ("layer_norm", "['gain']"), ("embedding", "['table']")],
)  # fmt: skip
def test_a_parameter_that_enters_otherwise_is_cut_itself(name, path):
    uses, graph = uses_of(name)
    (use,) = uses[path]
    assert use.cut == use.root
    assert use.cut in graph.ins


@pytest.mark.parametrize("name", ["called", "recurrent", "bare"])
def test_a_graph_is_the_network(name):
    f, params, shape = NETWORKS[name]()
    x = jax.random.normal(jax.random.key(1), (2, *shape))
    leaves, tree = jax.tree.flatten(params)
    graph = trace(lambda *own: f(tree.unflatten(own[:-1]), own[-1]), *leaves, x)
    (out,), _ = evaluate(graph, (*leaves, x), {})
    np.testing.assert_allclose(out, f(params, x), rtol=1e-5, atol=1e-6)


def test_no_jacobian_of_a_wide_layer_is_formed():
    widths, n = (256, 256, 256, 4), 8
    params = [jnp.ones(s) for s in itertools.pairwise(widths)]

    def f(p, x):
        return jax.nn.relu(jax.nn.relu(x @ p[0]) @ p[1]) @ p[2]

    x = jnp.ones((n, widths[0]))

    def temporary(which):
        fn = empirical_ntk_fn(f, (), (), 0, which)
        compiled = jax.jit(lambda x, p: fn(x, None, p)).lower(x, params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    jacobian = n * widths[-1] * math.prod(widths[:2]) * 4
    assert temporary(NtkImplementation.STRUCTURED_DERIVATIVES) < jacobian / 8
    assert temporary(NtkImplementation.JACOBIAN_CONTRACTION) > jacobian


@pytest.mark.slow
def test_windows_are_those_of_the_convolution():
    x, w = (
        jax.random.normal(jax.random.key(i), s)
        for i, s in enumerate([(2, 7, 21, 3), (2, 17, 3, 4)])
    )
    options = {"window_strides": (2, 1), "padding": ((1, 0), (-1, 2)), "lhs_dilation": (1, 2),
               "rhs_dilation": (3, 1)}  # fmt: skip
    numbers = jax.lax.conv_dimension_numbers(x.shape, w.shape, ("NHWC", "HWIO", "NHWC"))
    patches = Patches({**options, "dimension_numbers": numbers}, w.shape[:2])

    @jax.jit
    def both(x, w):
        actual = jnp.einsum("bcpqhw,hwco->bpqo", windows(x, patches), w)
        return actual, jax.lax.conv_general_dilated(x, w, dimension_numbers=numbers, **options)

    np.testing.assert_allclose(*both(x, w), rtol=1e-4, atol=1e-4)


def test_a_jacobian_is_formed_where_places_are_many():
    layer = Size(
        rows1=80, rows2=80, pairs=6400, summed=6400, examples=64, b=1, m1=1, m2=1, c=512, n=512
    )
    assert not forming_is_cheaper(layer)
    assert forming_is_cheaper(layer._replace(m1=1024, m2=1024, c=27, n=32))


def test_cost_counts_products_entries_and_loops():
    x, w = jnp.ones((8, 16)), jnp.ones((16, 16))
    product = cost(lambda x, w: x @ w, x, w)
    assert product == 8 * 16 * 16 + ENTRY * (2 * 8 * 16 + 16 * 16)
    assert cost(lambda x: jnp.sin(x), x) == ENTRY * 8 * 16
    loop = cost(lambda x, w: jax.lax.scan(lambda h, _: (h @ w, None), x, length=5)[0], x, w)
    assert loop == 5 * product
