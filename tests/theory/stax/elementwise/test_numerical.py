"""Functions of one's own: by their closed form, by integration to a tolerance, by fixed nodes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import RELATIVE, relative_max
from tests.theory.stax.elementwise.cases import CASES, apply_of, dual_of
from theory.stax import Dense, serial
from theory.stax.elementwise import (
    Elementwise,
    ElementwiseNumerical,
    Hermite,
    Polynomial,
    mehler,
    polar,
)
from theory.stax.elementwise.expectations import derivative


def _relu(x):
    return jnp.maximum(x, 0)


def _pairs(correlations, scale=1.0):
    """(k12, k11, k22) at given correlations, variances 0.8 and 1.3 times `scale`."""
    k11, k22 = jnp.full(len(correlations), 0.8 * scale), jnp.full(len(correlations), 1.3 * scale)
    return jnp.asarray(correlations) * jnp.sqrt(k11 * k22), k11, k22


def test_integration_of_a_kink_meets_its_closed_form_near_duplicates_too():
    with jax.enable_x64(True):
        at = _pairs(np.array([-1, -0.999, -0.9, 0, 0.5, 0.99, 1 - 1e-6]))
        got = np.array(jax.jit(dual_of(Elementwise(_relu)).pair)(*at))
        expected = np.array(dual_of(CASES["Relu"].layer).pair(*at))
    assert relative_max(got, expected) <= RELATIVE["float64"]


def test_integration_meets_a_closed_form_at_every_scale():
    """erf at standard deviations from 0.01 to 30: features far narrower than the Gaussian."""
    fn = jax.lax.erf
    with jax.enable_x64(True):
        own, closed = (
            jax.jit(dual_of(Elementwise(fn)).pair),
            dual_of(Elementwise(fn, _arcsine)).pair,
        )
        for scale in (1e-4, 1.0, 900.0):
            at = _pairs(np.array([-0.95, 0.3, 0.8, 0.9999]), scale)
            for got, expected in zip(own(*at), closed(*at), strict=True):
                assert relative_max(got, expected) <= 1e-11


def test_the_bound_of_the_series_holds():
    fn, slope = jnp.tanh, derivative(jnp.tanh)
    products = ((fn, fn), (slope, slope))
    with jax.enable_x64(True):
        at = _pairs(np.array([0.2, 0.9, 0.97, 1 - 1e-4]), 4.0)

        @jax.jit
        def both(*k):
            series = mehler.series(products, k[0], k[1], k[2], 1e-6, terms=64)
            return series, polar.integrate(products, k[0], k[1], k[2], series.norms, 2e-13)

        series, exact = both(*at)
        assert float(exact.error) < 1e-10
        for value, good, norm in zip(series.values, exact.values, series.norms, strict=True):
            error = np.asarray(jnp.abs(value - good) / norm)
            assert (error <= np.asarray(series.bound) + 1e-10).all()
    assert np.asarray(series.bound)[0] < 1e-6 < np.asarray(series.bound)[-1]


def test_a_function_that_is_too_rough_warns():
    pair = jax.jit(dual_of(Elementwise(lambda x: jnp.where(x > 1, 1.0, 0.0))).pair)

    def run():
        out = pair(*_pairs(np.array([0.3, 0.9])))
        jax.effects_barrier()
        return out

    with pytest.warns(RuntimeWarning, match="relative error"):
        value, _ = run()
    assert 0 < float(value[0]) < float(value[1]) < 0.2


def _arcsine(k12, k11, k22):
    return jnp.arcsin(2 * k12 / jnp.sqrt((1 + 2 * k11) * (1 + 2 * k22))) * (2 / jnp.pi)


@pytest.mark.parametrize("with_slope", [False, True])
def test_closed_form_of_ones_own(with_slope):
    def slope(k12, k11, k22):
        return 4 / jnp.pi / jnp.sqrt((1 + 2 * k11) * (1 + 2 * k22) - 4 * k12**2)

    mine = Elementwise(jax.lax.erf, _arcsine, slope if with_slope else None)
    x = np.random.default_rng(0).normal(size=(4, 3))
    with jax.enable_x64(True):
        got, expected = (
            serial(Dense(1, 1.1, 0.1), layer, Dense(1)).kernel_fn(x, None, ("nngp", "ntk"))
            for layer in (mine, Elementwise(jax.lax.erf, _arcsine, slope))
        )
        for a, b in zip(got, expected, strict=True):
            assert relative_max(a, b) <= RELATIVE["float64"]
        assert apply_of(mine)[0](np.array([0.3])) == pytest.approx(0.3286267594591274, rel=1e-12)


def test_elementwise_numerical_is_symmetric_semi_definite_and_converges():
    x = np.random.default_rng(0).normal(size=(12, 3))
    errors = []
    with jax.enable_x64(True):
        exact = serial(Dense(1, 0.8), Elementwise(jax.lax.erf, _arcsine)).kernel_fn(x, None, "nngp")
        for deg in (7, 17, 37):
            layer = ElementwiseNumerical(jax.lax.erf, deg)
            kernel = serial(Dense(1, 0.8), layer).kernel_fn
            own = np.asarray(kernel(x, None, "nngp"))
            given = np.asarray(kernel(x, jnp.asarray(x), "nngp"))
            np.testing.assert_allclose(given, given.T, rtol=1e-13)
            np.testing.assert_allclose(np.diag(given), np.diag(own), rtol=1e-13)
            assert np.linalg.eigvalsh(given).min() > -1e-14
            errors.append(relative_max(own, exact))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


def test_elementwise_numerical_uses_the_derivative_that_it_is_given():
    def wrong(x):
        return 3 + 0 * x

    with jax.enable_x64(True):
        at = _pairs(np.array([0.3]))
        dual = dual_of(ElementwiseNumerical(jnp.tanh, 8, wrong))
        assert float(dual.pair(*at)[1][0]) == pytest.approx(9)
        assert float(dual.same(at[1])[1][0]) == pytest.approx(9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Tanh", "Softplus", "Silu"])
def test_float32(name):
    at = [np.asarray(k) for k in _pairs(np.array([-0.9, 0.1, 0.9, 0.9999, 1.0]))]
    pair = jax.jit(dual_of(CASES[name].layer).pair)
    low = [np.asarray(a) for a in pair(*(jnp.asarray(k, jnp.float32) for k in at))]
    with jax.enable_x64(True):
        high = [np.asarray(a) for a in pair(*(jnp.asarray(k, jnp.float64) for k in at))]
    for a, b in zip(low, high, strict=True):
        assert a.dtype == np.float32
        assert relative_max(a, b) <= RELATIVE["float32"]


def test_hermite_is_the_polynomial_at_unit_variance():
    with pytest.warns(UserWarning, match="unit variance"):
        layer = Hermite(3)
    other = Polynomial(np.polynomial.hermite_e.herme2poly([0, 0, 0, 1]) / np.sqrt(6))
    with jax.enable_x64(True):
        c, one = jnp.asarray([-1, 0.3, 1.0]), jnp.ones(3)
        for a, b in zip(
            dual_of(layer).pair(c, one, one), dual_of(other).pair(c, one, one), strict=True
        ):
            assert relative_max(a, b) <= RELATIVE["float64"]
        x = np.array([-1.5, 0.2])
        np.testing.assert_allclose(apply_of(layer)[0](x), (x**3 - 3 * x) / np.sqrt(6), rtol=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda e: e.Elementwise(), "fn and nngp_fn"),
        (lambda e: e.Elementwise(jnp.tanh, None, _arcsine), "d_nngp_fn"),
        (lambda e: e.ElementwiseNumerical(jnp.tanh, 0), "deg"),
        (lambda e: e.Monomial(-1), "degree"),
        (lambda e: e.RectifiedMonomial(1.5), "degree"),
        (lambda e: e.Hermite(-2), "degree"),
        (lambda e: e.Polynomial([1.0, np.nan]), "coef"),
        (lambda e: e.Rbf(-1.0), "gamma"),
        (lambda e: e.Softplus(0.0), "beta"),
        (lambda e: e.Silu(-1.0), "beta"),
    ],
)
def test_errors_name_the_argument(make, message):
    from theory.stax import elementwise

    with pytest.raises(ValueError, match=message):
        make(elementwise)


def test_layers_without_a_finite_network_say_so():
    from theory.stax.elementwise import ExpNormalized

    for layer in (ExpNormalized(), Elementwise(None, _arcsine)):
        with pytest.raises(NotImplementedError, match="no finite network"):
            layer.apply_fn((), jnp.ones((2, 3)))


def test_exp_normalized():
    """s exp(gamma (c + shift)); clipping keeps the derivative on both sides of c = 1."""
    from theory.stax.elementwise import ExpNormalized

    with jax.enable_x64(True):
        pair = dual_of(ExpNormalized(0.7, -0.4, do_clip=True)).pair
        k12, k11, k22 = jnp.asarray([0.4, -0.9]), jnp.full(2, 0.8), jnp.full(2, 1.3)
        s = np.sqrt(0.8 * 1.3)
        e = np.exp(0.7 * (np.asarray(k12) / s - 0.4))
        np.testing.assert_allclose(pair(k12, k11, k22), [s * e, 0.7 * e], rtol=1e-14)
        one = jnp.ones(())
        slope = float(jax.grad(lambda k: pair(k, one, one)[0])(1.0))
        assert slope == pytest.approx(0.7 * np.exp(0.7 * 0.6), rel=1e-12)
