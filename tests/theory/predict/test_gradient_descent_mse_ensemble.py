"""The ensemble against what it is: linear maps of Gaussian outputs at time 0."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from tests.numerics import relative_max
from tests.theory.predict.problems import inputs, kernel_fn
from theory.predict import Gaussian, gradient_descent_mse_ensemble

N, TEST, RATE, REGULAR = 6, 3, 0.8, 0.1


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def exact(name, t, x_train, y, x_test):
    """(mean, covariance) of f_t = f_0 - R (f_0(train) - y), f_0 ~ N(0, K), for response R."""
    x = np.concatenate([x_train, x_test])
    k = {g: np.asarray(kernel_fn(x, None, g)) for g in ("nngp", "ntk")}
    a = k[name][:N, :N]
    a = a + REGULAR * np.trace(a) / N * np.eye(N)
    gone = np.eye(N) if t is None else np.eye(N) - scipy.linalg.expm(-RATE * t / y.size * a)
    response = k[name][N:, :N] @ np.linalg.solve(a, gone)
    if name == "nngp":
        # The posterior of a flow on the last layer alone: its own kernel, and twice the time.
        gone2 = (
            np.eye(N) if t is None else np.eye(N) - scipy.linalg.expm(-2 * RATE * t / y.size * a)
        )
        cov = k["nngp"][N:, N:] - k["nngp"][N:, :N] @ np.linalg.solve(a, gone2) @ k["nngp"][:N, N:]
    else:
        m = np.concatenate([-response, np.eye(TEST)], 1)
        cov = m @ k["nngp"] @ m.T
    return response @ y, cov


@pytest.mark.parametrize("name", ["nngp", "ntk"])
def test_means_and_covariances_at_all_times(name):
    x, y, x_test = inputs(N, TEST)
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y, RATE, REGULAR)
    times = np.array([[0.0, 1.0], [30.0, 1e5]])
    out = predict_fn(times, x_test, name, True)
    mean_alone = predict_fn(times, x_test, name)
    for i, t in np.ndenumerate(times):
        mean, cov = exact(name, t, x, y, x_test)
        assert np.abs(out.mean[i] - mean).max() < 1e-11
        assert np.abs(mean_alone[i] - mean).max() < 1e-11
        assert relative_max(out.covariance[i], cov) < 1e-11
    limit = predict_fn(None, x_test, name, True)
    mean, cov = exact(name, None, x, y, x_test)
    assert relative_max(limit.mean, mean) < 1e-11
    assert relative_max(limit.covariance, cov) < 1e-10


def test_the_training_set():
    x, y, _ = inputs(N, TEST)
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y, RATE)
    k, theta = (np.asarray(kernel_fn(x, None, g)) for g in ("nngp", "ntk"))
    t = 5.0
    left = {g: scipy.linalg.expm(-RATE * t / y.size * a) for g, a in (("nngp", k), ("ntk", theta))}
    out = predict_fn(t, None, None, True)
    for g in ("nngp", "ntk"):
        assert relative_max(getattr(out, g).mean, y - left[g] @ y) < 1e-11
        assert relative_max(getattr(out, g).covariance, left[g] @ k @ left[g]) < 1e-11
    limit = predict_fn(None, None, "ntk", True)
    np.testing.assert_array_equal(limit.mean, y)
    assert not np.asarray(limit.covariance).any()


def test_results_are_named_as_asked():
    x, y, x_test = inputs(N, TEST)
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y, RATE, REGULAR)
    for t in (None, 2.0):
        both = predict_fn(t, x_test, compute_cov=True)
        assert both._fields == ("nngp", "ntk")
        assert isinstance(both.ntk, Gaussian)
        one = predict_fn(t, x_test, ("ntk",))
        assert one._fields == ("ntk",)
        assert relative_max(one.ntk, both.ntk.mean) < 1e-12
    with pytest.raises(ValueError, match="get must be one of nngp, ntk"):
        predict_fn(None, x_test, "ntkgp")


def test_the_training_kernel_is_computed_once_even_inside_a_jit():
    x, y, x_test = inputs(N, TEST)
    calls = Counter()

    def counted(x1, x2, get, **kwargs):
        if x2 is None and x1.shape[0] == N:
            calls.update((get,) if isinstance(get, str) else get)
        return kernel_fn(x1, x2, get, **kwargs)

    predict_fn = gradient_descent_mse_ensemble(counted, x, y, RATE, REGULAR)
    inside = jax.jit(lambda x: predict_fn(3.0, x, "ntk", True))(jnp.asarray(x_test))
    outside = predict_fn(3.0, jnp.asarray(x_test), ("nngp", "ntk"), True).ntk
    predict_fn(None, x_test)
    assert calls == {"nngp": 1, "ntk": 1}
    assert relative_max(inside.covariance, outside.covariance) < 1e-12


def test_everything_may_be_traced():
    x, y, x_test = inputs(N, TEST)

    def predict(x, y, x_test):
        return gradient_descent_mse_ensemble(kernel_fn, x, y, RATE, REGULAR)(
            None, x_test, "ntk", True
        )

    expected, actual = predict(x, y, x_test), jax.jit(predict)(x, y, x_test)
    assert relative_max(actual.mean, expected.mean) < 1e-11
    assert relative_max(actual.covariance, expected.covariance) < 1e-10


def test_keyword_arguments_meet_between_test_and_training_set():
    x, y, x_test = inputs(N, TEST)
    seen = []

    def recording(x1, x2, get, **kwargs):
        seen.append((x1.shape[0], None if x2 is None else x2.shape[0], kwargs))
        return kernel_fn(x1, x2, get)

    p, q, params = np.zeros(1), np.ones(1), {"w": np.ones(2)}
    made = gradient_descent_mse_ensemble(recording, x, y, pattern=(p, p), flag=3, params=params)
    made(None, x_test, "nngp", True, pattern=(q, q))
    (train, cross, own) = seen
    assert train[:2] == (N, None)
    assert train[2]["pattern"] == (p, p)
    assert cross[:2] == (TEST, N)
    assert cross[2]["pattern"] == (q, p)
    assert own[:2] == (TEST, None)
    assert own[2]["pattern"] == (q, q)
    assert all(call[2]["flag"] == 3 and call[2]["params"] is params for call in seen)
    with pytest.raises(ValueError, match=r"flag must be .* 3, .*; got 4"):
        made(None, x_test, "nngp", flag=4)
    with pytest.raises(ValueError, match="other must be"):
        made(None, x_test, "nngp", other=1)
