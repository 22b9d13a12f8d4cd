"""The optimum of a full deep kernel machine: closed forms, the NNGP, predictions, failures."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from tests.numerics import relative_l2
from tests.theory.dkm import oracle
from theory import stax
from theory.dkm.failure import Diverged, condition_number
from theory.dkm.kernels import matrix_kernel
from theory.dkm.objective import machine_of, objective
from theory.dkm.optimise import fit_grams
from theory.dkm.parametrise import count, pack, unpack
from theory.dkm.posterior import posterior
from theory.predict import gp_inference

TOY = {"kernel": "squared_exponential", "noise_variance": 0.1}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def numpy_objective(G0, grams, y, depth, nu):
    kernels = [oracle.squared_exponential] * (depth + 1)
    return oracle.objective(G0, grams, y, kernels, nu, 0.1, 1e-6)


def test_linear_kernels_interpolate():
    """G_l = G_0 (G_0^-1 G_{L+1})^(l / (L+1)), to rounding."""
    G0, last, nu = oracle.wishart(1), oracle.wishart(2, scale=2.0), 7
    Y = np.zeros((6, nu))
    Y[:, :6] = np.sqrt(nu) * np.linalg.cholesky(last)
    out = fit_grams(G0, Y, depth=3, kernel="linear", nu=float(nu), noise_variance=0.0, jitter=0.0)
    assert out.converged
    for layer, G in enumerate(out.grams, start=1):
        assert relative_l2(G, oracle.interpolated(G0, last, layer / 4)) < 1e-12


def test_the_toy_of_the_paper():
    """Published numbers, whose targets' variance 0.1 has no jitter on top."""
    G0, y = oracle.toy()
    given = {"kernel": "squared_exponential", "noise_variance": 0.1 - 1e-6, "depth": 1}
    out = fit_grams(G0, y, nu=1.0, **given)
    nngp = fit_grams(G0, y, nu=np.inf, **given)
    assert float(out.objective.value) == pytest.approx(-5.54315753, abs=5e-9)
    assert float(nngp.objective.value) == pytest.approx(-6.670768, abs=5e-7)
    K = np.asarray(nngp.grams[0])
    assert np.linalg.norm(out.grams[0] - K) / np.linalg.norm(K) == pytest.approx(0.318, abs=5e-4)
    assert out.converged
    assert out.gradient_norm < 1e-12
    assert relative_l2(out.grams[0], oracle.TOY_GRAM) < 1e-5


def test_the_objective_of_a_fit_is_that_of_its_gram_matrices():
    G0, y = oracle.toy()
    out = fit_grams(G0, y, depth=2, nu=np.array([0.3, 2.0]), **TOY)
    again = objective(G0, out.grams, y, nu=np.array([0.3, 2.0]), **TOY)
    grams = [np.asarray(G) for G in out.grams]
    expected = numpy_objective(G0, grams, y, 2, np.array([0.3, 2.0]))
    for part in (out.objective, again):
        assert relative_l2(part.value, expected[0]) < 1e-10
        assert relative_l2(part.kls, expected[2]) < 1e-9
    matrices = (G0, *grams)
    for i, G in enumerate(matrices):
        K = oracle.squared_exponential(G) + (1e-6 + 0.1 * (i == 2)) * np.eye(6)
        assert float(out.condition_numbers[i]) == pytest.approx(np.linalg.cond(K), rel=1e-8)


def test_random_starts_reach_one_optimum():
    G0, y = oracle.toy()
    expected = fit_grams(G0, y, depth=2, nu=1.0, **TOY)
    for seed in range(5):
        start = [oracle.wishart(10 * seed + layer, scale=2.0**seed / 4) for layer in range(2)]
        out = fit_grams(G0, y, depth=2, nu=1.0, start=start, **TOY)
        assert out.converged
        assert relative_l2(out.grams[0], expected.grams[0]) < 1e-8
        assert relative_l2(out.grams[1], expected.grams[1]) < 1e-8


