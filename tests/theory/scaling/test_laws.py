"""Every named law: its formula, its recovery, and units that change nothing."""

import numpy as np
import pytest

from benchmarks.scaling_recovery import DRAWS, data_columns, planted
from tests.theory.scaling.formulas import FORMULAS
from theory import scaling
from theory.scaling import Form, Term

SLOW_TO_COMPILE = ("bnsl2", "bnsl3")
FORMS = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW_TO_COMPILE else name
    for name in scaling.forms
]


def test_every_form_has_a_formula_and_a_design_here():
    assert set(FORMULAS) == set(scaling.forms) == set(DRAWS)


@pytest.mark.parametrize("name", scaling.forms)
def test_the_law_is_the_published_formula(name):
    params, data = planted(name, 3)
    law = scaling.forms[name]
    assert set(params) == set(law.params)
    columns = data_columns(law, data)
    np.testing.assert_allclose(
        law.predict(params, columns), FORMULAS[name](params, columns), rtol=1e-9
    )


@pytest.mark.parametrize("name", FORMS)
def test_noiseless_data_give_the_law_back_and_units_change_nothing(name):
    """Then the noisy data, and the same with columns and target rescaled by 1e6 and 1e-6."""
    params, data = planted(name, 2)
    law = scaling.forms[name]
    clean = law.predict(params, data_columns(law, data))
    exact = scaling.fit(name, {**data, law.target: clean}, loss="squared")
    assert str(exact.status) == "converged", exact.notes
    for parameter, value in params.items():
        assert exact.params[parameter] == pytest.approx(value, rel=1e-4), parameter
    plain = scaling.fit(name, data, loss="squared")
    tokens = {column for group in law.same_unit for column in group}  # keep one unit for both
    scales = {c: 1e6 if c in tokens or i % 2 else 1e-6 for i, c in enumerate(law.columns)}
    moved = {c: data[c] * scale for c, scale in scales.items()} | {
        law.target: data[law.target] * 1e6
    }
    other = scaling.fit(name, moved, loss="squared")
    assert other.objective == pytest.approx(plain.objective, rel=1e-10)
    np.testing.assert_allclose(other.residuals, plain.residuals, atol=2e-6)


def test_a_form_of_ones_own_takes_ten_lines():
    import jax.numpy as jnp

    law = Form(
        name="saturating",
        target="y",
        terms=(
            Term("top", log_basis=lambda p, x: -jnp.logaddexp(0.0, p["c"] * (p["s"] - x["x"]))),
        ),
        domain={"s": scaling.Scale("x"), "c": scaling.Positive(0.05, 5.0)},
        inputs=("x",),
        text="top / (1 + (s/x)^c)",
    )
    x = np.geomspace(1.0, 1e6, 40)
    fit = scaling.fit(law, {"x": x, "y": 0.9 / (1 + (2e3 / x) ** 0.7)}, loss="squared")
    assert law.formula == "y = top / (1 + (s/x)^c)"
    assert fit.params == pytest.approx({"top": 0.9, "s": 2e3, "c": 0.7}, rel=1e-5)


def test_tokens_per_parameter_and_compute_follow_from_n_and_d():
    _, data = planted("gadre", 0)
    N = np.sqrt(data["C"] / 6 / data["M"])
    D = N * data["M"]
    given = scaling.fit("gadre", data, loss="squared")
    derived = scaling.fit("gadre", {"N": N, "D": D, "loss": data["loss"]}, loss="squared")
    assert derived.params == pytest.approx(given.params, rel=1e-6)
    np.testing.assert_allclose(
        derived.predict({"N": N, "D": D}), given.predict({"M": data["M"], "C": data["C"]})
    )


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ({"c": scaling.Positive(0.0, 1.0)}, "both must be positive"),
        ({"c": scaling.Positive(2.0, 1.0)}, "the first below the second"),
        ({"c": scaling.Scale("z")}, "in the unit of 'z', which is no column"),
    ],
)
def test_bad_ranges(domain, message):
    with pytest.raises(ValueError, match=message):
        Form(
            name="bad",
            target="y",
            terms=(Term("b", log_basis=lambda p, x: p["c"] * x["x"]),),
            domain=domain,
            inputs=("x",),
        )


def test_an_asymmetric_loss_lets_runs_lie_above():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 1e4, 200)
    untuned = np.where(rng.uniform(size=200) < 0.3, rng.exponential(0.3, 200), 0.0)
    data = {"x": x, "y": 2 * x**-0.3 * np.exp(untuned + 0.003 * rng.standard_normal(200))}
    b = {
        tau: scaling.fit("m1", data, loss="asymmetric", tau=tau).params["b"]
        for tau in (0.02, 0.5, 0.9)
    }
    assert b[0.02] < b[0.5] < b[0.9]
    assert abs(b[0.02] - 2) < abs(b[0.9] - 2)
    half = scaling.fit("m1", data, loss="huber")
    assert half.params["b"] == pytest.approx(b[0.5], rel=1e-9)
    with pytest.raises(ValueError, match=r"tau = 1\.0"):
        scaling.fit("m1", data, loss="asymmetric", tau=1.0)
