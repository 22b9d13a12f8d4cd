"""Masked inputs through whole networks: padding is as if it were not there."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.stax.sampling import assert_network
from theory import stax

RNG = np.random.default_rng(8)
X1, X2 = RNG.normal(size=(3, 4, 3, 2)), RNG.normal(size=(2, 4, 3, 2))
PADS = ((0, 0), (0, 2), (0, 1), (0, 0))


def dense():
    return stax.Dense(16, 1.3, 0.2)


def conv(*args, **options):
    """Without biases: these are added beyond the end of what is masked, too, and then read."""
    return stax.Conv(16, *args, W_std=1.3, **options)


NETWORKS = {  # of places; outputs at real places are those of the shorter inputs
    "conv": stax.serial(conv((3, 2), padding="SAME"), stax.Relu(), conv((2, 3), padding="SAME")),
    "attention": stax.serial(
        dense(), stax.Relu(), stax.GlobalSelfAttention(16, 16, 16, 4, b_std=0.1), stax.Relu()
    ),
    "residual": stax.serial(
        dense(), stax.FanOut(2),
        stax.parallel(stax.serial(stax.Relu(), dense()), stax.Identity()),
        stax.FanInSum(), stax.LayerNorm((1, -1)), stax.Relu(), stax.Dropout(0.7), dense(),
    ),
}  # fmt: skip
POOLED = {  # without places
    "average": stax.serial(dense(), stax.Relu(), stax.GlobalAvgPool(), dense()),
    "sum": stax.serial(conv((3, 3), padding="SAME"), stax.Relu(), stax.GlobalSumPool(), dense()),
}


def padded(x, value=np.nan):
    return np.pad(x, PADS, constant_values=value)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name != "residual" else name
        for name in NETWORKS
    ],
)
@pytest.mark.parametrize("symmetric", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_covariances_at_real_places_are_those_without_padding(name, symmetric):
    net = NETWORKS[name]
    with jax.enable_x64(True):
        short = net.kernel_fn(X1, None if symmetric else X2)
        long = net.kernel_fn(padded(X1), None if symmetric else padded(X2), mask_constant=np.nan)
        for part in ("nngp", "ntk", "cov1"):
            value = np.array(getattr(long, part))
            inside = value[..., :4, :4, :3, :3]
            assert_close(inside, getattr(short, part), "float64")
            inside[...] = 0
            assert not value.any()
        hidden = np.ones((6, 4, 1), bool)
        hidden[:4, :3] = False
        assert np.array_equal(long.mask1, np.stack([hidden] * 3))


@pytest.mark.parametrize("name", ["average", pytest.param("sum", marks=pytest.mark.slow)])
def test_pooled_covariances_are_those_without_padding(name):
    net = POOLED[name]
    with jax.enable_x64(True):
        short = net.kernel_fn(X1, X2, ("nngp", "ntk"))
        long = net.kernel_fn(padded(X1), padded(X2), ("nngp", "ntk"), mask_constant=np.nan)
        assert_close(long.nngp, short.nngp, "float64")
        assert_close(long.ntk, short.ntk, "float64")


@pytest.mark.parametrize(
    "name",
    [
        "average",
        pytest.param("conv", marks=pytest.mark.slow),
        pytest.param("attention", marks=pytest.mark.slow),
    ],
)
def test_finite_outputs_at_real_places_are_those_without_padding(name):
    net = {**NETWORKS, **POOLED}[name]
    _, params = net.init_fn(jax.random.key(0), X1.shape)
    x = X1.astype(np.float32)
    short = net.apply_fn(params, x)
    long = net.apply_fn(params, padded(x), mask_constant=np.nan)
    if name in POOLED:
        assert_close(long.masked_value, short)
        assert not np.asarray(long.mask).any()
        return
    assert_close(long.masked_value[:, :4, :3], short)
    assert np.array_equal(np.asarray(long.masked_value).any(-1), ~np.asarray(long.mask)[..., 0])


def test_any_number_may_say_what_is_masked():
    net = stax.serial(dense(), stax.Relu(), stax.GlobalAvgPool())
    expected = net.kernel_fn(padded(X1, np.nan), padded(X2, np.nan), "ntk", mask_constant=np.nan)
    hundred = net.kernel_fn(padded(X1, 100.0), padded(X2, 100.0), "ntk", mask_constant=100.0)
    assert np.array_equal(hundred, expected)


def test_unmask_fn_gives_arrays():
    net = stax.serial(dense(), stax.FanOut(2))
    _, params = net.init_fn(jax.random.key(0), X1.shape)
    one, other = stax.unmask_fn(net.apply_fn)(params, padded(X1), mask_constant=np.nan)
    assert one.shape == other.shape == (3, 6, 4, 16)
    assert not np.asarray(one)[:, 4:].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mean", "convolution"])
def test_finite_networks_approach_the_masked_limit(name):
    wide = stax.Dense(64, 1.3, 0.2)
    net = {
        "mean": stax.serial(wide, stax.LayerNorm((1, -1)), stax.Relu(), stax.GlobalAvgPool(), wide),
        "convolution": stax.serial(
            stax.Conv(64, (3,), padding="SAME", W_std=1.3, b_std=0.2), stax.Relu(),
            stax.AvgPool((2,), padding="SAME"), wide,
        ),
    }[name]  # fmt: skip
    x1, x2 = (RNG.normal(size=(2, 4, 3)).astype(np.float32) for _ in range(2))
    x1[0, 2:] = x2[1, 1] = 9.0
    assert_network(net, x1, x2, 64, 100, mask_constant=9.0)
