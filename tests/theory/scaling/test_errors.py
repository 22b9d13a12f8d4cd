"""Every refusal names the argument, the value, and what is accepted."""

import numpy as np
import pytest

from tests.theory.scaling.planted import chinchilla
from theory import scaling
from theory.scaling import Form, Term


def changed(column, row, value):
    data = chinchilla(24, 0, 0.01)
    data[column][row] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed("loss", 3, np.nan), r"column 'loss', row 3: nan; .* finite and positive"),
        (changed("N", 5, np.inf), r"column 'N', row 5: inf"),
        (changed("D", 0, 0.0), r"column 'D', row 0: 0.0"),
        (changed("D", 2, -1.0), r"column 'D', row 2: -1.0"),
        ({"N": [1.0], "loss": [1.0]}, r"column 'D' is missing"),
        (
            {**chinchilla(24, 0, 0.0), "wieght": np.ones(24)},
            r"column 'wieght' is unknown; .*weight",
        ),
        ({**chinchilla(24, 0, 0.0), "N": np.ones(23)}, r"column 'N' has shape \(23,\)"),
        ({**chinchilla(24, 0, 0.0), "run": ["a"] * 23}, r"column 'run' has shape \(23,\)"),
        ({**chinchilla(24, 0, 0.0), "weight": -np.ones(24)}, r"column 'weight', row 0: -1.0"),
        ({**chinchilla(24, 0, 0.0), "N": ["x"] * 24}, r"column 'N' does not hold numbers"),
        (chinchilla(5, 0, 0.0), r"5 points .* at least 6 points"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        scaling.fit("chinchilla", data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"form": "chinchila"},
            r"form 'chinchila' is unknown; accepted are \['bnsl', .*'chinchilla'",
        ),
        ({"loss": "hubre"}, r"loss 'hubre' is unknown; accepted are \['huber'"),
        ({"delta": 0.0}, r"delta = 0.0"),
        ({"bootstrap": -1}, r"bootstrap = -1"),
        ({"bootstrap": 2.5}, r"bootstrap = 2.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        scaling.fit(**{"form": "chinchilla", "data": chinchilla(24, 0, 0.01), **arguments})


def test_a_form_that_is_neither_name_nor_declaration():
    with pytest.raises(TypeError, match="not int"):
        scaling.fit(3, chinchilla(24, 0, 0.01))  # pyright: ignore[reportArgumentType]


def test_a_bootstrap_over_one_run():
    data = {**chinchilla(24, 0, 0.01), "run": ["only"] * 24}
    with pytest.raises(ValueError, match="one label, 'only'"):
        scaling.fit("chinchilla", data, bootstrap=10)


def test_predict_names_the_bad_column():
    x = np.geomspace(1, 100, 8)
    fit = scaling.fit("m1", {"x": x, "y": 1 / x})
    with pytest.raises(ValueError, match=r"column 'x', row 1: -2\.0"):
        fit.predict({"x": [1.0, -2.0]})
    with pytest.raises(ValueError, match=r"column 'x': -2\.0"):
        fit.predict({"x": -2.0})
    with pytest.raises(ValueError, match="column 'x' is missing"):
        fit.predict({"z": 1.0})


@pytest.mark.parametrize(
    ("terms", "domain", "message"),
    [
        ((Term("A", {"N": "p"}), Term("A")), {"p": (0, 1)}, "named twice"),
        ((Term("A", {"N": "p"}),), {}, "the exponents are"),
        ((Term("A", {"N": "p"}),), {"p": (1, 0)}, "the first below the second"),
        ((Term("A", {"weight": "p"}),), {"p": (0, 1)}, "cannot be a column"),
        ((Term("A"),), {}, "no term has a power"),
        ((), {}, "at least one Term"),
    ],
)
def test_bad_declarations(terms, domain, message):
    with pytest.raises(ValueError, match=message):
        Form(name="bad", target="loss", terms=terms, domain=domain)
