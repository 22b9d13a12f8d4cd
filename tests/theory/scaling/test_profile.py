"""Profile likelihood and covariance against closed forms, and what they do without an answer."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.scaling_recovery import planted
from tests.theory.scaling.planted import chinchilla
from theory import scaling


def line(points=30, seed=0):
    rng = np.random.default_rng(seed)
    x = np.exp(rng.uniform(0, 8, points))
    return {"x": x, "y": 2 * x**-0.3 * np.exp(0.05 * rng.standard_normal(points))}


@pytest.fixture(scope="module")
def straight():
    """m1 with squared log residuals is a linear regression, whose intervals are exact."""
    data = line()
    return data, scaling.fit("m1", data, loss="squared")


def ordinary(data, at=None):
    """(estimate, standard error, quantile) of log b and c, or of log y at x."""
    u, v = np.log(data["x"]), np.log(data["y"])
    design = np.stack([np.ones_like(u), u], axis=1)
    beta, rest = np.linalg.lstsq(design, v, rcond=None)[:2]
    df = len(u) - 2
    covariance = np.linalg.inv(design.T @ design) * rest[0] / df
    rows = np.eye(2) if at is None else np.stack([np.ones_like(at), np.log(at)], axis=1)
    error = np.sqrt(np.einsum("np,pq,nq->n", rows, covariance, rows))
    return rows @ beta, error, stats.t.ppf(0.975, df)


def test_a_linear_law_has_the_intervals_of_linear_regression(straight):
    data, fit = straight
    value, error, t = ordinary(data)
    ends = np.stack([value - t * error, value + t * error])
    for method in ("profile", "covariance"):
        found = fit.interval(method=method)
        np.testing.assert_allclose(np.log(found["b"]), ends[:, 0], atol=5e-3 * error[0] * t)
        np.testing.assert_allclose(found["c"], ends[:, 1], atol=5e-3 * error[1] * t)
    assert fit.profile(["c"])["c"] == pytest.approx(fit.interval(method="profile")["c"])


def test_so_do_its_predictions_with_noise_and_without(straight):
    data, fit = straight
    at = np.array([[1.0, 30.0], [500.0, 1e5]])
    value, error, t = ordinary(data, at.ravel())
    for method in ("profile", "covariance"):
        found = fit.interval({"x": at}, method=method)
        assert found.low.shape == (2, 2)
        np.testing.assert_allclose(
            np.log(found.high).ravel(), value + t * error, atol=5e-3 * np.max(error) * t
        )
        new = fit.interval({"x": at}, method=method, noise=0.05, level=0.9)
        narrow = fit.interval({"x": at}, method=method, level=0.9)
        wide = np.log(new.high) - np.log(fit.predict({"x": at}))
        law = np.log(narrow.high) - np.log(fit.predict({"x": at}))
        np.testing.assert_allclose(wide, np.hypot(law, 0.05 * stats.norm.ppf(0.95)), rtol=1e-9)


def test_the_covariance_is_that_of_linear_regression(straight):
    data, fit = straight
    u = np.log(data["x"])
    design = np.stack([np.ones_like(u), u], axis=1)
    s2 = np.sum(fit.residuals**2) / (len(u) - 2)
    found = fit.covariance()
    assert found.names == ("b", "c")
    assert found.logarithm == (True, False)
    assert found.df == len(u) - 2
    np.testing.assert_allclose(found.matrix, np.linalg.inv(design.T @ design) * s2, rtol=1e-6)


def test_rows_of_one_run_count_as_one():
    """Ten copies of every row, labelled as runs, say no more than the rows alone."""
    data = line(40, 3)
    many = {name: np.repeat(column, 10) for name, column in data.items()}
    run = np.repeat(np.arange(40), 10)
    alone = scaling.fit("m1", data, loss="squared").covariance().matrix
    copies = scaling.fit("m1", many, loss="squared").covariance().matrix
    labelled = scaling.fit("m1", {**many, "run": run}, loss="squared").covariance().matrix
    assert copies[1, 1] < 0.12 * alone[1, 1]
    assert labelled[1, 1] == pytest.approx(alone[1, 1], rel=0.4)  # a sandwich of 40 runs


def test_a_profile_does_not_depend_on_the_parameters_in_which_a_law_is_written():
    _, data = planted("henighan", 5)
    one = scaling.fit("henighan", data, loss="squared").profile(["L_inf", "a"])
    two = scaling.fit("m2", data, loss="squared").profile(["e_inf", "c"])
    np.testing.assert_allclose(one["L_inf"], two["e_inf"], rtol=1e-4)
    np.testing.assert_allclose(one["a"], np.negative(two["c"])[::-1], rtol=1e-3)


def test_the_end_of_a_profile_is_where_the_best_fit_is_too_bad():
    """The definition: with E held at the end, the least sum of squares is at the threshold."""
    from scipy import optimize

    data = chinchilla(40, 2, 0.01, small=True)
    fit = scaling.fit("chinchilla", data, loss="squared")
    low, high = fit.profile(["E"])["E"]
    least, df = fit.objective, 40 - 5
    threshold = least * (1 + stats.f.ppf(0.95, 1, df) / df)
    log_N, log_D, log_y = (np.log(data[name]) for name in ("N", "D", "loss"))
    for end in (low, high):

        def rest(t, E=end):
            law = E + np.exp(t[0] - t[2] * log_N) + np.exp(t[1] - t[3] * log_D)
            return (log_y - np.log(law)) / np.sqrt(2)

        p = fit.params
        start = [np.log(p["A"]), np.log(p["B"]), p["alpha"], p["beta"]]
        found = optimize.least_squares(rest, start, x_scale="jac", xtol=1e-14, ftol=1e-14)
        assert 2 * found.cost == pytest.approx(threshold, rel=2e-3)


def test_the_frontier_has_a_band_by_every_method():
    fit = scaling.fit(
        "chinchilla", chinchilla(60, 4, 0.01, small=True), loss="squared", bootstrap=100
    )
    C = np.array([1e12, 1e14])
    best = scaling.frontier(fit, C)
    for method in ("bootstrap", "profile", "covariance"):
        low, high = scaling.frontier_interval(fit, C, method=method)
        for below, value, above in zip(low, best, high, strict=True):
            assert np.all((below < value) & (value < above))
    with pytest.raises(ValueError, match="method 'wald' is unknown"):
        scaling.frontier_interval(fit, C, method="wald")


@pytest.mark.parametrize("loss", ["huber", "l1", "asymmetric"])
def test_other_losses_have_intervals_of_the_same_size(loss):
    data = line(200, 7)
    found = scaling.fit("m1", data, loss=loss, delta=0.01).profile(["c"])["c"]
    exact = scaling.fit("m1", data, loss="squared").profile(["c"])["c"]
    # The median of Gaussian residuals has an error 1.25 times that of the mean.
    assert 0.8 < np.ptp(found) / np.ptp(exact) < 1.8


def test_bad_arguments_are_named(straight):
    fit = straight[1]
    with pytest.raises(ValueError, match="parameter 'z' is unknown; m1 has"):
        fit.profile(["z"])
    with pytest.raises(ValueError, match="method 'wald' is unknown"):
        fit.interval(method="wald")
    with pytest.raises(ValueError, match=r"level = 2\.0"):
        fit.profile(level=2.0)


# What cannot be told


def degenerate():
    """Designs that leave parameters open, and which."""
    x = np.geomspace(1e2, 1e6, 30)
    N, D = np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6))
    N, D = N.ravel(), D.ravel()
    same = np.full(36, 1e9)
    yield "chinchilla", {"N": N, "D": same}, {"E", "B", "beta"}
    yield "chinchilla", {"N": same, "D": D}, {"E", "A", "alpha"}
    yield "kaplan", {"N": same, "D": D}, {"N_c", "alpha_N"}
    yield "kaplan_steps", {"N": N, "S": same}, {"S_c", "alpha_S"}
    yield "muennighoff", {"N": N, "D": D, "U": 2 * D}, {"R_star"}  # nothing is ever repeated
    yield "shape", {"x": N, "t": same}, {"c"}
    yield "critical_batch", {"B": np.full(30, 64.0)}, {"S_min", "E_min"}
    yield "m2", {"x": np.repeat([1e2, 1e4], 15)}, {"b", "c", "e_inf"}
    yield "m3", {"x": x * 1e-9}, {"g"}  # far below 1/g
    yield "bnsl", {"x": x * 1e-9}, {"d1", "f1"}  # far below the break


QUICK = ("chinchilla", "muennighoff", "m2", "critical_batch")  # the others take long to compile
DESIGNS = [
    pytest.param(*design, marks=() if design[0] in QUICK else pytest.mark.slow)
    for design in degenerate()
]


@pytest.mark.parametrize(("name", "columns", "open_ones"), DESIGNS)
def test_designs_that_cannot_tell_a_parameter_say_so(name, columns, open_ones):
    params, _ = planted(name, 0)
    law = scaling.forms[name]
    clean = law.predict(params, columns)
    for seed in range(2):
        noise = 0.01 * np.random.default_rng(seed).standard_normal(len(clean))
        fit = scaling.fit(name, {**columns, law.target: clean * np.exp(noise)}, loss="squared")
        unsaid = []
        for parameter, (low, high) in fit.profile(sorted(open_ones)).items():
            span = law.domain.get(parameter)
            floor, roof = span if type(span) is tuple else (0.0, np.inf)
            closed = low > max(floor, 0.0) * (1 + 1e-9) and high < roof * (1 - 1e-9)
            if closed and low > 0 and str(fit.status) == "converged":
                unsaid.append((parameter, low, high))
        assert not unsaid
        assert str(fit.status) != "converged" or fit.identifiability.sentences
