"""AvgPool, SumPool, GlobalAvgPool, GlobalSumPool, Flatten: after a Conv, kernels are exact."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.numerics import assert_close
from tests.theory.stax.spatial.exact import (
    finite_mask,
    inputs,
    masked_inputs,
    spatial_diagonal,
    tangent_kernel,
)
from theory import stax

LAYERS = {
    "side by side": lambda: stax.AvgPool((2, 2), (2, 2)),
    "zeros at the edges": lambda: stax.AvgPool((2, 3), (1, 2), "SAME"),
    "normalised edges": lambda: stax.AvgPool((2, 3), (1, 2), "SAME", True),
    "periodic": lambda: stax.SumPool((4, 3), (3, 1), "CIRCULAR"),
    "overlapping sums": lambda: stax.SumPool((3, 2)),
    "global average": stax.GlobalAvgPool,
    "global sum": stax.GlobalSumPool,
}
SLOW = {"side by side", "overlapping sums", "global sum"}


def after_conv(layer):
    """A layer on channels whose covariances are known, which are linear in their weights."""
    return stax.serial(stax.Conv(1, (1, 1), W_std=1.2, b_std=0.4), layer)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in LAYERS]
)
def test_kernel_is_that_of_the_finite_layer(name):
    net = after_conv(LAYERS[name]())
    with jax.enable_x64(True):
        x1, x2 = inputs((5, 4)), inputs((5, 4), batch=2, seed=1)
        both = net.kernel_fn(x1, x2, ("nngp", "ntk"))
        expected = tangent_kernel(net, x1, x2)
        assert_close(both.nngp, expected, "float64")
        assert_close(both.ntk, expected, "float64")


@pytest.mark.parametrize("name", ["normalised edges", "global average", "global sum"])
def test_masked_kernel_is_that_of_the_finite_layer(name):
    net = after_conv(LAYERS[name]())
    with jax.enable_x64(True):
        x1, x2 = masked_inputs((5, 4)), masked_inputs((5, 4), batch=2, seed=3)
        kernel = net.kernel_fn(x1, x2, mask_constant=9.0)
        assert_close(kernel.nngp, tangent_kernel(net, x1, x2, mask_constant=9.0), "float64")
        np.testing.assert_array_equal(kernel.mask1, finite_mask(net, x1))


def test_one_masked_side():
    x1, x2 = masked_inputs((5,)), inputs((5,), batch=2, seed=1)
    net = stax.serial(stax.Conv(1, (1,)), stax.GlobalAvgPool())
    with jax.enable_x64(True):
        kernel = net.kernel_fn(x1, x2, "nngp", mask_constant=9.0)
        assert_close(kernel, tangent_kernel(net, x1, x2, mask_constant=9.0), "float64")


def test_an_example_that_is_masked_throughout():
    x = np.full((2, 4, 1), 9.0, np.float32)
    x[1, :2] = 1.0
    net = stax.serial(stax.Conv(1, (1,)), stax.GlobalAvgPool())
    kernel = net.kernel_fn(x, mask_constant=9.0)
    np.testing.assert_array_equal(kernel.nngp, [[0, 0], [0, 1]])
    np.testing.assert_array_equal(kernel.mask1, [[True], [False]])


def test_diagonal_outputs_are_the_diagonal_of_full_ones():
    net = after_conv(LAYERS["normalised edges"]())
    with jax.enable_x64(True):
        x1, x2 = inputs((5, 4)), inputs((5, 4), batch=2, seed=1)
        full = net.kernel_fn(x1, x2, "nngp")
        diagonal = net.kernel_fn(x1, x2, "nngp", diagonal_spatial=True)
        assert_close(diagonal, spatial_diagonal(np.asarray(full)), "float64")


@pytest.mark.parametrize("mask_constant", [None, 9.0])
def test_flatten_is_a_mean_over_equal_places(mask_constant):
    """Flatten's channels are those of all places: the kernel is their mean, masked or not."""
    make = inputs if mask_constant is None else masked_inputs
    with jax.enable_x64(True):
        x1, x2 = make((3, 2)), make((3, 2), batch=2, seed=1)
        kernel = stax.Flatten().kernel_fn(x1, x2, mask_constant=mask_constant)
        rows = [np.where(x == 9.0, 0.0, x).reshape(len(x), -1) for x in (x1, x2)]
        assert_close(kernel.nngp, rows[0] @ rows[1].T / rows[0].shape[1], "float64")
        assert (kernel.shape1, kernel.is_gaussian, kernel.is_input) == ((3, 12), False, True)


def test_flatten_needs_equal_places_alone():
    """A strided network that ends in Flatten is the same with all pairs of places held."""
    head = stax.serial(stax.Conv(1, (2, 2), (2, 1), b_std=0.1), stax.Relu())
    net = stax.serial(head, stax.Flatten(), stax.Dense(1))
    with jax.enable_x64(True):
        x1, x2 = inputs((4, 3)), inputs((4, 3), batch=2, seed=1)
        places = np.asarray(head.kernel_fn(x1, x2, "nngp"))
        expected = spatial_diagonal(places).mean((2, 3))
        assert_close(net.kernel_fn(x1, x2, "nngp"), expected, "float64")
        assert not net.kernel_fn.rule.full(True)


def test_a_kernel_of_equal_places_cannot_be_pooled():
    kernel = stax.Conv(1, (1,)).kernel_fn(inputs((3,)).astype("float32"), diagonal_spatial=True)
    for layer in (stax.AvgPool((2,)), stax.GlobalSumPool()):
        with pytest.raises(ValueError, match="all pairs of places"):
            layer.kernel_fn(kernel)


def test_layers_on_kernels_give_what_the_whole_network_gives():
    first, second = after_conv(stax.AvgPool((2, 2))), stax.GlobalAvgPool()
    x = inputs((3, 4)).astype("float32")
    by_parts = second.kernel_fn(first.kernel_fn(x)).ntk
    assert_close(by_parts, stax.serial(first, second).kernel_fn(x, None, "ntk"))


def test_flattened_channels_have_no_nonlinearity():
    net = stax.serial(stax.Conv(1, (1,)), stax.Flatten(), stax.Relu())
    with pytest.raises(NotImplementedError, match="Gaussian"):
        net.kernel_fn(inputs((3,)))


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("window_shape", lambda: stax.AvgPool((0,))),
        ("strides must have one entry", lambda: stax.SumPool((2, 2), (1,))),
        ("padding", lambda: stax.AvgPool((2,), padding="FULL")),
        ("batch_axis", lambda: stax.GlobalAvgPool(batch_axis=1)),
        ("channel_axis", lambda: stax.AvgPool((2,), channel_axis=1)),
        ("batch_axis_out", lambda: stax.Flatten(0, 1)),
        ("does not fit", lambda: stax.AvgPool((4,)).kernel_fn(inputs((3,)))),
        ("1 spatial axes, got 2", lambda: stax.SumPool((2,)).kernel_fn(inputs((3, 3)))),
    ],
)
def test_arguments_are_checked(message, make):
    with pytest.raises(ValueError, match=message):
        make()