def test_nearby_gram_matrices_are_worse():
    G0, y = oracle.toy()
    out = fit_grams(G0, y, depth=2, nu=1.0, **TOY)
    best = float(out.objective.value)
    rng = np.random.default_rng(0)
    for _ in range(10):
        moved = []
        for G in out.grams:
            E = np.eye(6) + 0.01 * rng.standard_normal((6, 6))
            moved.append(E @ np.asarray(G) @ E.T)
        assert numpy_objective(G0, moved, y, 2, 1.0)[0] < best


def nngp():
    """(G, K, y): of nine inputs, the network's K by theory.stax; targets of the first six."""
    x = np.random.default_rng(0).standard_normal((9, 2))
    network = stax.serial(stax.Dense(1), *[stax.Rbf(0.5), stax.Dense(1)] * 3)
    y = np.sin(x[:6, 0]) + x[:6, 1]
    return x @ x.T / 2, np.asarray(network.kernel_fn(x, None, "nngp")), y


@pytest.mark.parametrize(("nu", "bound"), [(1e9, 1e-6), (np.inf, 1e-8)])
def test_a_dear_representation_is_the_nngp(nu, bound):
    """Gram matrices, evidence and predictions of one network, computed by theory.stax."""
    G, K, y = nngp()
    given = {"kernel": "squared_exponential", "noise_variance": 0.1, "jitter": 0.0}
    out = fit_grams(G[:6, :6], y, depth=2, nu=nu, **given)
    hidden = oracle.squared_exponential(oracle.squared_exponential(G[:6, :6]))
    assert relative_l2(out.grams[1], hidden) < bound
    A = K[:6, :6] + 0.1 * np.eye(6)
    expected = oracle.objective(A, (), y, [oracle.linear], 0.0, 0.0, 0.0)[0]
    assert float(out.objective.value) == pytest.approx(expected, rel=bound)
    found = posterior(G[:6, :6], G[6:, :6], G[6:, 6:], out.grams, y, **given)
    gaussian = gp_inference(K[:6, :6], y[:, None], diag_reg=0.1, diag_reg_absolute_scale=True)(
        "nngp", K[6:, :6], K[6:, 6:]
    )
    assert relative_l2(found.mean, gaussian.mean[:, 0]) < bound
    assert relative_l2(found.covariance, gaussian.covariance) < bound


@pytest.mark.parametrize("columns", [None, 2])
def test_predictions_are_those_of_the_formulas(columns):
    G = oracle.wishart(4, 9)
    Y = np.random.default_rng(1).standard_normal(6 if columns is None else (6, columns))
    grams = [oracle.wishart(5), oracle.wishart(6)]
    given = {"kernel": "relu", "noise_variance": 0.1, "jitter": 1e-3}
    parts = G[:6, :6], G[6:, :6], G[6:, 6:]
    out = posterior(*parts, grams, Y, **given)
    mean, covariance = oracle.posterior(G, grams, Y, [oracle.relu] * 3, 0.1, 1e-3, 6)
    assert relative_l2(out.mean, mean) < 1e-10
    assert relative_l2(out.covariance, covariance) < 1e-10
    jitted = jax.jit(lambda *args: posterior(*args, noisy=True, **given))
    noisy = jitted(*parts, grams, Y)
    assert relative_l2(noisy.covariance, covariance + 0.1 * np.eye(3)) < 1e-10
    assert relative_l2(noisy.mean, mean) < 1e-10


def test_a_singular_prior_warns_and_predicts():
    """One training input twice, without jitter."""
    x = np.array([[0.3, 1.0], [0.3, 1.0], [-1.0, 0.5], [0.7, 0.7]])
    G = x @ x.T / 2
    K = oracle.squared_exponential(G[:3, :3])
    y = np.array([1.0, 1.0, -1.0])
    with pytest.warns(scipy.linalg.LinAlgWarning, match="K of layer 1 .*singular"):
        out = posterior(
            G[:3, :3], G[3:, :3], G[3:, 3:], [K], y,
            kernel="squared_exponential", noise_variance=0.1, jitter=0.0,
        )  # fmt: skip
    joint = oracle.squared_exponential(oracle.squared_exponential(G))
    expected = joint[3:, :3] @ np.linalg.solve(joint[:3, :3] + 0.1 * np.eye(3), y)
    assert relative_l2(out.mean, expected) < 1e-8


