"""Dense: finite layer and limit, in both parametrisations, against NumPy and against samples."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.stax.oracle import fully_connected
from theory import stax

X1 = np.random.default_rng(0).normal(size=(5, 4))
X2 = np.random.default_rng(1).normal(size=(3, 4))


def network(width=8, **options):
    dense = lambda out: stax.Dense(out, 1.3, 0.2, **options)  # noqa: E731
    return stax.serial(dense(width), stax.Relu(), dense(width), stax.Relu(), dense(2))


@pytest.mark.parametrize(
    ("options", "width"),
    [({}, None), ({"parameterization": "standard"}, 8)],
    ids=["ntk", "standard"],
)
def test_the_limit_is_the_recursion(options, width):
    with jax.enable_x64(True):
        got = jax.tree.map(np.asarray, network(**options).kernel_fn(X1, X2, ("nngp", "ntk")))
    nngp, ntk = fully_connected(X1, X2, 2, 1.3, 0.2, width)
    assert_close(got.nngp, nngp, "float64")
    assert_close(got.ntk, ntk, "float64")


def test_width_scalings_divide_the_width():
    dense = stax.Dense(6, 1.3, 0.2, parameterization="standard", s=(1, 4))
    shape, (w, b) = dense.init_fn(jax.random.key(0), (-1, 4))
    assert shape == (-1, 24)
    assert w.shape == (4, 24)
    assert b.shape == (1, 24)
    with jax.enable_x64(True):
        last = stax.Dense(1, 1.3, parameterization="standard", s=(4, 1))
        net = stax.serial(dense, last)
        theta = np.asarray(net.kernel_fn(X1, X2, "ntk"))
    k = X1 @ X2.T / 4
    # after `dense`: K = 1.69 k + .04, Theta = 4 k + 1; then Theta' = 1.69 Theta + (24 / 4) K
    assert_close(theta, 1.69 * (4 * k + 1) + 6 * (1.69 * k + 0.04), "float64")


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_finite_outputs_have_the_covariance_of_the_limit(parameterization):
    dense = stax.Dense(2000, 1.3, 0.2, parameterization=parameterization)
    _, params = dense.init_fn(jax.random.key(1), X1.shape)
    y = np.asarray(dense.apply_fn(params, X1.astype(np.float32)))
    expected = np.asarray(dense.kernel_fn(X1.astype(np.float32), None, "nngp"))
    sampled = y @ y.T / y.shape[1]
    spread = np.sqrt((expected**2 + np.outer(expected.diagonal(), expected.diagonal())) / 2000)
    assert np.abs((sampled - expected) / spread).max() < 4.5


def test_a_gram_of_the_jacobian_is_the_ntk_of_one_layer():
    dense = stax.Dense(1, 1.3, 0.2)
    _, params = dense.init_fn(jax.random.key(2), X1.shape)
    jacobian = jax.jacobian(lambda p: dense.apply_fn(p, X1.astype(np.float32))[:, 0])(params)
    rows = np.concatenate(
        [np.asarray(leaf).reshape(5, -1) for leaf in jax.tree.leaves(jacobian)], 1
    )
    assert_close(rows @ rows.T, dense.kernel_fn(X1.astype(np.float32), None, "ntk"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_dim": 0}, "out_dim must be a positive int, got 0"),
        ({"out_dim": True}, "out_dim must be a positive int, got True"),
        ({"out_dim": 3, "batch_axis": 1}, "batch_axis must be 0"),
        ({"out_dim": 3, "channel_axis": 0}, "channel_axis must be -1"),
        ({"out_dim": 3, "parameterization": "mup"}, "parameterization must be one of"),
        ({"out_dim": 3, "s": (2, 1)}, "s must be"),
        ({"out_dim": 3, "parameterization": "standard", "s": (0, 1)}, "s must be two positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        stax.Dense(**arguments)
