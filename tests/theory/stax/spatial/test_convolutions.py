"""Conv, ConvTranspose and ConvLocal: kernels are those of the finite layers, exactly."""

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
    zero_params,
)
from theory import stax

KINDS = {"Conv": stax.Conv, "ConvTranspose": stax.ConvTranspose, "ConvLocal": stax.ConvLocal}
PADDINGS = ("VALID", "SAME", "CIRCULAR")
# (filter, strides, space): even and odd, strides that leave a rest, a filter past the edge, 3 axes
SHAPES = {
    "line": ((4,), (3,), (8,)),
    "plane": ((3, 2), (1, 2), (5, 4)),
    "around": ((6,), None, (7,)),
    "deep": ((2, 1, 3), (1, 2, 1), (2, 3, 3)),
    "sparse": ((1, 2), (2, 3), (4, 3)),
}
QUICK = {("plane", "CIRCULAR"), ("line", "VALID")}


def cases():
    for kind in KINDS:
        for shape in SHAPES:
            for padding in PADDINGS:
                marks = () if (shape, padding) in QUICK else (pytest.mark.slow,)
                yield pytest.param(kind, shape, padding, marks=marks)


@pytest.mark.parametrize(("kind", "shape", "padding"), list(cases()))
def test_kernel_is_that_of_the_finite_layer(kind, shape, padding):
    taps, strides, space = SHAPES[shape]
    net = KINDS[kind](3, taps, strides, padding, W_std=1.3, b_std=0.4)
    with jax.enable_x64(True):
        x1, x2 = inputs(space), inputs(space, batch=2, seed=1)
        both = net.kernel_fn(x1, x2, ("nngp", "ntk"))
        expected = tangent_kernel(net, x1, x2)
        diagonal = net.kernel_fn(x1, x2, "ntk", diagonal_spatial=True)
        assert zero_params(net, x1.shape)[0][1:-1] == diagonal.shape[2:]
        assert_close(both.nngp, expected, "float64")
        assert_close(both.ntk, expected, "float64")
        assert_close(diagonal, spatial_diagonal(expected), "float64")


@pytest.mark.parametrize("kind", KINDS)
def test_masked_kernel_is_that_of_the_finite_layer(kind):
    net = KINDS[kind](3, (3, 2), (2, 1), "SAME", b_std=0.4)
    with jax.enable_x64(True):
        x1, x2 = masked_inputs((5, 4)), masked_inputs((5, 4), batch=2, seed=3)
        kernel = net.kernel_fn(x1, x2, mask_constant=9.0)
        expected = tangent_kernel(net, x1, x2, mask_constant=9.0)
        assert_close(kernel.nngp, expected, "float64")
        mask = finite_mask(net, x1)
        assert 0 < mask.sum() < mask.size
        np.testing.assert_array_equal(kernel.mask1, mask)


@pytest.mark.parametrize("kind", KINDS)
def test_standard_parametrisation(kind):
    net = KINDS[kind](3, (3,), (2,), "SAME", 1.3, 0.4, None, "standard", (3, 2))
    with jax.enable_x64(True):
        x1, x2 = inputs((5,)), inputs((5,), batch=2, seed=1)
        both = net.kernel_fn(x1, x2, ("nngp", "ntk"))
        assert_close(both.ntk, tangent_kernel(net, x1, x2), "float64")
        # Theta = fan_in / s_in A K + [b], K' = W_std² A K + b_std², A K the mean over a window
        ones = np.asarray(both.ntk) - (np.asarray(both.nngp) - 0.4**2) * (2 * 3 / 3) / 1.3**2
        same = np.eye(3, dtype=bool) if kind == "ConvLocal" else np.full(ones.shape[2:], True)
        np.testing.assert_allclose(ones[..., same], 1.0, rtol=1e-12)
        assert zero_params(net, x1.shape)[0][-1] == 6


