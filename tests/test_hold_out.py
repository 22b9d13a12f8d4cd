"""Rows that are kept out of a fit, and how well the law foretells them."""

from __future__ import annotations

import numpy as np
import pytest

from farwide import fitting
from farwide.fitting.comparison import comparison_cells
from farwide.fitting.hold_out import parse_hold_out, shared_runs, split
from farwide.runlog import read_runs
from farwide.tables import Table
from tests.runlog.folders import law, write_sweep
from theory import scaling

CHINCHILLA = scaling.forms["chinchilla"]


def table(**more) -> Table:
    N, D = (np.ravel(x) for x in np.meshgrid([1e4, 3e4, 1e5, 3e5], [1e6, 3e6, 1e7]))
    columns = {"N": N, "D": D, "loss": law(N, D), **more}
    return Table(columns, tuple(f"a.csv:{i}" for i in range(2, 2 + len(N))))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("C>1e12", lambda c: 6 * c["N"] * c["D"] <= 1e12),
        ("N <= 3e4", lambda c: c["N"] > 3e4),
        ("D>=3e6", lambda c: c["D"] < 3e6),
        ("loss<1.4", lambda c: c["loss"] >= 1.4),
    ],
)
def test_a_comparison_holds_out_the_rows_that_meet_it(text, kept):
    whole = table()
    fitted, held, words = split(whole, parse_hold_out(text), CHINCHILLA)
    np.testing.assert_array_equal(fitted.columns["N"], whole.columns["N"][kept(whole.columns)])
    np.testing.assert_array_equal(held.columns["N"], whole.columns["N"][~kept(whole.columns)])
    assert {*fitted.origin, *held.origin} == {*whole.origin}
    assert f"({len(held)} of 12 rows)" in words


def test_a_column_of_compute_goes_before_6nd():
    own = np.arange(12.0) + 1
    _, held, words = split(table(C=own), parse_hold_out("C>9"), CHINCHILLA)
    assert held.columns["C"].tolist() == [10.0, 11.0, 12.0]
    assert words == "C > 9 (3 of 12 rows)"
    assert "6ND" in split(table(), parse_hold_out("C>1e11"), CHINCHILLA)[2]


def test_a_share_is_that_of_the_largest_compute():
    fitted, held, words = split(table(), parse_hold_out("0.25"), CHINCHILLA)
    C = [6 * t.columns["N"] * t.columns["D"] for t in (fitted, held)]
    assert len(held) == 3
    assert C[0].max() < C[1].min()
    assert words == f"C = 6ND >= {C[1].min():.4g}, the largest 25% (3 of 12 rows)"


def test_rows_of_equal_compute_stay_together():
    x = np.repeat([1.0, 2.0, 3.0], 4)
    whole = Table({"x": x, "y": 1 / x}, tuple("abcdefghijkl"))
    for share in ("0.1", "0.3", "0.4"):
        _, held, _ = split(whole, parse_hold_out(share), scaling.forms["m1"])
        assert held.columns["x"].tolist() == [3.0] * 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a comparison"),
        ("C=3", "expected a comparison"),
        ("C>many", "'many' is not a number"),
        ("C>nan", "expected a comparison"),
        ("1.5", "between 0 and 1"),
        ("0", "between 0 and 1"),
    ],
)
def test_a_rule_that_cannot_be_read(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_hold_out(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("C>1e30", r"holds out no row: C = 6ND is 6e\+10 to 1.8e\+13"),
        ("C>1", "holds out every row"),
        ("year>2020", "no column 'year'; there are "),
        ("run>2020", "no column 'run'"),
    ],
)
def test_a_rule_that_leaves_one_side_empty(text, reason):
    runs = np.array([f"r{i}" for i in range(12)])
    with pytest.raises(ValueError, match=reason):
        split(table(run=runs), parse_hold_out(text), CHINCHILLA)
    one = Table({"x": np.ones(5), "y": np.ones(5)}, tuple("abcde"))
    with pytest.raises(ValueError, match="all rows have x = 1"):
        split(one, parse_hold_out("0.2"), scaling.forms["m1"])


