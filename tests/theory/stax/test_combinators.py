"""serial, parallel and repeat: finite networks and limits."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from theory import stax

X1 = np.random.default_rng(0).normal(size=(4, 3))
X2 = np.random.default_rng(1).normal(size=(2, 3))
BLOCK = stax.serial(stax.Relu(), stax.Dense(3, 1.2, 0.1))


def kernels(net, *args, **options):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, net.kernel_fn(*args, ("nngp", "ntk"), **options))


@pytest.mark.parametrize("n", [0, 1, 4])
def test_repeat_is_serial_n_times(n):
    repeated = stax.serial(stax.Dense(3), stax.repeat(BLOCK, n))
    unrolled = stax.serial(stax.Dense(3), *[BLOCK] * n)
    for arguments in ((X1, X2), (X1, None)):
        for got, expected in zip(
            kernels(repeated, *arguments), kernels(unrolled, *arguments), strict=True
        ):
            assert_close(got, expected, "float64")


def test_repeat_stacks_parameters_and_applies_them_in_turn():
    repeated = stax.repeat(BLOCK, 3)
    shape, params = repeated.init_fn(jax.random.key(0), (-1, 3))
    assert shape == (-1, 3)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(params)} == {3}
    x = X1.astype(np.float32)
    expected = x
    for i in range(3):
        expected = BLOCK.apply_fn(jax.tree.map(lambda leaf: leaf[i], params), expected)  # noqa: B023
    assert_close(repeated.apply_fn(params, x), expected)


def test_repeat_refuses_what_changes_the_shape():
    with pytest.raises(ValueError, match="keeps the shape"):
        stax.repeat(stax.Dense(5), 2).init_fn(jax.random.key(0), (-1, 3))
    with pytest.raises(ValueError, match="keeps the shape"):
        stax.repeat(stax.Dense(5), 2).kernel_fn(X1)
    with pytest.raises(ValueError, match="n must be an int >= 0, got -1"):
        stax.repeat(BLOCK, -1)


def test_serial_of_nothing_is_the_identity():
    empty = stax.serial()
    assert empty.init_fn(jax.random.key(0), (-1, 3)) == ((-1, 3), ())
    assert_close(kernels(empty, X1, X2).nngp, X1 @ X2.T / 3, "float64")


def test_parallel_takes_and_gives_tuples():
    net = stax.parallel(stax.Dense(2, 1.5), stax.serial(stax.Dense(4), stax.Relu()))
    shapes, params = net.init_fn(jax.random.key(0), ((-1, 3), (-1, 3)))
    assert shapes == ((-1, 2), (-1, 4))
    outputs = net.apply_fn(params, (X1.astype(np.float32), X1.astype(np.float32)))
    assert [y.shape for y in outputs] == [(4, 2), (4, 4)]
    first, second = kernels(net, (X1, X1), (X2, X2))
    assert_close(first.nngp, 2.25 * X1 @ X2.T / 3, "float64")
    assert second.ntk.shape == (4, 2)
    tiled = kernels(net, (X1, X1), (X2, X2), tile=2)
    assert_close(tiled[1].ntk, second.ntk, "float64")


def test_parallel_refuses_another_number_of_inputs():
    net = stax.parallel(stax.Dense(2), stax.Dense(2))
    with pytest.raises(ValueError, match="needs a tuple of inputs"):
        net.init_fn(jax.random.key(0), (-1, 3))
    with pytest.raises(ValueError, match="2 layers got 3 inputs"):
        net.kernel_fn((X1, X1, X1))
    with pytest.raises(ValueError, match="as many examples"):
        net.kernel_fn((X1, X2))


def test_only_layers_made_here_compose():
    with pytest.raises(TypeError, match=r"stax\.layer makes one"):
        stax.serial(stax.Dense(3), (lambda: 0, lambda: 0, lambda: 0))
