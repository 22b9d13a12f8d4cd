"""Gradients through two-layer kernels: float64 finite differences, x1 = x2, zero rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.theory.stax.elementwise.cases import CASES
from theory.stax import Dense, serial

# Cusps: with a jump in the function, K has one where x = x'; with one in the derivative, Theta has.
JUMPS = {"Sign", "RectifiedMonomial0"}
QUICK = ["Relu", "Erf", "RectifiedMonomial2"]  # the others are slow to compile


def _network(layer):
    return serial(Dense(1, 1.1, 0.2), layer, Dense(1, 1.2, 0.1), layer, Dense(1)).kernel_fn


def _check(name, get, x1, x2, exclude=None):
    """The gradient of a weighted sum of the kernel along one direction."""
    kernel = _network(CASES[name].layer)
    with jax.enable_x64(True):
        x1 = jnp.asarray(x1)
        along = jnp.asarray(np.random.default_rng(2).normal(size=x1.shape))
        if exclude is not None:
            along = along * jnp.asarray(1 - exclude)[:, None]
        other = None if x2 is None else jnp.asarray(x2)
        shape = (len(x1), len(x1) if x2 is None else len(x2))
        weights = jnp.asarray(np.random.default_rng(3).normal(size=shape))

        @jax.jit
        def f(t):
            return (weights * kernel(x1 + t * along, other, get)).sum()

        got = float(jax.jit(jax.grad(f))(0.0))
        h = 2e-4
        ends = [float(f(t)) for t in (-2 * h, -h, h, 2 * h)]
        expected = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
        size = float(jnp.abs(weights * kernel(x1, other, get)).sum())
    assert np.isfinite(got)
    assert abs(got - expected) <= 2e-8 * size + 1e-7 * abs(expected)


@pytest.fixture
def inputs():
    return np.random.default_rng(0).normal(size=(3, 4))


@pytest.mark.parametrize("name", QUICK)
def test_symmetric(name, inputs):
    _check(name, "ntk", inputs, None)


@pytest.mark.slow
@pytest.mark.parametrize("get", ["nngp", "ntk"])
@pytest.mark.parametrize("name", CASES)
def test_every_nonlinearity(name, get, inputs):
    _check(name, get, inputs, None)
    if name not in JUMPS and not (get == "ntk" and CASES[name].kinked):
        _check(name, get, inputs, inputs.copy())


@pytest.mark.parametrize("name", ["Relu", "Gelu"])
def test_equal_inputs_as_two_arguments(name, inputs):
    _check(name, "nngp", inputs, inputs.copy())


def _at_zero_row(name, get):
    """A zero row, no biases: finite, and right along directions that keep it."""
    x = np.random.default_rng(0).normal(size=(3, 4))
    x[1] = 0
    layer = CASES[name].layer
    kernel = serial(Dense(1, 1.1), layer, Dense(1, 1.2), layer, Dense(1)).kernel_fn
    with jax.enable_x64(True):
        x = jnp.asarray(x)
        along = jnp.asarray(np.random.default_rng(2).normal(size=x.shape)).at[1].set(0)

        def f(x):
            return kernel(x, None, get).sum()

        slope = jax.jit(jax.grad(f))(x)
        h = 1e-4
        step = jax.jit(lambda t: f(x + t * along))
        ends = [float(step(t)) for t in (-2 * h, -h, h, 2 * h)]
        expected = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
        got, scale = float((slope * along).sum()), float(abs(f(x)))
    assert np.isfinite(np.asarray(slope)).all()
    assert abs(got - expected) <= 1e-8 * scale + 1e-7 * abs(expected)


@pytest.mark.parametrize("name", ["Relu", "Gaussian"])
def test_zero_row(name):
    _at_zero_row(name, "ntk")


@pytest.mark.slow
@pytest.mark.parametrize("get", ["nngp", "ntk"])
@pytest.mark.parametrize("name", CASES)
def test_zero_row_of_every_nonlinearity(name, get):
    _at_zero_row(name, get)


def test_smooth_functions_have_the_right_gradient_at_a_zero_row():
    """Along the zero row itself, where a smooth kernel is differentiable."""
    kernel = serial(Dense(1, 1.1), CASES["Erf"].layer, Dense(1)).kernel_fn
    with jax.enable_x64(True):
        other = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4)))
        slope = jax.grad(lambda x: kernel(x, other, "ntk").sum())(jnp.zeros((1, 4)))
        h = 1e-5
        ends = [float(kernel(t * jnp.eye(4)[:1], other, "ntk").sum()) for t in (-h, h)]
        assert float(slope[0, 0]) == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=1e-7)