def test_held_out_rows_are_scored_and_not_fitted():
    whole = table()
    spoilt = dict(whole.columns)
    spoilt["loss"] = np.where(6 * spoilt["N"] * spoilt["D"] > 5e12, 1.1, 1.0) * spoilt["loss"]
    fitted = fitting.fit_table(
        Table(spoilt, whole.origin), bootstrap=0, hold_out=parse_hold_out("C>5e12"),
        loss="squared",
    )  # fmt: skip
    assert fitted.held is not None
    assert fitted.fit.n_points == len(fitted.table) == 12 - len(fitted.held)
    errors = fitting.log_errors(fitted.fit, fitted.held)
    np.testing.assert_allclose(errors, np.log(1.1), atol=1e-4)  # the law was planted exactly
    found = fitting.score(errors)
    assert found.points == len(fitted.held)
    assert found.rmsle == pytest.approx(np.log(1.1), abs=1e-4)


def test_too_few_rows_left_say_so():
    with pytest.raises(ValueError, match="4 usable points that are not held out; a fit of"):
        fitting.fit_table(table(), hold_out=parse_hold_out("D>1e6"))


def test_a_score_does_not_count_rows_of_weight_zero():
    assert fitting.score(np.array([0.3, -0.4, 9.0]), [1.0, 2.0, 0.0]) == (
        pytest.approx(np.sqrt(0.125)),
        2,
    )


def test_runs_of_the_role_held_out_are_held_out(tmp_path):
    fitted = fitting.fit_runs(read_runs(write_sweep(tmp_path)), bootstrap=0)
    assert fitted.held is not None
    assert fitted.held.columns["run"].tolist() == ["big"]
    assert fitted.hold_out == "runs of the role held_out"
    both = fitting.fit_runs(read_runs(tmp_path), bootstrap=0, hold_out=parse_hold_out("N>1e5"))
    assert both.held is not None
    assert len(both.held) == 5
    assert both.hold_out == "N > 100000 (4 of 18 rows); runs of the role held_out"


def test_runs_on_both_sides_are_named():
    runs = np.array(["a"] * 6 + ["b"] * 6)
    fitted, held, _ = split(table(run=runs), parse_hold_out("D>2e6"), CHINCHILLA)
    assert shared_runs(fitted, held) == ("a",)
    assert shared_runs(*split(table(), parse_hold_out("D>2e6"), CHINCHILLA)[:2]) == ()


# Laws beside one another


def power_law(noise: float = 0.01):
    x = np.geomspace(10, 1e5, 16)
    y = (3 * x**-0.4 + 0.1) * np.exp(noise * np.random.default_rng(0).standard_normal(16))
    return Table({"x": x, "y": y}, tuple(f"a.csv:{i}" for i in range(16)))


def test_laws_are_scored_on_the_rows_that_were_held_out():
    fitted = fitting.fit_table(
        power_law(), form="m2", bootstrap=0, loss="squared", hold_out=parse_hold_out("x>5e3")
    )
    compared = fitting.with_comparison(fitted, ["m1"])
    first, second = compared.comparison
    assert (first.form, second.form) == ("m2", "m1")  # the planted law predicts better
    errors = fitting.log_errors(fitted.fit, fitted.held)
    assert first.rmsle_held_out == pytest.approx(fitting.score(errors).rmsle, rel=1e-9)
    assert first.rmsle_fit == pytest.approx(fitting.score(fitted.fit.residuals).rmsle, rel=1e-9)
    title, rows = comparison_cells(compared)
    assert "x > 5000 (5 of 16 rows), up to 21.5 times the largest size fitted" in title
    assert rows[0][:3] == ("m2", "3", f"{first.rmsle_held_out:.3%}")


def test_a_quarter_is_held_out_where_nothing_was():
    fitted = fitting.fit_table(power_law(), form="m1", bootstrap=0, loss="squared")
    compared = fitting.with_comparison(fitted, ["m2"])
    assert [row.form for row in compared.comparison] == ["m2", "m1"]
    assert "the 25% of the rows of largest size" in comparison_cells(compared)[0]


@pytest.mark.parametrize(
    ("forms", "reason"),
    [
        (["m9"], "form is 'm9'; accepted are"),
        (["chinchilla"], "form chinchilla predicts loss, and m1 y"),
    ],
)
def test_laws_that_cannot_be_compared(forms, reason):
    fitted = fitting.fit_table(power_law(), form="m1", bootstrap=0, loss="squared")
    with pytest.raises(ValueError, match=reason):
        fitting.with_comparison(fitted, forms)
