"""Compute-optimal tools against closed forms: envelope, IsoFLOP, numeric optimum, shape, noise."""

import numpy as np
import pytest

from tests.theory.scaling.planted import LARGE, chinchilla
from theory import scaling

LAW = scaling.forms["chinchilla"]


def loss(N, D, params=LARGE):
    return LAW.predict(params, {"N": N, "D": D})


def grid_of_budgets(params=LARGE, centred=1.0):
    C = np.repeat(np.geomspace(1e18, 1e21, 5), 7)
    N = scaling.frontier(params, C).N * centred * np.tile(np.geomspace(0.3, 1 / 0.3, 7), 5)
    return {"N": N, "D": C / 6 / N, "loss": loss(N, C / 6 / N, params)}


def test_isoflop_finds_the_lowest_point_of_true_parabolas():
    C = np.repeat([1e18, 1e19, 1e20], 5)
    best = 3e-2 * C**0.5
    t = np.tile(np.linspace(-1, 1.5, 5), 3)
    data = {"N": best * np.exp(t), "D": C / 6 / best / np.exp(t), "loss": 2.5 * np.exp(0.05 * t**2)}
    found = scaling.isoflop(data)
    np.testing.assert_allclose(found.N, 3e-2 * np.array([1e18, 1e19, 1e20]) ** 0.5, rtol=1e-9)
    np.testing.assert_allclose(found.loss, 2.5, rtol=1e-9)
    np.testing.assert_allclose(found.curvature, 0.1, rtol=1e-9)
    np.testing.assert_allclose(6 * found.N * found.D, found.C, rtol=1e-12)
    assert found.N_law.exponent == pytest.approx(0.5)
    assert found.N_law.coefficient == pytest.approx(3e-2, rel=1e-6)
    assert found.N_law(1e22) == pytest.approx(3e9, rel=1e-6)
    assert "local picture" in found.caveat


def test_the_bias_of_isoflop_is_what_it_does_to_a_law_without_noise():
    skewed = {**LARGE, "beta": 0.6, "B": 2085.0 * 1e10**0.234}
    for params, centred in ((LARGE, 1.0), (LARGE, 2.0), (skewed, 2.0)):
        data = grid_of_budgets(params, centred)
        found = scaling.isoflop(data)
        bias = scaling.isoflop_bias(LAW, params, data, found)
        true = scaling.frontier(params, found.C).N
        np.testing.assert_allclose(np.log(found.N / true), bias, atol=1e-6)
        exact = params["beta"] / (params["alpha"] + params["beta"])
        assert found.N_law.exponent == pytest.approx(exact, abs=0.05)
    assert np.max(np.abs(bias)) > 0.01  # unequal exponents and off-centre sizes


def test_isoflop_covers_under_noise():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        data = grid_of_budgets()
        data["loss"] = data["loss"] * np.exp(0.002 * rng.standard_normal(35))
        found = scaling.isoflop(data)
        covered.append(found.N_law.low <= 0.5126 <= found.N_law.high)
    assert 0.85 <= np.mean(covered) <= 1.0


def test_isoflop_says_what_it_leaves_out():
    data = grid_of_budgets()
    one_sided = {"N": [1e7, 2e7, 4e7], "D": [1e10 / n * 1e7 for n in (1, 2, 4)]}
    one_sided["loss"] = [3.0, 2.9, 2.8]
    lone = {"N": [5e8], "D": [1e14], "loss": [2.0]}
    near = {"N": [1e8, 1.1e8, 1.2e8], "D": [1e14, 1e14 / 1.1, 1e14 / 1.2], "loss": [2.2, 2.1, 2.2]}
    both = {k: np.concatenate([data[k], one_sided[k], near[k], lone[k]]) for k in data}
    found = scaling.isoflop(both)
    text = " ".join(found.left_out)
    assert "no minimum between its runs" in text
    assert "1 rows share their budget with fewer than 3 sizes" in text
    assert "the sizes span less than a factor of 2" in text
    assert np.all(found.group[-4:] == -1)
    with pytest.raises(ValueError, match="at least two"):
        scaling.isoflop(one_sided)
    with pytest.raises(ValueError, match=r"span = 0\.5"):
        scaling.isoflop(data, span=0.5)
    with pytest.raises(ValueError, match="least = 2"):
        scaling.isoflop(data, least=2)
    with pytest.raises(ValueError, match="column 'D' is missing"):
        scaling.isoflop({"N": [1.0], "loss": [1.0]})


