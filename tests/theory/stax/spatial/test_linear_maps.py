"""ImageResize, DotGeneral and Identity: fixed linear maps, exact after a Conv."""

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

FACTOR = np.random.default_rng(5).normal(size=(4, 2, 5))
FACTOR[1] = 0.0

LAYERS = {
    "identity": stax.Identity,
    "nearest": lambda: stax.ImageResize((-1, 3, 5, -1), "nearest"),
    "linear": lambda: stax.ImageResize((-1, 3, -1, -1), "linear"),
    "sharp cubic": lambda: stax.ImageResize((-1, -1, 3, -1), "cubic", antialias=False),
    "number": lambda: stax.DotGeneral(rhs=-2.0),
    "contraction": lambda: stax.DotGeneral(
        rhs=FACTOR[0, 0], dimension_numbers=(((1,), (0,)), ((), ()))
    ),
    "all roles": lambda: stax.DotGeneral(
        lhs=FACTOR, dimension_numbers=(((2,), (1,)), ((0,), (2,)))
    ),
    "outer": lambda: stax.DotGeneral(rhs=FACTOR[0, 1], dimension_numbers=(((), ()), ((-3,), (0,)))),
}
SLOW = {"linear", "contraction", "identity"}


def after_conv(layer):
    """A layer on channels whose covariances are known, which are linear in their weights."""
    return stax.serial(stax.Conv(1, (1, 1), W_std=1.2, b_std=0.4), layer)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in LAYERS]
)
def test_kernel_is_that_of_the_finite_layer(name):
    net = after_conv(LAYERS[name]())
    space = {"nearest": (5, 2)}.get(name, (5, 4))
    with jax.enable_x64(True):
        x1, x2 = inputs(space), inputs(space, batch=2, seed=1)
        kernel = net.kernel_fn(x1, x2)
        expected = tangent_kernel(net, x1, x2)
        assert_close(kernel.nngp, expected, "float64")
        assert_close(kernel.ntk, expected, "float64")
        shape, params = zero_params(net, x1.shape)
        assert shape == kernel.shape1 == jax.eval_shape(net.apply_fn, params, x1).shape


@pytest.mark.parametrize("name", ["nearest", "all roles"])
def test_masked_kernel_is_that_of_the_finite_layer(name):
    net = after_conv(LAYERS[name]())
    with jax.enable_x64(True):
        x1, x2 = masked_inputs((5, 4)), masked_inputs((5, 4), batch=2, seed=3)
        kernel = net.kernel_fn(x1, x2, mask_constant=9.0)
        expected = tangent_kernel(net, x1, x2, mask_constant=9.0)
        assert_close(kernel.nngp, expected, "float64")
        mask = finite_mask(net, x1)
        assert mask.any()
        np.testing.assert_array_equal(kernel.mask1, mask)


def test_a_place_is_masked_where_nothing_else_enters_it():
    x = np.array([[9.0, 1.0, 9.0, 9.0]], np.float32)[..., None]
    factor = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0]])
    dot = stax.DotGeneral(lhs=factor, dimension_numbers=(((1,), (1,)), ((), ())))
    out = dot.apply_fn((), x, mask_constant=9.0)
    np.testing.assert_array_equal(out.mask[0, :, 0], [False, True])
    out = stax.ImageResize((-1, 8, -1), "linear").apply_fn((), x, mask_constant=9.0)
    np.testing.assert_array_equal(out.mask[0, :, 0], [1, 0, 0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("name", ["nearest", "outer"])
def test_maps_that_mix_no_places_need_equal_places_alone(name):
    net = after_conv(LAYERS[name]())
    assert not net.kernel_fn.rule.full(False)
    with jax.enable_x64(True):
        x1, x2 = inputs((5, 4)), inputs((5, 4), batch=2, seed=1)
        full = np.asarray(net.kernel_fn(x1, x2, "nngp"))
        diagonal = net.kernel_fn(x1, x2, "nngp", diagonal_spatial=True)
        assert_close(diagonal, spatial_diagonal(full), "float64")


def test_outputs_have_one_layout():
    """lax.dot_general's axes, with the batch first and channels last."""
    x = inputs((4, 3)).astype("float32")
    left = stax.DotGeneral(lhs=np.eye(4)[:2], dimension_numbers=(((1,), (1,)), ((), ())))
    np.testing.assert_array_equal(left.apply_fn((), x), x[:, :2])
    right = stax.DotGeneral(rhs=np.eye(4)[:2], dimension_numbers=(((1,), (1,)), ((), ())))
    np.testing.assert_array_equal(right.apply_fn((), x), x[:, :2].swapaxes(1, 2))
    assert left.init_fn(jax.random.key(0), (-1, 4, 3, 2))[0] == (-1, 2, 3, 2)


def dot(contracted=((), ()), shared=((), ())):
    return stax.DotGeneral(rhs=np.ones((2, 4)), dimension_numbers=(contracted, shared))


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("must not both", lambda: stax.DotGeneral(lhs=1.0, rhs=1.0)),
        ("batch_axis", lambda: stax.DotGeneral(rhs=1.0, batch_axis=1)),
        ("not the batch", lambda: dot(shared=((0,), (1,)))),
        ("nor channels", lambda: dot(contracted=((-1,), (0,)))),
        ("at most once", lambda: dot(contracted=((4,), (0,)))),
        ("must have the size", lambda: dot(contracted=((1,), (0,)))),
        ("shape must be", lambda: stax.ImageResize((-1, 0, -1), "linear")),
        ("batch and the channels", lambda: stax.ImageResize((-1, 2, 3), "linear")),
        ("1 spatial axes, got 2", lambda: stax.ImageResize((-1, 2, -1), "linear")),
        ("resize method", lambda: stax.ImageResize((-1, 2, 2, -1), "sharp")),
    ],
)
def test_arguments_are_checked(message, make):
    with pytest.raises(ValueError, match=message):
        make().kernel_fn(inputs((4, 2)))


@pytest.mark.parametrize("name", ["linear", "contraction"])
def test_a_kernel_of_equal_places_cannot_be_mixed(name):
    x = inputs((5, 4)).astype("float32")
    kernel = stax.Conv(1, (1, 1)).kernel_fn(x, diagonal_spatial=True)
    with pytest.raises(ValueError, match="all pairs of places"):
        LAYERS[name]().kernel_fn(kernel)
