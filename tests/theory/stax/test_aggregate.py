"""Aggregation over graphs: it is linear, so that the finite layer says all of it."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from theory import stax

RNG = np.random.default_rng(2)
X1, X2 = RNG.normal(size=(3, 4, 2, 6)), RNG.normal(size=(2, 4, 2, 6))
DENSE = {  # sizes of the graph's axes by aggregate_axis
    None: (4, 2),
    1: (4,),
    (-2,): (2,),
    (2, 1): (4, 2),
}


def graphs(sizes, seed=3):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(n, *sizes, *sizes)) for n in (3, 2))


def edges(sizes, seed=3):
    """(batch, edges, axes, 2), some of them padding, and the same as dense weights."""
    rng = np.random.default_rng(seed)
    lists, weights = [], []
    for n, count in ((3, 7), (2, 9)):
        pattern = np.stack([rng.integers(0, size, (n, count, 2)) for size in sizes], 2)
        dense = np.zeros((n, *sizes, *sizes))
        pattern[0, 1, 0, 1] = pattern[1, 3, -1, 0] = -1
        for i, e in np.ndindex(n, count):
            if (pattern[i, e] >= 0).all():
                dense[(i, *pattern[i, e, :, 0], *pattern[i, e, :, 1])] += 1
        lists.append(pattern)
        weights.append(dense)
    return tuple(lists), tuple(weights)


def aggregated(x, pattern, axes):
    """y_P = sum_p A_pP x_p by NumPy."""
    axes = (1, 2) if axes is None else axes
    axes = sorted(a % 4 for a in ((axes,) if isinstance(axes, int) else axes))
    y = [
        np.tensordot(x[i], a, ([b - 1 for b in axes], range(len(axes))))
        for i, a in enumerate(pattern)
    ]
    return np.moveaxis(np.stack(y), range(-len(axes), 0), axes)


@pytest.mark.parametrize("axes", DENSE)
def test_the_finite_layer_sums_over_neighbours(axes):
    sizes = DENSE[axes]
    with jax.enable_x64(True):
        for pattern, dense, how in ((graphs(sizes)[0],) * 2 + ("DENSE",), _sparse(sizes)):
            layer = stax.Aggregate(axes, implementation=how)
            assert layer.init_fn(jax.random.key(0), X1.shape) == (X1.shape, ())
            y = layer.apply_fn((), X1, pattern=pattern)
            assert_close(y, aggregated(X1, dense, axes), "float64")


def _sparse(sizes):
    lists, weights = edges(sizes)
    return lists[0], weights[0], "SPARSE"


@pytest.mark.parametrize(
    ("axes", "how", "symmetric"),
    [
        (None, "DENSE", False),
        (1, "DENSE", True),
        (-2, "SPARSE", True),
        (None, "SPARSE", False),
    ],
)
def test_covariances_are_those_of_aggregated_inputs(axes, how, symmetric):
    """In a linear network, which Dense comes first makes no difference."""
    sizes = DENSE[axes if axes != -2 else (-2,)]
    patterns, dense = (graphs(sizes),) * 2 if how == "DENSE" else edges(sizes)
    layer = stax.Aggregate(axes, implementation=how)
    net = stax.serial(stax.Dense(8, 1.3), layer, stax.Dense(8, 0.7))
    plain = stax.serial(stax.Dense(8, 1.3), stax.Dense(8, 0.7))
    x2 = None if symmetric else X2
    with jax.enable_x64(True):
        pattern = (patterns[0], patterns[0] if symmetric else patterns[1])
        kernel = net.kernel_fn(X1, x2, pattern=pattern, tile=2)
        y2 = None if symmetric else aggregated(X2, dense[1], axes)
        expected = plain.kernel_fn(aggregated(X1, dense[0], axes), y2)
        for name in ("nngp", "ntk", "cov1"):
            assert_close(getattr(kernel, name), getattr(expected, name), "float64")


def test_a_pattern_may_be_decoded_and_one_side_may_have_none():
    sizes = (4, 2)
    graph = graphs(sizes)[0]
    stored = (graph * 8).reshape(3, -1)
    layer = stax.Aggregate(to_dense=lambda p: p.reshape(-1, *sizes, *sizes) / 8)
    with jax.enable_x64(True):
        nngp = layer.kernel_fn(X1, X2, "nngp", pattern=(stored, None))
        expected = stax.Identity().kernel_fn(aggregated(X1, graph, None), X2, "nngp")
        assert_close(nngp, expected, "float64")
        unchanged = stax.Identity().kernel_fn(X1, X2, "nngp")
        assert np.array_equal(layer.kernel_fn(X1, X2, "nngp"), unchanged)
        assert np.array_equal(layer.apply_fn((), X1), X1)


def test_masked_places_stay_masked():
    x = X1.copy()
    x[:, 3] = 9.0
    graph = graphs((4,))[0]
    net = stax.serial(stax.Dense(8), stax.Aggregate(1))
    kernel = net.kernel_fn(x, None, mask_constant=9.0, pattern=(graph, graph))
    assert not np.asarray(kernel.nngp)[:, :, 3].any()
    assert np.asarray(kernel.mask1)[:, 3].all()
    y = stax.Aggregate(1).apply_fn((), x, pattern=graph, mask_constant=9.0)
    expected = aggregated(np.where(x == 9.0, 0, x), graph, 1)
    expected[:, 3] = 0
    assert_close(y.masked_value, expected)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match="implementation must be one of 'DENSE', 'SPARSE'"):
        stax.Aggregate(implementation="CSR")
    with pytest.raises(ValueError, match="batch_axis must be 0"):
        stax.Aggregate(batch_axis=1)
    with pytest.raises(ValueError, match="to_dense must be a function"):
        stax.Aggregate(to_dense=None)
    for axes in (0, 3, (1, 1), 7, ()):
        with pytest.raises(ValueError, match="aggregate_axis must name spatial axes"):
            stax.Aggregate(axes).kernel_fn(X1, X2)
    with pytest.raises(ValueError, match=r"a dense pattern must have shape \(3, 4, 2, 4, 2\)"):
        stax.Aggregate().apply_fn((), X1, pattern=np.ones((3, 8, 8)))
    sparse = stax.Aggregate(implementation="SPARSE")
    for pattern in (np.ones((3, 5, 2), int), np.ones((3, 5, 2, 2)), np.ones((2, 5, 2, 2), int)):
        with pytest.raises(ValueError, match="a sparse pattern must be ints of shape"):
            sparse.apply_fn((), X1, pattern=pattern)
