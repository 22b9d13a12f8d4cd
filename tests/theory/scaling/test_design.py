from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from tests.theory.scaling.planted import SMALL
from theory import scaling
from theory.scaling import design

NOISE = 0.01
TARGET = {"N": 4e6, "D": 4e7}


def law(N, D):
    return SMALL["E"] + SMALL["A"] * N ** -SMALL["alpha"] + SMALL["B"] * D ** -SMALL["beta"]


def runs(seed, N, D, noise=NOISE):
    rng = np.random.default_rng(seed)
    return {"N": N, "D": D, "loss": law(N, D) * np.exp(noise * rng.standard_normal(N.shape))}


def grid(low=(4e3, 1e5), high=(4e5, 4e6), side=5):
    N, D = np.meshgrid(*(np.geomspace(a, b, side) for a, b in zip(low, high, strict=True)))
    return N.ravel(), D.ravel()


@pytest.fixture(scope="module")
def fit():
    return scaling.fit("chinchilla", runs(0, *grid()), loss="squared")


def variance(fit, chosen, candidates, target):
    """Var of log f at the target from the normal equations, the gradient written out."""
    p = fit.params

    def slope(N, D):
        a, b = p["A"] * N ** -p["alpha"], p["B"] * D ** -p["beta"]
        f = p["E"] + a + b
        u = [p["E"], a, b, -p["alpha"] * np.log(N) * a, -p["beta"] * np.log(D) * b]
        return np.stack([np.broadcast_to(x, np.shape(f)) for x in u], -1) / np.asarray(f)[..., None]

    J = np.vstack(
        [
            slope(fit.data["N"], fit.data["D"]),
            slope(*(np.asarray(candidates[n])[list(chosen)] for n in "ND")),
        ]
    )
    g = slope(target["N"], target["D"])
    return NOISE**2 * g @ np.linalg.inv(J.T @ J) @ g


def test_widths_are_those_of_the_normal_equations(fit):
    N, D = grid((1e5, 1e6), (2e6, 2e7), 4)
    candidates = {"N": N, "D": D}
    plan = design.next_runs(
        fit, target=TARGET, candidates=candidates, cost=6 * N * D, budget=1e14, runs=3, noise=NOISE
    )
    z = stats.norm.ppf(0.975)
    assert len(plan.rows) == 3
    assert plan.half_width_before == pytest.approx(
        z * np.sqrt(variance(fit, [], candidates, TARGET)), rel=1e-4
    )
    for k, width in enumerate(plan.half_width_after, 1):
        by_hand = z * np.sqrt(variance(fit, plan.rows[:k], candidates, TARGET))
        assert width == pytest.approx(by_hand, rel=1e-4)
    assert np.all(np.diff([plan.half_width_before, *plan.half_width_after]) < 0)
    assert plan.value == pytest.approx(float(fit.predict(TARGET)))
    np.testing.assert_array_equal(plan.cost, (6 * N * D)[list(plan.rows)])
    assert plan.fixed == ()


@pytest.mark.parametrize("seed", range(8))
def test_the_choice_is_that_of_all_subsets(fit, seed):
    rng = np.random.default_rng(seed)
    N, D = (
        np.exp(rng.uniform(np.log(1e4), np.log(4e6), 9)),
        np.exp(rng.uniform(np.log(3e5), np.log(4e7), 9)),
    )
    candidates, cost = {"N": N, "D": D}, 6 * N * D
    budget = float(np.sum(np.sort(cost)[:6]))
    count = 3 if seed % 2 else None
    plan = design.next_runs(
        fit, target=TARGET, candidates=candidates, cost=cost, budget=budget, runs=count,
        noise=NOISE,
    )  # fmt: skip
    assert np.sum(plan.cost) <= budget
    assert len(set(plan.rows)) == len(plan.rows)
    subsets = (s for k in range(1, 4 if count else 10) for s in itertools.combinations(range(9), k))
    best = min(
        variance(fit, s, candidates, TARGET) for s in subsets if np.sum(cost[list(s)]) <= budget
    )
    ours = variance(fit, plan.rows, candidates, TARGET)
    # Without a number, a run that shrinks the interval by less than 1% is left out.
    assert ours <= best * (1.002 if count else 1.02 ** len(cost))


def test_without_a_number_every_run_is_worth_its_place(fit):
    N, D = grid((1e4, 3e5), (4e6, 4e7), 6)
    plan = design.next_runs(
        fit, target=TARGET, candidates={"N": N, "D": D}, cost=6 * N * D, budget=1e16, noise=NOISE
    )
    assert len(plan.rows) < 36
    widths = np.array([plan.half_width_before, *plan.half_width_after])
    assert widths[-1] < 0.5 * widths[0]


