"""Gates, the last position, means over seeds."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from kernels_pallas import long_conv
from tests.numerics import assert_close, relative_l2
from tests.theory.stax.sampling import assert_network
from theory import stax

RNG = np.random.default_rng(2)
X1, X2 = RNG.normal(size=(2, 6, 4)), RNG.normal(size=(2, 6, 4))
V = np.exp(-np.arange(6) / 2.0)
V /= V.sum()


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def test_covariances_of_branches_multiply():
    branches = (
        stax.Dense(8, 1.3, 0.2),
        stax.serial(stax.Dense(8), stax.LongConv(V)),
        stax.serial(stax.Dense(8, 0.9), stax.Sigmoid_like()),
    )
    got = stax.Gate(*branches).kernel_fn(X1, X2)
    parts = [branch.kernel_fn(X1, X2) for branch in branches]
    nngp = np.prod([np.asarray(part.nngp) for part in parts], axis=0)
    ntk = sum(np.asarray(part.ntk) * nngp / np.asarray(part.nngp) for part in parts)
    assert_close(got.nngp, nngp, "float64")
    assert relative_l2(got.ntk, ntk) < 1e-10
    assert not got.is_gaussian
    behind = stax.serial(stax.FanOut(3), stax.parallel(*branches), stax.Gate())
    assert_close(behind.kernel_fn(X1, X2, "ntk"), got.ntk, "float64")


def hyena(width):
    """Projections, short filters, a gate, a long filter, a gate, a projection."""

    def branch():
        return stax.serial(stax.Dense(width, 1.2), stax.LongConv([0.5, 0.3, 0.2]))

    inner = stax.serial(stax.Gate(branch(), branch()), stax.LongConv(V, operator=long_conv))
    return stax.serial(stax.Gate(inner, branch()), stax.Dense(width, 1.1, 0.1))


def test_a_gated_long_convolution():
    width = 96
    assert_network(stax.serial(stax.Dense(width), hyena(width)), X1, X2, width, count=40)


@pytest.mark.slow
def test_two_gated_blocks_and_a_readout():
    width = 96
    net = stax.serial(stax.Dense(width), hyena(width), hyena(width), stax.LastPosition())
    assert_network(stax.serial(net, stax.Dense(width)), X1, X2, width, count=60)


def test_bad_gates():
    with pytest.raises(ValueError, match="two or more branches, or none"):
        stax.Gate(stax.Dense(3))
    with pytest.raises(ValueError, match="one shape"):
        stax.Gate(stax.Dense(3), stax.Dense(4)).kernel_fn(X1)
    with pytest.raises(TypeError, match="made by theory"):
        stax.Gate(stax.Dense(3), (1, 2, 3))


def test_the_last_position():
    net = stax.serial(stax.Dense(5), stax.LastPosition())
    shape, params = net.init_fn(jax.random.key(0), X1.shape)
    every = stax.Dense(5)
    assert shape == (2, 5)
    assert_close(net.apply_fn(params, X1), every.apply_fn(params[0], X1)[:, -1], "float64")
    expected = every.kernel_fn(X1, X2, "ntk")[:, :, -1, -1]
    assert_close(net.kernel_fn(X1, X2, "ntk"), expected, "float64")
    for call in (net.kernel_fn, lambda x: net.init_fn(jax.random.key(0), x.shape)):
        with pytest.raises(ValueError, match="one spatial axis, got 2"):
            call(np.ones((2, 3, 3, 4)))


@pytest.mark.slow
def test_errors_over_seeds_fall_with_the_draws():
    def net(samples):
        options = {"linear_scaling": False, "samples": samples}
        return lambda seed: stax.NeighborhoodAttention(3, **options, seed=seed)

    few, many = (
        np.sqrt(np.mean(stax.seed_average(net(n), X1, X2, seeds=12).error ** 2)) for n in (4, 64)
    )
    assert 2.5 < few / many < 6.5  # 4, by 16 times the draws


def test_too_few_seeds():
    with pytest.raises(ValueError, match="seeds must be at least 2"):
        stax.seed_average(lambda seed: stax.Dense(1), X1, seeds=1)