def test_coordinates_and_back():
    G0, y = oracle.toy()
    machine = machine_of(G0, y, 2, nu=np.array([3.0, 0.5]), jitter=1e-6, **TOY)
    learned = (True, True)
    grams = tuple(jnp.asarray(oracle.wishart(s)) for s in (3, 4))
    flat = jax.jit(pack, static_argnums=2)(machine, grams, learned)
    assert flat.shape == (count(machine, learned),) == (42,)
    back, found = jax.jit(unpack, static_argnums=2)(machine, flat, learned)
    for G, expected in zip(back, grams, strict=True):
        assert relative_l2(G, expected) < 1e-10
    expected = numpy_objective(G0, [np.asarray(G) for G in grams], y, 2, np.array([3.0, 0.5]))
    assert relative_l2(found.value, expected[0]) < 1e-10
    assert relative_l2(found.kls, expected[2]) < 1e-10
    zero = unpack(machine, jnp.zeros(42), learned)[1].kls
    assert float(jnp.abs(zero).max()) == 0.0


def test_a_layer_of_infinite_price_after_a_free_one():
    G0, y = oracle.toy()
    prices = np.array([1.0, np.inf])
    out = fit_grams(G0, y, depth=2, nu=prices, **TOY)
    first, second = (np.asarray(G) for G in out.grams)
    K = oracle.squared_exponential(first) + 1e-6 * np.eye(6)
    assert relative_l2(second, K) < 1e-12
    assert float(out.objective.kls[1]) == 0.0
    assert float(out.objective.kls[0]) > 1e-3
    again = objective(G0, out.grams, y, nu=prices, **TOY)
    assert relative_l2(again.value, out.objective.value) < 1e-9


def test_jit_and_vmap():
    """The last of the three has no Gram matrix to start from."""
    G0, y = oracle.toy()
    expected = fit_grams(G0, y, depth=1, nu=1.0, **TOY)

    @jax.jit
    @jax.vmap
    def many(G0, nu):
        return fit_grams(G0, y, depth=1, nu=nu, **TOY)

    out = many(jnp.stack([G0, G0, -G0]), jnp.array([1.0, 10.0, 1.0]))
    assert relative_l2(out.grams[0][0], expected.grams[0]) < 1e-9
    assert out.converged.tolist() == [True, True, False]
    assert out.objective.kls[1, 0] < out.objective.kls[0, 0]
    assert np.isnan(out.objective.value[2])


def test_float32():
    G0, y = oracle.toy()
    expected = fit_grams(G0, y, depth=1, nu=1.0, **TOY)
    out = fit_grams(G0.astype("float32"), y.astype("float32"), depth=1, nu=1.0, **TOY)
    assert out.grams[0].dtype == out.objective.value.dtype == jnp.float32
    assert out.converged
    assert relative_l2(out.grams[0], expected.grams[0]) < 1e-3
    assert float(out.objective.value) == pytest.approx(float(expected.objective.value), rel=1e-5)


def test_places_as_rows():
    """A convolution over 3 places of three examples, then one that pools them."""
    conv = stax.serial(stax.Conv(1, (3,), (1,), "SAME"), stax.Relu())
    given = matrix_kernel(conv, (3,)), matrix_kernel(stax.GlobalAvgPool(), (3,))
    y = np.array([1.0, -1.0, 0.5])
    G = oracle.wishart(0, 15)
    settings = {"kernel": given, "noise_variance": 0.1, "jitter": 1e-3}
    out = fit_grams(G[:9, :9], y, depth=1, nu=0.01, **settings)
    assert out.converged
    assert out.grams[0].shape == (9, 9)
    nngp = [given[0](G[:9, :9]) + 1e-3 * np.eye(9)]
    assert out.objective.value > objective(G[:9, :9], nngp, y, nu=0.01, **settings).value
    found = posterior(G[:9, :9], G[9:, :9], G[9:, 9:], out.grams, y, **settings)
    assert found.mean.shape == (2,)
    assert np.linalg.eigvalsh(found.covariance).min() > 0