@pytest.mark.parametrize(
    ("of", "repeats"),
    [
        ("value", 80),
        pytest.param("size", 200, marks=pytest.mark.slow),
        pytest.param("value", 600, marks=pytest.mark.slow),
    ],
)
def test_the_spread_of_refits_shrinks_as_predicted(of, repeats):
    """Refits of planted runs, with and without the chosen ones; the law is the planted one."""
    N, D = grid((4e3, 1e5), (4e5, 4e6), 7)
    exact = scaling.fit("chinchilla", runs(0, N, D, 0.0), loss="squared")
    small = 0.002  # where the law is nearly linear in its parameters
    n, d = grid((1e5, 1e6), (4e6, 4e7), 4)
    target = {"C": 1e15}
    plan = design.next_runs(
        exact, target=target, candidates={"N": n, "D": d}, cost=6 * n * d, budget=1e15, runs=4,
        noise=small, of=of,
    )  # fmt: skip
    more = list(plan.rows)
    predicted = np.array([plan.half_width_before, plan.half_width_after[-1]]) / 1.959964
    assert predicted[1] < 0.8 * predicted[0]
    found = []
    for seed in range(repeats):
        data = runs(seed, np.concatenate([N, n[more]]), np.concatenate([D, d[more]]), small)
        row = []
        for count in (len(N), len(N) + len(more)):
            fit = scaling.fit("chinchilla", {k: v[:count] for k, v in data.items()}, loss="squared")
            best = scaling.frontier(fit, target["C"])
            at = scaling.frontier(exact, target["C"])
            value = float(fit.predict({"N": at.N, "D": at.D})) if of == "value" else best.N
            row.append(np.log(value))
        found.append(row)
    spread = np.std(found, axis=0, ddof=1)
    # A standard deviation of n draws has a relative standard error of 1 / sqrt(2 n).
    np.testing.assert_allclose(spread / predicted, 1.0, atol=3.5 / np.sqrt(2 * repeats))


def test_the_best_size_and_its_gradient_are_those_of_the_closed_form(fit):
    for C in (1e10, 1e14, 1e19):
        N, slope = design.best_size(fit, C)
        assert N == pytest.approx(float(scaling.frontier(fit, C).N), rel=1e-6)
        for k, name in enumerate(fit.law.params):
            up, down = (
                float(np.log(scaling.frontier({**fit.params, name: fit.params[name] * r}, C).N))
                for r in (np.exp(1e-4), np.exp(-1e-4))
            )
            assert slope[k] == pytest.approx((up - down) / 2e-4, rel=1e-4, abs=1e-6)


def test_a_design_that_leaves_the_target_open_is_infinitely_wide():
    N = np.geomspace(1e4, 1e6, 12)
    fit = scaling.fit("chinchilla", runs(1, N, np.full(12, 1e6)), loss="squared")
    n, d = np.array([1e5, 1e5, 1e5]), np.array([1e6, 4e6, 1.6e7])
    arguments = {"target": TARGET, "candidates": {"N": n, "D": d}, "noise": NOISE}
    plan = design.next_runs(fit, **arguments, cost=6 * n * d, budget=1e15, runs=3)
    assert plan.half_width_before == np.inf
    assert plan.half_width_after[0] == np.inf
    within = design.next_runs(
        fit, target={"N": 3e5, "D": 1e6}, candidates={"N": n, "D": d}, noise=NOISE,
        cost=6 * n * d, budget=1e15, runs=1,
    )  # fmt: skip
    assert np.isfinite(within.half_width_before)  # on the design the law is known


def test_rows_of_one_run_count_as_one():
    N, D = grid()
    data = runs(0, N, D)
    single = scaling.fit("chinchilla", data, loss="squared")
    twice = {name: np.repeat(x, 2) for name, x in data.items()}
    same = scaling.fit("chinchilla", {**twice, "run": np.repeat(np.arange(25), 2)}, loss="squared")
    apart = scaling.fit("chinchilla", twice, loss="squared")
    widths = [
        design.next_runs(
            f, target=TARGET, candidates={"N": [1e6], "D": [1e7]}, cost=[1.0], budget=1.0,
            noise=NOISE,
        ).half_width_before
        for f in (single, same, apart)
    ]  # fmt: skip
    assert widths[1] == pytest.approx(widths[0], rel=1e-6)
    assert widths[2] == pytest.approx(widths[0] / np.sqrt(2), rel=1e-6)


