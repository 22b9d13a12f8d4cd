"""The solver's parts against definitions: derivatives, tiny solves, the screen's bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import relative_max
from tests.theory.scaling.planted import chinchilla
from theory.scaling import Form, Term, forms, losses, newton, problem, screen, small_spd
from theory.scaling.losses import Shape
from theory.scaling.precision import float64_on_host

SHARED = Form(  # one exponent in two terms, and two factors in a term
    name="shared",
    target="loss",
    terms=(Term("A", {"N": "-p", "D": "q"}), Term("B", {"D": "-q"}), Term("E")),
    domain={"p": (0.0, 2.0), "q": (0.0, 2.0)},
)


def naive_value(form, theta, u, v, w, delta):
    """Weighted Huber loss of one problem, straight from the declaration of the form."""
    values = dict(zip(form.params, theta, strict=True))
    total = 0.0
    for term in form.terms:
        exponent = 0.0
        for column, power in term.powers.items():
            sign = -1.0 if power.startswith("-") else 1.0
            x = u[form.columns.index(column)]
            exponent = exponent + sign * values[power.removeprefix("-")] * x
        total = total + values[term.coefficient] * jnp.exp(exponent)
    r = v - jnp.log(total)
    inside = jnp.abs(r) <= delta
    return jnp.sum(w * jnp.where(inside, r**2 / 2, delta * (jnp.abs(r) - delta / 2)))


@pytest.mark.parametrize("form", [forms["chinchilla"], forms["m2"], SHARED], ids=lambda f: f.name)
def test_derivatives_are_those_of_the_definition(form):
    rng = np.random.default_rng(3)
    rows, batch, params = 40, 3, len(form.params)
    u, v = rng.normal(size=(len(form.columns), rows)), rng.normal(size=rows) * 0.1
    w = rng.poisson(1.0, size=(batch, rows)).astype(float)
    theta = rng.uniform(0.2, 0.6, size=(params, batch))
    lower = np.tril_indices(params)

    def value(t, weights):
        return naive_value(form, t, jnp.asarray(u), jnp.asarray(v), weights, 0.3)

    with float64_on_host():
        direct = jax.jit(
            lambda t, m: (value(t, m), jax.grad(value)(t, m), jax.hessian(value)(t, m))
        )
        local = jax.tree.map(
            np.asarray, newton.evaluate(form.structure, theta, u, v, w, Shape(0.3))
        )
        for b in range(batch):
            expected = [np.asarray(x) for x in direct(theta[:, b], w[b])]
            assert relative_max(local.value[b], expected[0]) < 1e-13
            assert relative_max(local.gradient[:, b], expected[1]) < 1e-12
            assert relative_max(local.hessian[:, b], expected[2][lower]) < 1e-12


def test_unrolled_cholesky_matches_numpy_and_reports_indefinite():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(20, 5, 5))
    matrix = root @ np.swapaxes(root, 1, 2) + 0.1 * np.eye(5)
    matrix[7] -= 20.0 * np.eye(5)
    rhs = rng.normal(size=(20, 5))
    with float64_on_host():
        rows = [[jnp.asarray(matrix[:, i, j]) for j in range(i + 1)] for i in range(5)]
        x, definite = small_spd.solve(rows, [jnp.asarray(rhs[:, i]) for i in range(5)])
        x, definite = np.stack([np.asarray(e) for e in x], axis=1), np.asarray(definite)
    expected = np.linalg.eigvalsh(matrix)[:, 0] > 0
    np.testing.assert_array_equal(definite, expected)
    assert not definite[7]
    solved = np.linalg.solve(matrix[definite], rhs[definite][..., None])[..., 0]
    assert relative_max(x[definite], solved) < 1e-10


def test_the_majorizer_lies_above_the_loss_and_touches_it():
    r = np.linspace(-1, 1, 41)
    with float64_on_host():
        for delta in (0.05, 0.3, np.inf):
            at = losses.pieces(jnp.asarray(r), Shape(delta))
            rho, curvature = np.asarray(at.rho), np.asarray(at.curvature)
            bound = rho[:, None] + 0.5 * curvature[:, None] * (r[None] ** 2 - r[:, None] ** 2)
            assert np.all(bound >= rho[None] - 1e-15)
            np.testing.assert_array_equal(np.diag(bound), rho)


def test_nonnegative_least_squares_of_the_screen_matches_scipy():
    from scipy.optimize import nnls

    rng = np.random.default_rng(5)
    basis, target = rng.normal(size=(50, 12, 3)), rng.normal(size=(50, 12))
    normal = np.einsum("gnp,gnq->gpq", basis, basis)
    moment = np.einsum("gnp,gn->gp", basis, target)
    with float64_on_host():
        entries = {(p, q): jnp.asarray(normal[:, p, q]) for p in range(3) for q in range(p + 1)}
        c, _ = screen._nonnegative(entries, [jnp.asarray(moment[:, p]) for p in range(3)])
        c = np.asarray(c).T
    expected = np.stack([nnls(b, t)[0] for b, t in zip(basis, target, strict=True)])
    assert (expected == 0).any()
    np.testing.assert_allclose(c, expected, rtol=1e-9, atol=1e-10)


def test_centring_keeps_the_law():
    data = chinchilla(30, 0, 0.01)
    form = forms["chinchilla"]
    columns = {"N": data["N"], "D": data["D"]}
    task = problem.build(form, columns, data["loss"], np.ones(30))
    theta = np.array([[0.6, 0.2, 0.3, 0.4, 0.5]])
    params = dict(zip(form.params, problem.to_user_units(form, task, theta)[0], strict=True))
    residual, slope = problem.linearize(task, theta[0])
    expected = np.log(data["loss"]) - np.log(form.predict(params, columns))
    np.testing.assert_allclose(residual[:30], expected, atol=1e-12)
    np.testing.assert_array_equal(task.weights[30:], 0)
    shifted = theta[0] + np.array([0, 1e-6, 0, 0, 1e-6])
    moved = problem.linearize(task, shifted)[0]
    np.testing.assert_allclose(residual - moved, slope @ (shifted - theta[0]), atol=1e-10)
