"""Posteriors against their formulas in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import relative_max
from tests.theory.predict.problems import Kernels, joint, paired
from theory.predict import Gaussian, gp_inference

N, TEST, REGULAR = 6, 4, 0.2


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def blocks():
    both = joint(N, TEST)
    dd, td, tt = (Kernels(*(k[a, b] for k in both)) for a, b in (
        (slice(N), slice(N)), (slice(N, None), slice(N)), (slice(N, None), slice(N, None))
    ))  # fmt: skip
    return dd, td, tt, np.random.default_rng(1).normal(size=(N, 3))


def expected(dd, td, tt, y):
    def regular(k):
        return k + REGULAR * np.trace(k) / N * np.eye(N)

    out = {}
    for name, k in (("nngp", "nngp"), ("ntkgp", "ntk")):
        a, cross = regular(getattr(dd, k)), getattr(td, k)
        cov = getattr(tt, k) - cross @ np.linalg.solve(a, cross.T)
        out[name] = Gaussian(cross @ np.linalg.solve(a, y), cov)
    response = np.linalg.solve(regular(dd.ntk), td.ntk.T).T
    mixed = response @ td.nngp.T
    cov = tt.nngp + response @ dd.nngp @ response.T - mixed - mixed.T
    out["ntk"] = Gaussian(response @ y, cov)
    return out


@pytest.mark.parametrize("get", [None, "nngp", "ntk", "NTKGP", ("ntk", "ntkgp"), ("ntkgp", "nngp")])
def test_means_and_covariances(get):
    dd, td, tt, y = blocks()
    exact = expected(dd, td, tt, y)
    predict_fn = gp_inference(dd, y, REGULAR)
    names = ("nngp", "ntk") if get is None else (get,) if isinstance(get, str) else get
    for k_tt in (None, tt):
        out = predict_fn(get, td, k_tt)
        if not isinstance(get, str):
            assert out._fields == names
        else:
            out = {get: out}
        for name in names:
            value = out[name] if isinstance(out, dict) else getattr(out, name)
            mean, cov = exact[name.lower()]
            if k_tt is None:
                assert relative_max(value, mean) < 1e-12
            else:
                assert isinstance(value, Gaussian)
                assert relative_max(value.mean, mean) < 1e-12
                assert relative_max(value.covariance, cov) < 1e-11


@pytest.mark.parametrize("get", ["nngp", "ntk", "ntkgp"])
def test_traced_kernels_give_the_same(get):
    dd, td, tt, y = blocks()
    exact = expected(dd, td, tt, y)[get]
    out = jax.jit(lambda dd, td, tt: gp_inference(dd, y, REGULAR)(get, td, tt))(
        *(jax.tree.map(jnp.asarray, k) for k in (dd, td, tt))
    )
    assert relative_max(out.mean, exact.mean) < 1e-12
    assert relative_max(out.covariance, exact.covariance) < 1e-11


def test_the_training_set_has_no_variance_left():
    dd, _, _, y = blocks()
    out = gp_inference(dd, y)("ntk", None, True)
    np.testing.assert_array_equal(out.mean, y)
    np.testing.assert_array_equal(out.covariance, np.zeros((N, N)))


def test_outputs_with_several_axes_in_pairs():
    dd, td, tt, _ = blocks()
    y = np.random.default_rng(2).normal(size=(3, 2, 5))
    rows = [(3, 2), (2, 2)]
    k_dd, k_td, k_tt = (
        Kernels(*(paired(part, *pair) for part in k))
        for k, pair in (
            (dd, (rows[0], rows[0])),
            (td, (rows[1], rows[0])),
            (tt, (rows[1], rows[1])),
        )
    )
    out = gp_inference(k_dd, y, REGULAR)(("nngp", "ntk"), k_td, k_tt)
    flat = expected(dd, td, tt, y.reshape(6, 5))
    for name in ("nngp", "ntk"):
        value = getattr(out, name)
        assert relative_max(value.mean, flat[name].mean.reshape(2, 2, 5)) < 1e-12
        assert relative_max(value.covariance, paired(flat[name].covariance, *rows[1:] * 2)) < 1e-11


def test_an_array_serves_as_either_kernel():
    dd, td, tt, y = blocks()
    out = gp_inference(dd.ntk, y, REGULAR)("ntkgp", td.ntk, tt.ntk)
    assert relative_max(out.covariance, expected(dd, td, tt, y)["ntkgp"].covariance) < 1e-11
    with pytest.raises(ValueError, match='both nngp and ntk for the covariance of "ntk", got'):
        gp_inference(dd.ntk, y)("ntk", td.ntk, tt.ntk)


@pytest.mark.parametrize(
    ("get", "message"),
    [
        ("cov1", "get must be one of nngp, ntk, ntkgp"),
        (("ntk", "ntk"), "get must be"),
        ((), "get must be"),
    ],
)
def test_names_are_checked(get, message):
    dd, td, _, y = blocks()
    with pytest.raises(ValueError, match=message):
        gp_inference(dd, y)(get, td)


def test_shapes_are_checked():
    dd, td, _, y = blocks()
    with pytest.raises(ValueError, match=r"k_test_test must have shape \(4, 4\)"):
        gp_inference(dd, y)("nngp", td, td)
    with pytest.raises(ValueError, match="k_train_train must have 'ntk'"):
        gp_inference(Kernels(dd.nngp, None), y)("ntk", td)