def test_tangent_kernel_of_a_linear_network_is_its_depth_times_the_nngp():
    net = stax.serial(
        stax.ConvTranspose(2, (3, 2), (1, 2), "SAME", 1.1),
        stax.AvgPool((2, 2), padding="SAME", normalize_edges=True),
        stax.Conv(2, (2, 3), padding="CIRCULAR"),
        stax.Conv(2, (3, 3), (2, 2), W_std=0.7),
        stax.GlobalAvgPool(),
    )
    with jax.enable_x64(True):
        kernel = net.kernel_fn(inputs((5, 4)))
        assert_close(kernel.ntk, 3 * kernel.nngp, "float64")


def test_a_self_kernel_agrees_with_the_cross_kernel_of_the_same_inputs():
    net = stax.serial(
        stax.Conv(2, (2,), padding="SAME", b_std=0.3),
        stax.Relu(),
        stax.ConvLocal(2, (2,), (2,)),
        stax.AvgPool((2,)),
    )
    x = inputs((6,), channels=3)
    with jax.enable_x64(True):
        own = np.asarray(net.kernel_fn(x, None, "ntk"))
        cross = np.asarray(net.kernel_fn(x, x.copy(), "ntk"))
        off = ~np.eye(3, dtype=bool)
        assert_close(own[off], cross[off], "float64")
        # (x, x): the cross kernel meets correlation 1, where rounding costs half the digits of ReLU
        np.testing.assert_allclose(own, cross, rtol=1e-6)


def test_local_layers_leave_places_independent():
    net = stax.ConvLocal(2, (2,), b_std=0.5)
    nngp = np.asarray(net.kernel_fn(inputs((4,)).astype("float32"), None, "nngp"))
    assert nngp.shape == (3, 3, 3, 3)
    assert not nngp[:, :, ~np.eye(3, dtype=bool)].any()
    assert (nngp[0, 0].diagonal() >= 0.25).all()


def test_float32_follows_float64():
    net = stax.Conv(2, (3, 3), padding="SAME", W_std=1.4, b_std=0.1)
    x = inputs((4, 4))
    single = net.kernel_fn(x.astype("float32"), None, ("nngp", "ntk"))
    with jax.enable_x64(True):
        double = [np.asarray(k) for k in net.kernel_fn(x, None, ("nngp", "ntk"))]
    assert single.nngp.dtype == "float32"
    assert_close(single.nngp, double[0])
    assert_close(single.ntk, double[1])


ERRORS = {
    "out_chan": {"out_chan": 0},
    "filter_shape": {"filter_shape": (0, 3)},
    "strides must have one entry": {"strides": (1,)},
    "strides must be positive": {"strides": (1, 1.5)},
    "padding": {"padding": "REFLECT"},
    "dimension_numbers": {"dimension_numbers": ("NCHW", "HWIO", "NCHW")},
    "parameterization": {"parameterization": "mup"},
    "s must be": {"s": (2, 1)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", ERRORS)
def test_arguments_are_checked(kind, message):
    arguments = {"out_chan": 2, "filter_shape": (3, 3)} | ERRORS[message]
    with pytest.raises(ValueError, match=message):
        KINDS[kind](**arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_checked(kind):
    net = KINDS[kind](2, (3, 3), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    with pytest.raises(ValueError, match=r"2 spatial axes, got 1: \(5,\)"):
        net.kernel_fn(inputs((5,)))
    with pytest.raises(ValueError, match="2 spatial axes"):
        net.init_fn(jax.random.key(0), (3, 5, 2))
    if kind != "ConvTranspose":
        with pytest.raises(ValueError, match=r"window of \(3, 3\) does not fit"):
            net.kernel_fn(inputs((5, 2)))


def test_padding_is_an_enum_or_its_name():
    x = inputs((5,)).astype("float32")
    for padding in (stax.Padding.SAME, "same"):
        assert stax.Conv(2, (3,), padding=padding).kernel_fn(x, None, "nngp").shape == (3, 3, 5, 5)
