"""Layer normalisation."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.stax.sampling import assert_network
from theory import stax

RNG = np.random.default_rng(6)
X1, X2 = RNG.normal(size=(3, 4, 2, 5)), RNG.normal(size=(2, 4, 2, 5))
EPS = 0.05


def net(*args, **options):
    return stax.serial(stax.Dense(8, 1.3, 0.2), stax.LayerNorm(*args, **options))


@pytest.mark.parametrize("axis", [-1, (1, -1), (3, -2, 1)])
def test_covariances_are_divided_by_deviations(axis):
    over = tuple(sorted({a % 4 - 1 for a in np.atleast_1d(axis)} - {2}))
    with jax.enable_x64(True):
        plain = stax.Dense(8, 1.3, 0.2).kernel_fn(X1, X2)
        kernel = net(axis, eps=EPS).kernel_fn(X1, X2)

    def deviations(cov):
        variance = np.einsum("nhhww->nhw", np.asarray(cov))
        mean = variance.mean(tuple(a + 1 for a in over), keepdims=True) if over else variance
        return np.sqrt(np.broadcast_to(mean, variance.shape) + EPS)

    a, b = deviations(plain.cov1), deviations(plain.cov2)
    scale = np.einsum("nhw,mkv->nmhkwv", a, b)
    assert_close(kernel.nngp, np.asarray(plain.nngp) / scale, "float64")
    assert_close(kernel.ntk, np.asarray(plain.ntk) / scale, "float64")
    assert kernel.is_gaussian


def test_variances_are_one():
    kernel = net().kernel_fn(X1.astype(np.float32), None, diagonal_spatial=True)
    assert_close(kernel.cov1, np.ones((3, 4, 2)))


def test_zero_places_are_zero():
    layer = stax.serial(stax.Dense(8), stax.LayerNorm(eps=0.0))
    kernel = layer.kernel_fn(np.zeros((2, 3), np.float32), None, ("nngp", "ntk"))
    assert not np.asarray(kernel.nngp).any()
    assert not np.asarray(kernel.ntk).any()


def test_padding_changes_nothing():
    pads = ((0, 0), (0, 2), (0, 1), (0, 0))
    wide1, wide2 = (np.pad(x, pads, constant_values=9.0) for x in (X1, X2))
    layer = net((1, 2, 3), eps=EPS)
    with jax.enable_x64(True):
        plain = layer.kernel_fn(X1, X2, "ntk")
        masked = np.array(layer.kernel_fn(wide1, wide2, "ntk", mask_constant=9.0))
        assert_close(masked[:, :, :4, :4, :2, :2], plain, "float64")
        y = stax.LayerNorm((1, 2, 3), eps=EPS).apply_fn((), wide1, mask_constant=9.0)
        short = stax.LayerNorm((1, 2, 3), eps=EPS).apply_fn((), X1)
        assert_close(y.masked_value[:, :4, :2], short, "float64")
        centred = X1 - X1.mean((1, 2, 3), keepdims=True)
        expected = centred / np.sqrt(EPS + X1.var((1, 2, 3), keepdims=True))
        assert_close(short, expected, "float64")


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match="must hold that of the channels, 3"):
        net(1).kernel_fn(X1, X2)
    with pytest.raises(ValueError, match="examples are never mixed"):
        net((0, -1)).kernel_fn(X1, X2)
    with pytest.raises(ValueError, match="is none of inputs with 4 axes"):
        net((4, -1)).kernel_fn(X1, X2)
    with pytest.raises(ValueError, match="axis must be an int or some ints"):
        stax.LayerNorm(())
    with pytest.raises(ValueError, match="eps must be >= 0"):
        stax.LayerNorm(eps=-1.0)
    with pytest.raises(NotImplementedError, match="needs Gaussian inputs"):
        stax.LayerNorm().kernel_fn(X1, X2)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [-1, (1, -1)])
def test_finite_networks_approach_the_limit(axis):
    wide = stax.Dense(64, 1.3, 0.2)
    layers = stax.serial(wide, stax.LayerNorm(axis), stax.Relu(), wide)
    x1, x2 = (RNG.normal(size=(2, 3, 4)).astype(np.float32) for _ in range(2))
    assert_network(layers, x1, x2, 64, 100)
