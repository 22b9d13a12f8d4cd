"""Model selection: the law that made the data wins, and its scores are what they say."""

import numpy as np
import pytest

from tests.theory.scaling.planted import chinchilla
from theory import scaling


def levelling_off(points=60):
    x = np.geomspace(1e2, 1e8, points)
    noise = 0.01 * np.random.default_rng(0).standard_normal(points)
    return {"x": x, "y": (3 * x**-0.4 + 0.05) * np.exp(noise)}


def test_the_law_that_made_the_data_predicts_the_rest_best():
    data = levelling_off()
    rows = scaling.compare(["m1", "m2", "m3"], data, loss="squared", holdout=0.3)
    assert rows[0].form == "m2"
    assert rows[0].rmsle_held_out < 0.02 < rows[1].rmsle_held_out
    assert min(rows, key=lambda row: row.aicc).form == "m2"
    (m1,) = [row for row in rows if row.form == "m1"]
    small = {name: column[:42] for name, column in data.items()}
    fit = scaling.fit("m1", small, loss="squared")
    miss = np.log(data["y"][42:] / fit.predict({"x": data["x"][42:]}))
    assert m1.rmsle_held_out == pytest.approx(np.sqrt(np.mean(miss**2)))
    assert m1.rmsle_fit == pytest.approx(np.sqrt(np.mean(fit.residuals**2)))
    assert m1.reach == pytest.approx(data["x"][-1] / data["x"][41])
    u, v = np.log(data["x"]), np.log(data["y"])
    rest = np.linalg.lstsq(np.stack([np.ones_like(u), u], 1), v, rcond=None)[1][0]
    assert m1.aicc == pytest.approx(60 * np.log(rest / 60) + 6 + 24 / 56)  # k = 3


def test_rows_are_held_out_by_compute_or_as_asked():
    data = chinchilla(40, 1, 0.01, small=True)
    C = 6 * data["N"] * data["D"]
    (by_compute,) = scaling.compare(["chinchilla"], data, loss="squared")
    (as_asked,) = scaling.compare(
        ["chinchilla"], data, loss="squared", holdout=scaling.split(C, 0.25)
    )
    assert by_compute == as_asked
    assert scaling.split(C, 0.25).sum() == 10
    (by_tokens,) = scaling.compare(["chinchilla"], data, loss="squared", by="D")
    assert by_tokens.reach == pytest.approx(np.max(data["D"]) / np.sort(data["D"])[29])


def test_laws_of_other_columns_stand_side_by_side():
    data = chinchilla(40, 1, 0.01, small=True)
    rows = scaling.compare(["gadre", "chinchilla"], data, loss="squared")
    assert {row.form for row in rows} == {"gadre", "chinchilla"}
    assert all(np.isfinite(row.rmsle_held_out) for row in rows)


def test_a_law_with_too_few_points_comes_last_and_says_why():
    data = {name: column[:8] for name, column in levelling_off().items()}
    rows = scaling.compare(["bnsl", "m1"], data, loss="squared")
    assert [row.form for row in rows] == ["m1", "bnsl"]
    assert str(rows[1].status) == "failed"
    assert "too few" in rows[1].notes[0]


@pytest.mark.parametrize(
    ("forms", "arguments", "message"),
    [
        ([], {}, "forms is empty"),
        (["m1", "chinchilla"], {}, "different columns"),
        (["m1"], {"holdout": 1.5}, r"holdout = 1\.5"),
        (["m1"], {"holdout": np.ones(3, bool)}, "a boolean for each of the 60 rows"),
        (["m1"], {"holdout": np.zeros(60, bool)}, "0 of 60 rows"),
        (["m1"], {"by": "z"}, "by = 'z' is no column"),
    ],
)
def test_bad_arguments(forms, arguments, message):
    with pytest.raises(ValueError, match=message):
        scaling.compare(forms, levelling_off(), **arguments)