def test_what_float32_cannot_solve_is_reported_and_goes_on_from_there():
    """Cheap representations and no noise: Gram matrices near singular."""
    G0, y = oracle.toy()
    given = {"depth": 1, "kernel": "squared_exponential", "nu": 1e-4}
    with pytest.raises(Diverged) as raised:
        fit_grams(
            G0.astype("float32"), y.astype("float32"), noise_variance=0.0, jitter=0.0, **given
        )
    error = raised.value
    assert error.layer in ("K of the outputs", "G of layer 1")
    assert error.condition_number > 1e5
    assert error.step > 10
    for said in (error.layer, f"step {error.step}", "condition number", "jitter", "float64", "skr"):
        assert said in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.layer, again.step) == (str(error), error.layer, error.step)
    assert all(np.isfinite(G).all() for G in error.state)
    out = fit_grams(G0, y, start=error.state, noise_variance=0.1, **given)
    assert out.converged
    dear = fit_grams(G0, y, noise_variance=0.1, **(given | {"nu": 1.0}))
    assert out.objective.value > dear.objective.value


def test_a_prior_that_is_singular_at_the_start():
    """One input twice in float32, without jitter: nothing can be started."""
    x = np.random.default_rng(0).standard_normal((6, 2)).astype("float32")
    x[1] = x[0]
    y = np.ones(6, "float32")
    given = {"depth": 1, "nu": 1.0, "kernel": "squared_exponential", "noise_variance": 0.1}
    with pytest.raises(Diverged, match="K of layer 1 diverged at step 0") as raised:
        fit_grams(x @ x.T / 2, y, jitter=0.0, **given)
    assert raised.value.state is None
    assert raised.value.condition_number > 1e6
    assert fit_grams(x @ x.T / 2, y, jitter=1e-3, **given).converged


def test_too_few_steps_are_not_called_converged():
    G0, y = oracle.toy()
    out = fit_grams(G0, y, depth=1, nu=1.0, steps=1, tolerance=1e-300, **TOY)
    assert not bool(out.converged)
    assert int(out.steps) > 0


def test_condition_numbers():
    assert condition_number(np.diag([1.0, 4.0])) == 4.0
    assert condition_number(np.diag([1.0, -4.0])) == np.inf
    assert np.isnan(condition_number(np.full((2, 2), np.nan)))
    with pytest.raises(ValueError, match=r"matrix must be square and not empty, got shape \(2,\)"):
        condition_number(np.ones(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": -1}, "depth must be a whole number, at least 0, got -1"),
        ({"depth": 1.5}, "depth must be a whole number, at least 0, got 1.5"),
        ({"steps": -1}, "steps must be a whole number, at least 0, got -1"),
        ({"start": [np.eye(6)]}, "start must be 2 matrices, one a layer, got 1"),
        ({"start": [np.eye(5)] * 2}, r"start\[0\] must have shape \(6, 6\), got \(5, 5\)"),
        ({"Y": np.ones(5)}, r"Y must have shape \(6,\)"),
        ({"nu": -1.0}, "nu must be at least 0"),
    ],
)
def test_errors_of_a_fit_name_the_argument(change, message):
    G0, y = oracle.toy()
    with pytest.raises(ValueError, match=message):
        fit_grams(**({"G0": G0, "Y": y, "depth": 2, "nu": 1.0} | TOY | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"G0_cross": np.ones((3, 5))}, r"G0_cross must have shape \(T, 6\), got \(3, 5\)"),
        ({"G0_test": np.ones((2, 2))}, r"G0_test must have shape \(3, 3\), got \(2, 2\)"),
        ({"grams": [np.eye(5)]}, r"grams\[0\] must have shape \(6, 6\), got \(5, 5\)"),
    ],
)
def test_errors_of_a_prediction_name_the_argument(change, message):
    G0, y = oracle.toy()
    given = {"G0": G0, "G0_cross": np.ones((3, 6)), "G0_test": np.eye(3), "grams": [np.eye(6)]}
    with pytest.raises(ValueError, match=message):
        posterior(**(given | {"Y": y} | TOY | change))