def test_the_envelope_of_ideal_curves_is_the_frontier():
    N = np.repeat(np.geomspace(1e7, 1e10, 40), 200)
    D = np.tile(np.geomspace(1e8, 3e12, 200), 40)
    run = np.repeat([f"r{i}" for i in range(40)], 200)
    found = scaling.envelope({"N": N, "D": D, "loss": loss(N, D), "run": run})
    inside = (found.N > 2e7) & (found.N < 5e9)
    true = scaling.frontier(LARGE, found.C)
    assert inside.sum() > 20
    np.testing.assert_allclose(np.log(found.N / true.N)[inside], 0, atol=0.12)  # half a grid step
    np.testing.assert_allclose(found.loss[inside], true.loss[inside], rtol=1e-3)
    assert found.N_law.exponent == pytest.approx(0.366 / 0.714, abs=0.02)
    assert found.N_law.low < found.N_law.exponent < found.N_law.high
    with pytest.raises(ValueError, match="'run' is missing"):
        scaling.envelope({"N": N, "D": D, "loss": loss(N, D)})
    alike = {"N": N[:200], "D": D[:200], "loss": loss(N[:200], D[:200]), "run": run[:200]}
    with pytest.raises(ValueError, match="1 runs have a curve"):
        scaling.envelope(alike)


def test_the_numeric_optimum_is_the_closed_form():
    C = np.array([[1e18, 1e21], [1e24, 1e26]])
    best, exact = scaling.optimum((LAW, LARGE), C), scaling.frontier(LARGE, C)
    np.testing.assert_allclose(best.N, exact.N, rtol=1e-5)
    np.testing.assert_allclose(best.loss, exact.loss, rtol=1e-12)
    assert not best.at_end.any()
    flat = scaling.optimum((scaling.forms["m1"], {"b": 1.0, "c": -0.1}), 1e20, x=1.0)
    assert flat.loss == 1.0


def test_the_band_of_the_optimum_is_that_of_the_frontier():
    fit = scaling.fit("chinchilla", chinchilla(40, 0, 0.01, small=True), bootstrap=60)
    C = np.array([1e12, 1e13])
    for side, other in zip(
        scaling.optimum_interval(fit, C), scaling.frontier_interval(fit, C), strict=True
    ):
        np.testing.assert_allclose(np.log(side.N / other.N), 0, atol=0.2)
        np.testing.assert_allclose(side.loss, other.loss, rtol=2e-2)  # other quantiles of 60


def test_with_few_unique_tokens_a_budget_buys_parameters():
    law = scaling.forms["muennighoff"]
    params = {**LARGE, "R_star": 15.4}
    C = np.array([1e21, 1e24])
    plenty, scarce = (scaling.optimum((law, params), C, U=U) for U in (1e15, 1e10))
    np.testing.assert_allclose(plenty.N, scaling.frontier(LARGE, C).N, rtol=1e-4)
    assert np.all(scarce.N >= plenty.N * (1 - 1e-6))
    assert scarce.N[1] > 4 * plenty.N[1]
    assert np.all(scarce.loss >= plenty.loss - 1e-12)
    with pytest.raises(ValueError, match="pass U=VALUE"):
        scaling.optimum((law, params), 1e21)


def test_the_best_shape_is_where_the_slope_vanishes():
    p = {"a": 3.0, "b": 0.02, "xi": 20.0, "e": 0.15, "p": 0.5, "q": 0.6, "c": 0.25}
    t = np.array([1e3, 1e6])
    exact = (p["a"] * p["p"] * t ** p["c"] / (p["b"] * p["q"])) ** (1 / (p["p"] + p["q"]))
    best = scaling.best_shape((scaling.forms["shape"], p), t)
    np.testing.assert_allclose(best.x, exact, rtol=1e-5)
    assert not best.at_end.any()
    assert scaling.best_shape((scaling.forms["shape"], p), 1e6, high=100.0).at_end
    with pytest.raises(ValueError, match="needs x and t"):
        scaling.best_shape((LAW, LARGE), 1.0)


def test_the_noise_scale_of_gaussian_gradients():
    rng = np.random.default_rng(0)
    mean, spread, dim = 0.1, 2.0, 50
    norms = {
        B: np.mean(
            np.sum((mean + spread / np.sqrt(B) * rng.standard_normal((20000, dim))) ** 2, axis=1)
        )
        for B in (8, 64)
    }
    found = scaling.gradient_noise_scale(norms[8], norms[64], small_batch=8, large_batch=64)
    assert found.trace == pytest.approx(dim * spread**2, rel=0.02)
    assert found.squared_norm == pytest.approx(dim * mean**2, rel=0.1)
    assert found.scale == pytest.approx(found.trace / found.squared_norm)
    assert np.isnan(scaling.gradient_noise_scale(9.0, 1.0, small_batch=1, large_batch=2).scale)
    with pytest.raises(ValueError, match="0 < small_batch"):
        scaling.gradient_noise_scale(1.0, 1.0, small_batch=8, large_batch=8)
