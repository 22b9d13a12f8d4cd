"""A fit finds what was planted, and what it finds depends on nothing that it should not."""

import numpy as np
import pytest

from tests.theory.scaling.planted import LARGE, SMALL, chinchilla, objective
from theory import scaling


def assert_params(actual, expected, rtol):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, rel=rtol), name


@pytest.mark.parametrize("loss", ["huber", "squared", "l1"])
@pytest.mark.parametrize(("small", "truth"), [(False, LARGE), (True, SMALL)])
def test_noiseless_data_give_the_planted_law(loss, small, truth):
    fit = scaling.fit("chinchilla", chinchilla(24, 1, 0.0, small=small), loss=loss)
    assert_params(fit.params, truth, 1e-6)
    assert str(fit.status) == "converged"
    assert fit.notes == ()


@pytest.mark.parametrize(
    ("form", "truth"),
    [("m1", {"b": 3.0, "c": -0.4}), ("m2", {"b": 3.0, "e_inf": 0.5, "c": -0.4})],
)
def test_one_variable_forms_recover_their_parameters(form, truth):
    x = np.geomspace(1e6, 1e9, 12)
    y = truth["b"] * x ** truth["c"] + truth.get("e_inf", 0.0)
    fit = scaling.fit(form, {"x": x, "y": y})
    assert_params(fit.params, truth, 1e-6)
    np.testing.assert_allclose(fit.predict({"x": x}), y, rtol=1e-9)


def test_m1_by_squares_is_linear_regression():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 1e4, 15)
    y = 2 * x**-0.3 * np.exp(0.1 * rng.normal(size=15))
    fit = scaling.fit("m1", {"x": x, "y": y}, loss="squared")
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    assert_params(fit.params, {"b": np.exp(intercept), "c": slope}, 1e-10)


def test_the_objective_is_the_weighted_sum_of_its_definition():
    data = chinchilla(24, 2, 0.01, small=True)
    data["weight"] = np.random.default_rng(0).uniform(0.5, 2.0, 24)
    for kind in ("huber", "squared", "l1"):
        fit = scaling.fit("chinchilla", data, loss=kind)
        assert fit.objective == pytest.approx(objective(fit.params, data, kind), rel=1e-10)
        assert fit.loss == kind
        assert fit.delta == (1e-3 if kind == "huber" else None)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
@pytest.mark.parametrize("loss", ["huber", "squared"])
def test_units_change_nothing_but_the_coefficients(factor, loss):
    data = chinchilla(24, 3, 0.01, small=True)
    scaled = {"N": data["N"] * factor, "D": data["D"] / factor, "loss": data["loss"]}
    one = scaling.fit("chinchilla", data, loss=loss)
    two = scaling.fit("chinchilla", scaled, loss=loss)
    assert two.objective == pytest.approx(one.objective, rel=1e-10)
    np.testing.assert_allclose(two.predict(scaled), one.predict(data), rtol=1e-9)
    for name in ("E", "alpha", "beta"):
        assert two.params[name] == pytest.approx(one.params[name], rel=1e-6), name
    in_units = two.params["A"] * factor ** -two.params["alpha"]
    assert in_units == pytest.approx(one.params["A"], rel=1e-5)


def test_row_order_changes_nothing():
    data = chinchilla(24, 4, 0.01, small=True)
    data["run"] = np.arange(24) // 2
    order = np.random.default_rng(1).permutation(24)
    shuffled = {name: column[order] for name, column in data.items()}
    one = scaling.fit("chinchilla", data, bootstrap=20)
    two = scaling.fit("chinchilla", shuffled, bootstrap=20)
    assert one.params == two.params
    np.testing.assert_array_equal(one.residuals[order], two.residuals)
    assert one.bootstrap is not None
    assert two.bootstrap is not None
    for name, replicates in one.bootstrap.items():
        np.testing.assert_array_equal(replicates, two.bootstrap[name])


def test_integer_weights_are_repeated_rows():
    data = chinchilla(24, 5, 0.01, small=True)
    counts = np.random.default_rng(2).integers(0, 4, 24)
    repeated = {name: np.repeat(column, counts) for name, column in data.items()}
    weighted = scaling.fit("chinchilla", {**data, "weight": counts})
    again = scaling.fit("chinchilla", repeated)
    assert weighted.objective == pytest.approx(again.objective, rel=1e-10)
    assert_params(weighted.params, again.params, 1e-6)
    assert weighted.n_points == np.sum(counts > 0)
    assert again.n_points == np.sum(counts)


def test_a_robust_loss_ignores_an_outlier_and_squares_do_not():
    data = chinchilla(32, 6, 0.0)
    data["loss"][7] *= 1.5
    for loss in ("huber", "l1"):
        # delta small against everything but rounding: the outlier's pull is bounded by delta
        fit = scaling.fit("chinchilla", data, loss=loss, delta=1e-6)
        assert_params(fit.params, LARGE, 1e-3)
    squared = scaling.fit("chinchilla", data, loss="squared")
    assert abs(squared.params["E"] / LARGE["E"] - 1) > 1e-3


def test_data_that_want_a_negative_floor_end_at_the_bound():
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e4, 1e6, 5), np.geomspace(1e5, 1e7, 5)))
    loss = 30 * N**-0.35 + 60 * D**-0.38 - 0.05
    fit = scaling.fit("chinchilla", {"N": N, "D": D, "loss": loss}, bootstrap=30)
    assert fit.status == "at bound"
    assert fit.params["E"] == 0.0
    assert any("E is 0" in note for note in fit.notes)
    assert fit.bootstrap_status is not None
    assert fit.bootstrap_status["failed"] == 0
    low, high = fit.interval()["E"]
    assert low == 0.0 <= high


def test_a_form_of_ones_own_fits():
    # Gadre et al. (2024): L = E + (a M^eta + b M^-eta) C^-eta
    gadre = scaling.Form(
        name="gadre",
        target="loss",
        terms=(
            scaling.Term("E"),
            scaling.Term("a", {"M": "eta", "C": "-eta"}),
            scaling.Term("b", {"M": "-eta", "C": "-eta"}),
        ),
        domain={"eta": (0.0, 1.0)},
    )
    rng = np.random.default_rng(0)
    M, C = np.exp(rng.uniform(1, 6, 30)), np.exp(rng.uniform(np.log(1e17), np.log(1e21), 30))
    truth = {"E": 1.7, "a": 30.0, "b": 120.0, "eta": 0.12}
    loss = gadre.predict(truth, {"M": M, "C": C})
    fit = scaling.fit(gadre, {"M": M, "C": C, "loss": loss})
    assert_params(fit.params, truth, 1e-6)
    assert fit.form == "gadre"
    assert gadre.formula == "loss = E + a M^eta C^-eta + b M^-eta C^-eta"


def test_a_data_frame_is_read_as_columns():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    data = chinchilla(24, 7, 0.01)
    one, two = scaling.fit("chinchilla", data), scaling.fit("chinchilla", pandas.DataFrame(data))
    assert one.params == two.params
