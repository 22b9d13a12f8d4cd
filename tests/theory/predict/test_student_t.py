"""Scale mixtures against SciPy's multivariate t, and their Gaussian limit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.stats import multivariate_normal, multivariate_t

from tests.numerics import relative_max
from tests.theory.predict.problems import joint
from theory.predict import gp_inference, student_t

N, TEST, A, B = 6, 3, 2.3, 1.7


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def problem():
    k = joint(N, TEST)[0]
    return k, k[:N, :N], k[N:, :N], k[N:, N:], np.random.default_rng(3).normal(size=N + TEST)


def test_evidence_and_predictions_are_one_multivariate_t():
    k, dd, td, tt, f = problem()
    out = student_t(dd, td, tt, f[:N], a=A, b=B)
    scaled = B / A * k
    prior = multivariate_t(shape=scaled[:N, :N], df=2 * A)
    assert float(out.log_marginal) == pytest.approx(prior.logpdf(f[:N]), rel=1e-12)
    # log p(f_*, y) - log p(y) is the predictive log density, at any f_*.
    both = multivariate_t(shape=scaled, df=2 * A)
    scale = np.asarray(out.scale)
    for point in (f[N:], f[N:] + 3):
        predictive = multivariate_t(np.asarray(out.mean), scale, df=float(out.df)).logpdf(point)
        expected = both.logpdf(np.r_[f[:N], point]) - prior.logpdf(f[:N])
        assert predictive == pytest.approx(expected, rel=1e-10)
    marginal = student_t(dd, td, np.diag(tt), f[:N], a=A, b=B).scale
    assert relative_max(marginal, np.diag(scale)) < 1e-12


def test_outputs_share_one_scale():
    _, dd, td, tt, _ = problem()
    y = np.random.default_rng(4).normal(size=(N, 2))
    out = student_t(dd, td, tt, y, a=A, b=B)
    stacked = multivariate_t(shape=B / A * np.kron(np.eye(2), dd), df=2 * A)
    assert float(out.log_marginal) == pytest.approx(stacked.logpdf(y.T.ravel()), rel=1e-12)
    assert float(out.df) == pytest.approx(2 * A + 2 * N)
    assert out.mean.shape == (TEST, 2)
    joined = student_t(
        np.kron(np.eye(2), dd),
        np.kron(np.eye(2), td),
        np.kron(np.eye(2), tt),
        y.T.ravel(),
        a=A,
        b=B,
    )
    assert relative_max(out.mean.T.ravel(), joined.mean) < 1e-11
    assert relative_max(out.scale, joined.scale[:TEST, :TEST]) < 1e-11


def test_a_certain_scale_is_the_gaussian_process():
    _, dd, td, tt, f = problem()
    y = f[:N]
    out = student_t(dd, td, tt, y, a=1e9, b=1e9)
    gaussian = gp_inference(dd, y[:, None])("nngp", td, tt)
    assert relative_max(out.mean, gaussian.mean[:, 0]) < 1e-11
    assert relative_max(out.scale, gaussian.covariance) < 1e-7
    expected = multivariate_normal(cov=dd).logpdf(y)
    assert float(out.log_marginal) == pytest.approx(expected, rel=1e-6)


def test_gradients_of_the_evidence():
    _, dd, td, tt, f = problem()
    d = np.random.default_rng(5).normal(size=(N, N))
    d = d + d.T

    @jax.jit
    def evidence(step, a, b):
        return student_t(jnp.asarray(dd) + step * d, td, tt, f[:N], a=a, b=b).log_marginal

    at = (0.0, A, B)
    gradient = jax.grad(evidence, (0, 1, 2))(*at)
    for i, slope in enumerate(gradient):
        up, down = (tuple(v + s * 1e-5 * (j == i) for j, v in enumerate(at)) for s in (1, -1))
        assert float(slope) == pytest.approx(
            float(evidence(*up) - evidence(*down)) / 2e-5, rel=1e-6
        )


def test_a_singular_kernel_warns_and_stays_finite():
    x = np.ones((4, 4))
    with pytest.warns(scipy.linalg.LinAlgWarning, match=r"K_train \(4 x 4.*raised"):
        out = student_t(x, x[:2], x[:2, :2], np.ones(4), a=A, b=B)
    assert np.isfinite(out.log_marginal)
    np.testing.assert_allclose(out.mean, 1.0, rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": 0.0}, "a must be positive, got 0.0"),
        ({"b": -1.0}, "b must be positive, got -1.0"),
        ({"y": np.ones((N, 1, 1))}, "y must have shape"),
        ({"K_train": np.eye(N + 1)}, r"K_train must have shape \(6, 6\)"),
        ({"K_test": np.eye(TEST + 1)}, r"K_test must have shape \(3, 3\) or \(3,\)"),
        ({"K_train": np.full((N, N), np.nan)}, "K_train must be finite"),
    ],
)
def test_errors_name_the_argument(change, message):
    _, dd, td, tt, f = problem()
    given = {"K_train": dd, "K_cross": td, "K_test": tt, "y": f[:N], "a": A, "b": B} | change
    with pytest.raises(ValueError, match=message):
        student_t(**given)
