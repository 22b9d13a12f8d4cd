"""Gradient flow on squared error against the matrix exponential."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from tests.numerics import relative_max
from tests.theory.predict.problems import joint, paired
from theory.predict import gradient_descent_mse, train_kernel

Y_SHAPE, TEST = (4, 3, 2), 5


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def problem(trace_axes, seed=0):
    """Kernels, targets, outputs at 0, and maps to matrices and back, for one choice of axes."""
    rng = np.random.default_rng(seed)
    traced = sorted(axis % 3 for axis in trace_axes)
    kept = tuple(s for i, s in enumerate(Y_SHAPE) if i not in traced)
    test_kept = kept if 0 in traced else (TEST, *kept[1:])
    n, m = int(np.prod(kept)), int(np.prod(test_kept))
    _, ntk = joint(n, m)
    test_shape = list(test_kept)
    for axis in traced:
        test_shape.insert(axis, Y_SHAPE[axis])
    y, f0 = rng.normal(size=(2, *Y_SHAPE))
    last = range(-len(traced), 0)

    def flat(value):
        return np.moveaxis(value, traced, last).reshape(n, -1)

    def back(value, sizes):
        return np.moveaxis(value.reshape(*sizes, *(Y_SHAPE[axis] for axis in traced)), last, traced)

    k = paired(ntk[:n, :n], kept, kept), paired(ntk[n:, :n], test_kept, kept)
    matrices = ntk[:n, :n], ntk[n:, :n]
    return (
        k,
        matrices,
        y,
        f0,
        rng.normal(size=test_shape),
        flat,
        lambda v: back(v, kept),
        (lambda v: back(v, test_kept)),
    )


@pytest.mark.parametrize("trace_axes", [(), (-1,), (0, 2)])
def test_all_times_and_axes_follow_the_matrix_exponential(trace_axes):
    k, (a, cross), y, f0, g0, flat, train, test = problem(trace_axes)
    rate, regular = 0.7, 0.1
    predict_fn = gradient_descent_mse(k[0], y, rate, regular, trace_axes=trace_axes)
    a = a + regular * np.trace(a) / len(a) * np.eye(len(a))
    times = np.array([[0.0, 2.0, 9.0], [1.0, 50.0, 3000.0]])
    fx_train, fx_test = predict_fn(times, f0, g0, k[1])
    assert fx_train.shape == (2, 3, *y.shape)
    assert fx_test.shape == (2, 3, *g0.shape)
    for i, t in np.ndenumerate(times):
        left = scipy.linalg.expm(-rate * t / y.size * a) - np.eye(len(a))
        change = left @ flat(f0 - y)
        assert relative_max(fx_train[i], f0 + train(change)) < 1e-11
        assert relative_max(fx_test[i], g0 + test(cross @ np.linalg.solve(a, change))) < 1e-11
    limit_train, limit_test = predict_fn(None, f0, g0, k[1])
    expected = g0 + test(cross @ np.linalg.solve(a, flat(y - f0)))
    assert relative_max(limit_test, expected) < 1e-11
    assert relative_max(limit_train, y) == 0
    assert relative_max(predict_fn(np.inf, f0, g0, k[1])[1], expected) < 1e-11


def test_what_is_asked_for_is_what_comes():
    k, _, y, f0, g0, *_ = problem((-1,))
    predict_fn = gradient_descent_mse(k[0], y)
    for t in (None, 3.0):
        both = predict_fn(t, f0, g0, k[1])
        np.testing.assert_array_equal(predict_fn(t, f0), both[0])
        from_zero = predict_fn(t, None, g0, k[1])
        np.testing.assert_array_equal(from_zero, predict_fn(t, 0.0, g0, k[1])[1])
        assert predict_fn(t, fx_test_0=0.0, k_test_train=k[1])[1].shape == g0.shape


def test_scales_of_the_regulariser():
    _, ntk = joint(6, 2)
    y = np.random.default_rng(1).normal(size=(6, 1))
    mean = np.trace(ntk[:6, :6]) / 6
    relative = gradient_descent_mse(ntk[:6, :6], y, diag_reg=0.3)
    absolute = gradient_descent_mse(
        ntk[:6, :6], y, diag_reg=0.3 * mean, diag_reg_absolute_scale=True
    )
    for t in (None, 4.0):
        args = (t, 0.0, 0.0, ntk[6:, :6])
        assert relative_max(relative(*args)[1], absolute(*args)[1]) < 1e-13


def test_factors_are_computed_once_even_inside_a_jit(monkeypatch):
    calls = []
    for name in ("factorise", "spectrum"):
        original = getattr(train_kernel, name)
        counted = lambda *args, name=name, original=original: calls.append(name) or original(*args)  # noqa: E731
        monkeypatch.setattr(train_kernel, name, counted)
    _, ntk = joint(6, 2)
    y = np.ones((6, 1))
    predict_fn = gradient_descent_mse(jnp.asarray(ntk[:6, :6]), y)
    cross = jnp.asarray(ntk[6:, :6])
    inside = [jax.jit(lambda k, t=t: predict_fn(t, 0.0, 0.0, k)[1])(cross) for t in (None, 1.0)]
    outside = [predict_fn(t, 0.0, 0.0, cross)[1] for t in (None, 1.0)]
    assert sorted(calls) == ["factorise", "spectrum"]
    for a, b in zip(inside, outside, strict=True):
        assert relative_max(a, b) < 1e-13


def test_the_limit_is_differentiable_in_the_kernel():
    _, ntk = joint(5, 2)
    rng = np.random.default_rng(2)
    y, d = rng.normal(size=(5, 2)), rng.normal(size=(5, 5))
    d = d + d.T

    @jax.jit
    def f(k):
        return (gradient_descent_mse(k, y)(None, 0.0, 0.0, ntk[5:, :5])[1] ** 2).sum()

    k = jnp.asarray(ntk[:5, :5])
    slope = float((f(k + 1e-5 * d) - f(k - 1e-5 * d)) / 2e-5)
    assert float(jax.jvp(f, (k,), (d,))[1]) == pytest.approx(slope, rel=1e-6)
    assert float((jax.grad(f)(k) * d).sum()) == pytest.approx(slope, rel=1e-6)


def test_float32_stays_float32():
    _, ntk = joint(6, 2)
    k = jnp.asarray(ntk, jnp.float32)
    y = np.ones((6, 1), int)
    out = gradient_descent_mse(k[:6, :6], y)(np.array([1.0, 2.0]), 0.0, 0.0, k[6:, :6])
    assert {part.dtype for part in out} == {jnp.dtype("float32")}
    exact = gradient_descent_mse(ntk[:6, :6], y)(np.array([1.0, 2.0]), 0.0, 0.0, ntk[6:, :6])
    assert relative_max(out[1], exact[1]) < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": np.eye(5)}, r"k_train_train must have shape \(6, 6\)"),
        ({"k": np.full((6, 6), np.nan)}, "k_train_train must be finite, got 36"),
        ({"cross": np.ones((2, 5))}, r"k_test_train must pair test axes with training axes \(6,\)"),
        ({"cross": None}, "k_test_train must be too, got None"),
        ({"reg": -1.0}, "diag_reg must be at least 0, got -1.0"),
        ({"axes": (2,)}, r"trace_axes must be axes of y_train"),
        ({"f0": None, "g0": None}, "both None"),
    ],
)
def test_errors_name_the_argument(change, message):
    _, ntk = joint(6, 2)
    given = {
        "k": ntk[:6, :6],
        "cross": ntk[6:, :6],
        "reg": 0.0,
        "axes": (-1,),
        "f0": 0.0,
        "g0": 0.0,
    }
    given |= change
    with pytest.raises(ValueError, match=message):
        gradient_descent_mse(given["k"], np.ones((6, 1)), 1.0, given["reg"], False, given["axes"])(
            None, given["f0"], given["g0"], given["cross"]
        )
