"""The objective of a full deep kernel machine against NumPy's own, and its derivatives."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import assert_accurate, relative_l2
from tests.theory.dkm import oracle
from theory import stax
from theory.dkm.failure import Diverged
from theory.dkm.kernels import matrix_kernel
from theory.dkm.objective import objective

NU = {1: 0.7, 2: np.array([0.3, 2.0]), 3: np.array([0.0, 1.5, 30.0])}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def problem(depth: int, columns: int | None = 2):
    grams = [oracle.wishart(10 + layer, scale=1 + layer / 3) for layer in range(depth)]
    Y = np.random.default_rng(3).standard_normal((6,) if columns is None else (6, columns))
    return oracle.wishart(1), grams, Y


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("kernel", sorted(oracle.KERNELS))
def test_values_are_those_of_the_formulas(kernel, depth):
    G0, grams, Y = problem(depth, None if depth == 1 else 3)
    out = objective(G0, grams, Y, kernel=kernel, nu=NU[depth], noise_variance=0.2, jitter=1e-3)
    kernels = [oracle.KERNELS[kernel]] * (depth + 1)
    value, fit, kls = oracle.objective(G0, grams, Y, kernels, NU[depth], 0.2, 1e-3)
    assert relative_l2(out.value, value) < 1e-10
    assert relative_l2(out.log_likelihood, fit) < 1e-10
    assert relative_l2(out.kls, kls) < 1e-10
    assert out.kls.shape == (depth,)


def test_a_kernel_for_each_layer_and_the_outputs():
    G0, grams, Y = problem(2)
    given = ("relu", stax.Rbf(0.5), lambda G: 2 * G)
    out = objective(G0, grams, Y, kernel=given, nu=1.0, noise_variance=0.0)
    kernels = [oracle.relu, oracle.squared_exponential, lambda G: 2 * G]
    expected = oracle.objective(G0, grams, Y, kernels, 1.0, 0.0, 1e-6)
    assert relative_l2(out.value, expected[0]) < 1e-10
    shallow = objective(G0, (), Y, kernel="relu", nu=1.0, noise_variance=0.1)
    expected = oracle.objective(G0, (), Y, [oracle.relu], 1.0, 0.1, 1e-6)
    assert relative_l2(shallow.value, expected[0]) < 1e-10
    assert shallow.kls.shape == (0,)


def test_layers_of_places_change_the_size():
    """Two examples of 3 x 3 places: a convolution, then one that is pooled to two numbers."""
    x = np.random.default_rng(0).standard_normal((2, 3, 3, 36))
    G0 = np.einsum("nhwc,mijc->nhwmij", x, x).reshape(18, 18) / 36
    conv = stax.serial(stax.Conv(1, (3, 3), (1, 1), "SAME", 2**0.5), stax.Relu())
    pool = stax.serial(stax.Conv(1, (3, 3), (1, 1), "SAME", 1.0), stax.Relu(), stax.GlobalAvgPool())
    given = tuple(matrix_kernel(layer, (3, 3)) for layer in (conv, pool))
    K = np.asarray(given[0](G0)) + 1e-6 * np.eye(18)
    y = np.array([0.3, -1.0])
    out = objective(G0, [K], y, kernel=given, nu=np.inf, noise_variance=0.1)
    limit = np.asarray(stax.serial(conv, pool).kernel_fn(x, None, "nngp"))
    assert limit.shape == (2, 2)
    expected = oracle.objective(limit, (), y, [oracle.linear], 0.0, 0.1, 0.0)[0]
    assert float(out.value) == pytest.approx(expected, rel=1e-5)  # jitter is in `out` alone
    G = oracle.wishart(7, 18)
    moved = objective(G0, [G], y, kernel=given, nu=0.5, noise_variance=0.1, jitter=1e-3)
    kernels = [lambda G: np.asarray(given[0](G)), lambda G: np.asarray(given[1](G))]
    expected = oracle.objective(G0, [G], y, kernels, 0.5, 0.1, 1e-3)
    assert relative_l2(moved.value, expected[0]) < 1e-10
    with pytest.raises(ValueError, match=r"grams\[0\] must have shape \(18, 18\), got \(2, 2\)"):
        objective(G0, [np.eye(2)], y, kernel=given, nu=0.5, noise_variance=0.1)


@partial(jax.jit, static_argnames="kernel")
def value(G0, grams, Y, nu, noise_variance, jitter, kernel="relu"):
    return objective(
        G0, grams, Y, kernel=kernel, nu=nu, noise_variance=noise_variance, jitter=jitter
    ).value


def test_gradients_are_finite_differences():
    G0, grams, Y = problem(2)
    at = (G0, tuple(grams), Y, np.array([0.3, 2.0]), 0.2, 1e-2)
    gradient = jax.grad(value, range(6))(*at)
    rng = np.random.default_rng(5)
    for i, slope in enumerate(gradient):

        def moved(x, sign, seed):
            step = np.random.default_rng(seed).standard_normal(np.shape(x))
            step = step + step.T if np.ndim(x) == 2 and np.shape(x)[0] == np.shape(x)[1] else step
            return np.asarray(x) + sign * 1e-5 * step, step

        seed = int(rng.integers(1000))
        ends, along = [], 0.0
        for sign in (1, -1):
            pairs = [moved(leaf, sign, seed) for leaf in jax.tree.leaves(at[i])]
            new = jax.tree.unflatten(jax.tree.structure(at[i]), [pair[0] for pair in pairs])
            ends.append(float(value(*at[:i], new, *at[i + 1 :])))
            along = sum(
                float(np.vdot(s, pair[1]))
                for s, pair in zip(jax.tree.leaves(slope), pairs, strict=True)
            )
        assert along == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_jit_and_vmap_give_the_same():
    G0, grams, Y = problem(2)
    known = objective(
        G0, grams, Y, kernel="relu", nu=np.array([0.3, 2.0]), noise_variance=0.2, jitter=1e-2
    ).value
    assert relative_l2(value(G0, tuple(grams), Y, np.array([0.3, 2.0]), 0.2, 1e-2), known) < 1e-12
    noises = jnp.array([0.2, 0.5])
    many = jax.vmap(lambda s: value(G0, tuple(grams), Y, np.array([0.3, 2.0]), s, 1e-2))(noises)
    assert relative_l2(many[0], known) < 1e-12
    assert many.shape == (2,)


def test_float32():
    """Against float64 on the same rounded numbers."""
    G0, grams, Y = problem(2)
    G0, Y, grams = G0.astype("float32"), Y.astype("float32"), [G.astype("float32") for G in grams]
    out = objective(G0, grams, Y, kernel="relu", nu=1.0, noise_variance=0.25, jitter=2.0**-6)
    assert {part.dtype for part in out} == {jnp.dtype("float32")}
    expected = oracle.objective(
        G0.astype(float), [G.astype(float) for G in grams], Y.astype(float),
        [oracle.relu] * 3, 1.0, 0.25, 2.0**-6,
    )  # fmt: skip
    assert_accurate(out.value, expected[0])


def test_an_infinite_price_is_nothing_at_the_nngp_and_infinite_elsewhere():
    G0, y = oracle.toy()
    K1 = oracle.squared_exponential(G0) + 1e-6 * np.eye(6)
    K2 = oracle.squared_exponential(K1) + 1e-6 * np.eye(6)
    given = {"kernel": "squared_exponential", "noise_variance": 0.1}
    out = objective(G0, [K1, K2], y, nu=np.inf, **given)
    assert float(out.value) == pytest.approx(float(out.log_likelihood), rel=1e-12)
    moved = objective(G0, [K1, 1.01 * K2], y, nu=np.array([np.inf, 1.0]), **given)
    assert np.isfinite(moved.value)
    assert moved.value < moved.log_likelihood
    assert objective(G0, [K1, 1.01 * K2], y, nu=np.inf, **given).value == -np.inf


def test_under_jit_what_is_not_definite_gives_nan():
    G0, grams, Y = problem(1)
    bad = (grams[0] - 5 * np.eye(6),)
    assert np.isnan(value(G0, bad, Y, 1.0, 0.2, 1e-3))
    with pytest.raises(Diverged, match=r"G of layer 1.*not positive.*number inf") as e:
        objective(G0, bad, Y, kernel="relu", nu=1.0, noise_variance=0.2)
    assert (e.value.layer, e.value.condition_number, e.value.step) == ("G of layer 1", np.inf, 0)


def _bad(matrix):
    matrix = matrix.copy()
    matrix[0, 1] = np.nan
    return matrix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"G0": np.ones((6, 5))}, r"G0 must have shape \(P, P\), got \(6, 5\)"),
        ({"G0": _bad(np.eye(6))}, "G0 must be finite, got 1 entries"),
        ({"grams": np.eye(6)}, r"grams must be a sequence of matrices, got an array \(6, 6\)"),
        ({"grams": [np.eye(5)] * 2}, r"grams\[0\] must have shape \(6, 6\), got \(5, 5\)"),
        ({"grams": [np.eye(6), _bad(np.eye(6))]}, r"grams\[1\] must be finite"),
        ({"Y": np.ones(5)}, r"Y must have shape \(6,\) or \(6, C\), got \(5,\)"),
        ({"Y": np.full(6, np.inf)}, "Y must be finite, got 6 entries"),
        ({"nu": -1.0}, "nu must be at least 0, inf included, got -1.0"),
        ({"nu": np.nan}, "nu must be at least 0, inf included, got nan"),
        ({"nu": np.ones(3)}, r"nu must be a number or have shape \(2,\), got shape \(3,\)"),
        ({"noise_variance": -0.1}, "noise_variance must be finite and at least 0, got -0.1"),
        ({"noise_variance": np.ones(2)}, r"noise_variance must be a number, got shape \(2,\)"),
        ({"jitter": np.inf}, "jitter must be finite and at least 0, got inf"),
        ({"kernel": "cosine"}, "kernel must be one of .*'relu'.*got 'cosine'"),
        ({"kernel": ["relu"] * 2}, r"kernel must be one kernel or 3 of them .*got 2"),
        ({"kernel": lambda G: G[0]}, r"kernel must give square matrices, got one of shape \(6,\)"),
    ],
)
def test_errors_name_the_argument(change, message):
    G0, grams, Y = problem(2)
    given = {"G0": G0, "grams": grams, "Y": Y, "kernel": "relu", "nu": 1.0, "noise_variance": 0.1}
    with pytest.raises(ValueError, match=message):
        objective(**(given | change))


def test_a_kernel_of_another_type():
    G0, grams, Y = problem(2)
    with pytest.raises(TypeError, match="kernel must be a name"):
        objective(G0, grams, Y, kernel=3.0, nu=1.0, noise_variance=0.1)