def test_the_factor_of_the_loss_is_that_of_its_definition():
    """E psi^2 / (E psi')^2 by quadrature; 1 for least squares and pi / 2 for l1."""
    z = np.linspace(-12, 12, 2_000_001)
    weight = stats.norm.pdf(z) * (z[1] - z[0])
    for k in (0.05, 0.3, 1.0, 3.0):
        expected = np.sum(np.clip(z, -k, k) ** 2 * weight) / np.sum((abs(z) < k) * weight) ** 2
        assert design.loss_inflation("huber", k * 0.02, 0.02) == pytest.approx(expected, rel=1e-4)
    assert design.loss_inflation("squared", None, 0.02) == 1.0
    assert design.loss_inflation("l1", None, 0.02) == pytest.approx(np.pi / 2, rel=1e-6)
    assert design.loss_inflation("huber", 1e-5 * 1.001, 0.01) == pytest.approx(
        design.loss_inflation("huber", 1e-5 * 0.999, 0.01), rel=1e-5
    )  # where the formula changes to its series


def test_a_law_of_one_column():
    x = np.geomspace(1, 100, 12)
    y = 3 * x**-0.5 * np.exp(0.01 * np.random.default_rng(0).standard_normal(12))
    fit = scaling.fit("m1", {"x": x, "y": y}, loss="squared")
    plan = design.next_runs(
        fit, target={"x": 1e4}, candidates={"x": [1.0, 50.0, 500.0]}, cost=[1.0, 1.0, 1.0],
        budget=1.0, noise=0.01,
    )  # fmt: skip
    assert plan.rows == (2,)  # the farthest run says most of a slope


@pytest.mark.slow
def test_a_law_of_compute_and_ratio_is_planned_in_n_and_d(fit):
    """The form gadre reads C and M; with alpha = beta it is chinchilla."""
    gadre = scaling.fit("gadre", {n: fit.data[n] for n in ("N", "D", "loss")}, loss="squared")
    N, D = grid((1e5, 1e6), (2e6, 2e7), 4)
    arguments = {"candidates": {"N": N, "D": D}, "cost": 6 * N * D, "budget": 1e14, "runs": 2}
    at = design.next_runs(gadre, target=TARGET, noise=NOISE, **arguments)
    ratio = {"C": 6 * TARGET["N"] * TARGET["D"], "M": TARGET["D"] / TARGET["N"]}
    same = design.next_runs(gadre, target=ratio, noise=NOISE, **arguments)
    assert same.rows == at.rows
    assert same.half_width_before == pytest.approx(at.half_width_before, rel=1e-9)
    best = design.next_runs(gadre, target={"C": 1e14}, of="size", noise=NOISE, **arguments)
    p = gadre.params  # min over M of a M^eta + b M^-eta: M = (b/a)^(1/(2 eta)), N = (C/6M)^1/2
    M = (p["b"] / p["a"]) ** (1 / (2 * p["eta"]))
    assert best.value == pytest.approx(np.sqrt(1e14 / 6 / M), rel=1e-5)


def test_a_term_that_is_switched_off_is_named():
    N, D = grid()
    fit = scaling.fit("chinchilla", {"N": N, "D": D, "loss": 30 * N**-0.3}, loss="squared")
    plan = design.next_runs(
        fit, target=TARGET, candidates={"N": [1e6], "D": [1e7]}, cost=[1.0], budget=1.0, noise=NOISE
    )
    assert set(plan.fixed) == {n for n, v in fit.params.items() if v == 0}
    assert np.isfinite(plan.half_width_before)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"budget": -1.0}, "budget = -1.0; accepted are positive"),
        ({"budget": 1.0}, "no candidate is within it; the cheapest costs 6e"),
        ({"noise": 0.0}, "noise = 0.0"),
        ({"runs": 0}, "runs = 0; accepted are whole numbers"),
        ({"level": 95}, "level = 95"),
        ({"cost": [1.0, 2.0]}, "cost has shape"),
        ({"cost": [0.0]}, "cost holds a value"),
        ({"target": {"N": 1e6}}, "accepted are N and D, or C"),
        ({"target": {"C": -1.0}}, "target C = -1.0"),
        ({"of": "width"}, "of = 'width'"),
        ({"of": "size"}, "needs a target with C"),
        ({"candidates": {"N": [1e6]}}, "'D' is missing"),
    ],
)
def test_arguments_that_cannot_be_used(fit, change, reason):
    arguments = {
        "target": TARGET, "candidates": {"N": [1e6], "D": [1e7]}, "cost": [6e13],
        "budget": 1e14, "noise": NOISE, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=reason):
        design.next_runs(fit, **arguments)
