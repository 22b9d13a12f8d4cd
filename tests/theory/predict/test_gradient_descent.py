"""Gradient flow on any loss against closed forms and SciPy's integrator."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tests.numerics import relative_max
from tests.theory.predict.problems import joint
from theory.predict import ODEState, gradient_descent, gradient_descent_mse

RATE = 0.7
ACCURACY = 1e-7  # the integrator's own: rtol 1e-9 a step


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def squared(fx, y):
    return 0.5 * jnp.mean((fx - y) ** 2)


def cross_entropy(fx, y):
    return -jnp.mean((jax.nn.log_softmax(fx) * y).sum(-1))


def problem():
    rng = np.random.default_rng(0)
    _, ntk = joint(4, 2)
    y = np.eye(3)[[0, 1, 2, 0]]
    f0, q0 = rng.normal(size=(2, 4, 3))
    g0, p0 = rng.normal(size=(2, 2, 3))
    return ntk[:4, :4], ntk[4:, :4], y, ODEState(f0, g0, q0, p0)


def test_squared_error_has_its_closed_form_in_any_order_of_times():
    k, cross, y, state = problem()
    times = np.array([[3.0, 0.0], [40.0, 0.5]])
    args = (times, state.fx_train, state.fx_test, cross)
    actual = gradient_descent(squared, k, y, RATE)(*args)
    expected = gradient_descent_mse(k, y, RATE)(*args)
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        assert relative_max(a, b) < ACCURACY


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_cross_entropy_against_scipy(momentum):
    k, cross, y, state = problem()
    n = 4
    joint_kernel = np.concatenate([k, cross])
    start = np.concatenate([state.fx_train, state.fx_test])
    times = np.array([0.5, 4.0, 12.0])

    def gradient(f):
        e = np.exp(f - f.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True) - y) / n

    if momentum is None:

        def slope(_, f):
            return -RATE * (joint_kernel @ gradient(f.reshape(6, 3)[:n])).ravel()

        s, first = times, start.ravel()
        state = ODEState(state.fx_train, state.fx_test)
    else:
        m = (momentum - 1) / np.sqrt(RATE)

        def slope(_, z):
            f, q = z.reshape(2, 6, 3)
            return np.concatenate([q, m * q - joint_kernel @ gradient(f[:n])]).ravel()

        s = times * np.sqrt(RATE)
        first = np.concatenate([start, state.qx_train, state.qx_test]).ravel()
    exact = solve_ivp(slope, (0, s[-1]), first, "DOP853", s, rtol=1e-12, atol=1e-12).y.T
    exact = exact.reshape(3, -1, 6, 3)
    out = gradient_descent(cross_entropy, k, y, RATE, momentum)(times, state, None, cross)
    assert isinstance(out, ODEState)
    assert relative_max(out.fx_train, exact[:, 0, :n]) < ACCURACY
    assert relative_max(out.fx_test, exact[:, 0, n:]) < ACCURACY
    if momentum is not None:
        assert relative_max(out.qx_train, exact[:, 1, :n]) < ACCURACY
        assert relative_max(out.qx_test, exact[:, 1, n:]) < ACCURACY


def test_a_state_resumes():
    k, cross, y, state = problem()
    predict_fn = gradient_descent(squared, k, y, RATE, 0.9)
    half = predict_fn(5.0, state, None, cross)
    resumed = predict_fn(7.0, half, None, cross)
    straight = predict_fn(12.0, state, None, cross)
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(straight), strict=True):
        assert relative_max(a, b) < ACCURACY


@pytest.mark.parametrize("momentum", [None, 0.5])
def test_without_a_time_it_runs_until_the_outputs_rest(momentum):
    k, cross, y, state = problem()
    predict_fn = gradient_descent(squared, k, y, 1.0, momentum)
    fx_test = predict_fn(None, None, state.fx_test, cross)
    expected = gradient_descent_mse(k, y)(None, None, state.fx_test, cross)
    assert relative_max(fx_test, expected) < 1e-5


def test_a_loss_without_a_minimum_is_an_error_or_a_warning_under_jit():
    k, _, y, _ = problem()

    def growing(fx, y):
        del y
        return -jnp.sum(fx**4)

    predict_fn = gradient_descent(growing, k, y)
    with pytest.raises(RuntimeError, match="got no further than t = "):
        predict_fn(100.0, 1.0)

    def run():
        out = jax.jit(lambda f0: predict_fn(100.0, f0))(jnp.ones_like(y))
        jax.effects_barrier()
        return out

    with pytest.warns(RuntimeWarning, match="got no further"):
        out = run()
    assert np.isnan(out).all()


def test_forward_derivatives():
    k, _, y, state = problem()
    predict_fn = gradient_descent(squared, k, y, RATE)
    exact = gradient_descent_mse(k, y, RATE)
    d = np.ones_like(y)
    actual = jax.jvp(lambda f0: predict_fn(3.0, f0), (jnp.asarray(state.fx_train),), (d,))[1]
    expected = jax.jvp(lambda f0: exact(3.0, f0), (jnp.asarray(state.fx_train),), (d,))[1]
    assert relative_max(actual, expected) < 1e-6


@pytest.mark.parametrize(
    ("t", "state", "fx_test_0", "message"),
    [
        (1.0, ODEState(0.0, 0.0), 0.0, "fx_test_0 must be None"),
        (1.0, ODEState(0.0, None, 0.0), None, "qx_train and qx_test must be None"),
        (-1.0, 0.0, None, "t must be at least 0"),
        (np.array([1.0, np.inf]), 0.0, None, "finite times or infinity alone"),
        (1.0, None, None, "both None"),
        (1.0, 0.0, 0.0, "k_test_train must be too"),
    ],
)
def test_errors_name_the_argument(t, state, fx_test_0, message):
    k, _, y, _ = problem()
    with pytest.raises(ValueError, match=message):
        gradient_descent(squared, k, y)(t, state, fx_test_0)
