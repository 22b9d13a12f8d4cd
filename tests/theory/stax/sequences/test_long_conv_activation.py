"""A nonlinearity straight after a filter, along one axis and along two."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from kernels_pallas import long_conv
from tests.numerics import assert_close, relative_l2
from tests.theory.stax.sampling import assert_limit, draws
from theory import stax

RNG = np.random.default_rng(2)
X1, X2 = RNG.normal(size=(2, 6, 4)), RNG.normal(size=(2, 6, 4))
PLANES1, PLANES2 = RNG.normal(size=(2, 3, 2, 4)), RNG.normal(size=(1, 3, 2, 4))
V = np.exp(-np.arange(6) / 2.0)
V /= V.sum()
AHEAD = np.array([[0.1, 0.05, 0.1], [0.2, 0.3, 0.1], [0.1, 0.0, 0.05]])  # lags -1 .. 1, twice


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def straight(act, samples, width=128, **options):
    conv = stax.LongConvActivation(act, V, samples=samples, **options)
    return stax.serial(stax.Dense(width, 1.5, 0.1), conv, stax.Dense(width, 1.2))


@pytest.mark.parametrize("act", [stax.Relu(), pytest.param(stax.Gelu(), marks=pytest.mark.slow)])
def test_a_nonlinearity_before_channels_are_mixed(act):
    exact = straight(act, 3000, operator=long_conv).kernel_fn(X1, X2, ("nngp", "ntk"))
    approximate = straight(act, 0).kernel_fn(X1, X2, ("nngp", "ntk"))
    nngp, ntk = draws(straight(act, 0, operator=long_conv), X1, X2, 40)
    assert_limit(nngp, exact.nngp, 128)
    assert_limit(ntk, exact.ntk, 128)
    assert relative_l2(approximate.ntk, exact.ntk) > 0.1
    with pytest.raises(AssertionError, match="deviations"):
        assert_limit(ntk, approximate.ntk, 128)


def test_without_draws_channels_are_taken_for_mixed():
    """As with a Dense of no weights of its own in between: in the NNGP, which has none."""
    mixed = stax.serial(
        stax.Dense(8, 1.5, 0.1), stax.LongConv(V), stax.Dense(8), stax.Relu(), stax.Dense(8, 1.2)
    )
    got = straight(stax.Relu(), 0, 8).kernel_fn(X1, X2, "nngp")
    assert_close(got, mixed.kernel_fn(X1, X2, "nngp"), "float64")


def test_a_straight_line_needs_no_mixing():
    """phi linear: the draws change nothing but by their error."""
    line = stax.Polynomial([0.0, 1.0])
    net = stax.serial(stax.Dense(8), stax.LongConv(V), stax.Dense(8))

    def drawn(seed):
        conv = stax.LongConvActivation(line, V, samples=500, seed=seed)
        return stax.serial(stax.Dense(8), conv, stax.Dense(8))

    got = stax.seed_average(drawn, X1, X2, ("nngp", "ntk"), seeds=4)
    expected = net.kernel_fn(X1, X2, ("nngp", "ntk"))
    for name in ("nngp", "ntk"):
        mean, error = getattr(got.mean, name), getattr(got.error, name)
        assert np.abs(mean - getattr(expected, name)).max() < 6 * error.max()
        assert 0 < error.max() < 0.1 * np.abs(mean).max()


def test_two_axes_of_which_one_is_short():
    """Length L and (L, 1) draw the same filters."""

    def net(variance, **options):
        conv = stax.LongConvActivation(stax.Relu(), variance, samples=7, **options)
        return stax.serial(stax.Dense(8, 1.5, 0.1), conv, stax.Dense(8))

    line = net(V).kernel_fn(X1, X2, ("nngp", "ntk"))
    plane = net(V[:, None]).kernel_fn(X1[:, :, None], X2[:, :, None], ("nngp", "ntk"))
    for name in ("nngp", "ntk"):
        got = np.asarray(getattr(plane, name))[..., 0, 0]
        assert_close(got, getattr(line, name), "float64")


def planes(samples, width=96):
    conv = stax.LongConvActivation(stax.Relu(), AHEAD, causal=False, samples=samples)
    return stax.serial(stax.Dense(width, 1.5, 0.1), conv, stax.Dense(width, 1.2))


def test_a_nonlinearity_after_a_convolution_of_planes():
    exact = planes(2000).kernel_fn(PLANES1, PLANES2, ("nngp", "ntk"))
    approximate = planes(0).kernel_fn(PLANES1, PLANES2, ("nngp", "ntk"))
    nngp, ntk = draws(planes(0), PLANES1, PLANES2, 60)
    assert_limit(nngp, exact.nngp, 96)
    assert_limit(ntk, exact.ntk, 96)
    with pytest.raises(AssertionError, match="deviations"):
        assert_limit(ntk, approximate.ntk, 96)


def test_examples_of_planes_can_be_swapped():
    net = planes(3)
    one = net.kernel_fn(PLANES1, PLANES2, "ntk")  # (N1, N2, p, q, p, q)
    other = net.kernel_fn(PLANES2, PLANES1, "ntk")
    assert relative_l2(one, np.transpose(other, (1, 0, 3, 2, 5, 4))) < 1e-6  # root of a rounding


def test_bad_draws():
    with pytest.raises(ValueError, match="samples must be an int >= 0"):
        stax.LongConvActivation(stax.Relu(), V, samples=-1)
    with pytest.raises(NotImplementedError, match="needs Gaussian inputs"):
        stax.LongConvActivation(stax.Relu(), V).kernel_fn(X1)
    for options, message in (
        ({"tap_variance": V}, "of 1 spatial axes; the inputs have 2"),
        ({"tap_covariance": np.diag(V)}, "one spatial axis where it has tap_covariance"),
    ):
        net = stax.serial(stax.Dense(3), stax.LongConvActivation(stax.Relu(), **options))
        with pytest.raises(ValueError, match=message):
            net.kernel_fn(np.ones((1, 2, 2, 3)))
