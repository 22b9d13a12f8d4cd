"""Where to start: the best nodes of a grid over the exponents, for every replicate at once.

Given its exponents a law is linear in its coefficients. At each node g of a grid the robust fit
of the full data is found by iteratively reweighted least squares on f/y - 1 (for small residuals
minus the log residual). Its weights a_gi = psi(r)/r define a quadratic that lies above the loss,

    Q_g(c) = sum_i m_i [rho(r_gi) - a_gi r_gi^2 / 2 + a_gi (1 - sum_k c_k b_gik)^2 / 2],
    b_gik = phi_gik / y_i,

for any row multiplicities m. Its normal equations are linear in m, so those of all replicates are
one matrix product (variable projection; Golub and Pereyra, 1973). Coefficients are kept
nonnegative by trying every subset of terms. Starts are the lowest local minima of min_c Q_g over
the grid, then the lowest other nodes.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from theory.scaling import small_spd
from theory.scaling.basis import Basis, Structure, log_phi
from theory.scaling.form import Form, Positive, Scale
from theory.scaling.losses import Shape, pieces
from theory.scaling.problem import Problem

NODES = {0: 1, 1: 96, 2: 24, 3: 12}  # nodes an exponent, by number of exponents
SCATTERED = 4096  # nodes in all, for more exponents
REWEIGHTINGS = 12
LARGEST = 300.0  # of log(phi / y): beyond it a node is hopeless, and its square would overflow
SMALLEST = 1.0 / 150.0  # of the domain's far end: the node of least |exponent|


class Nodes(NamedTuple):
    """Where to look."""

    values: Float[np.ndarray, "nodes exponents"]  # as the solver has them
    shape: tuple[int, ...]  # of the grid
    scattered: bool  # no grid: neighbours in the list are no neighbours in space


def nodes(form: Form, problem: Problem) -> Nodes:
    """A grid over up to three nonlinear parameters, scattered nodes (Sobol) over more.

    Exponents are covered evenly in log |e|, positive parameters in log, and scales evenly over the
    range of the data.
    """
    names = form.exponents
    count = NODES.get(len(names), 64)
    axes = [_nodes_of(form, problem, name, count) for name in names]
    if len(names) in NODES:
        if not axes:
            return Nodes(np.zeros((1, 0)), (1,), False)
        mesh = np.meshgrid(*axes, indexing="ij")
        shape = tuple(len(a) for a in axes)
        return Nodes(np.stack([m.ravel() for m in mesh], axis=1), shape, False)
    from scipy.stats import qmc  # slow to import

    places = qmc.Sobol(len(names), scramble=False).random(SCATTERED)
    index = np.minimum((places * count).astype(int), count - 1)
    values = np.stack([axis[index[:, j]] for j, axis in enumerate(axes)], axis=1)
    return Nodes(values, (len(values),), True)


def _nodes_of(form: Form, problem: Problem, name: str, count: int) -> np.ndarray:
    span = form.domain[name]
    if isinstance(span, Scale):
        x = problem.u[form.columns.index(span.column)][problem.weights > 0]
        room = 0.5 * min(span.margin, 1.0) * max(float(np.ptp(x)), 1.0)
        return np.linspace(np.min(x) - room, np.max(x) + room, count)
    if isinstance(span, Positive):
        return np.linspace(np.log(span.low), np.log(span.high), count)
    assert isinstance(span, tuple)
    return _axis(*span, count)  # pyright: ignore


def _axis(low: float, high: float, nodes: int) -> np.ndarray:
    far = max(abs(low), abs(high))

    def positive(start: float, stop: float, count: int) -> np.ndarray:
        return np.geomspace(max(start, far * SMALLEST), stop, count)

    if low >= 0:
        return positive(low, high, nodes)
    if high <= 0:
        return -positive(-high, -low, nodes)[::-1]
    left = positive(0.0, -low, nodes // 2)
    return np.concatenate([-left[::-1], positive(0.0, high, nodes - nodes // 2)])


def _basis(
    structure: Structure,
    nodes: Float[Array, "nodes exponents"],
    u: Float[Array, "columns rows"],
    v: Float[Array, "rows"],
) -> list[Float[Array, "nodes rows"]]:
    """b_gik = phi_gik / y_i, one array a term."""
    if isinstance(structure, Basis):
        phi = jax.vmap(lambda eta: jnp.stack(log_phi(structure, eta, u)))(nodes)
        return [jnp.exp(jnp.clip(phi[:, k] - v, -LARGEST, LARGEST)) for k in range(phi.shape[1])]
    basis = []
    for factors in structure:
        z = jnp.zeros((nodes.shape[0], v.shape[0])) - v
        for column, exponent, sign in factors:
            z = z + sign * nodes[:, exponent, None] * u[column]
        basis.append(jnp.exp(z))
    return basis


def _nonnegative(
    normal: dict[tuple[int, int], Array], moment: list[Array]
) -> tuple[Float[Array, "terms *batch"], Float[Array, "*batch"]]:
    """min over c >= 0 of c' N c / 2 - h' c: the best feasible subset of terms.

    Returns:
      c and the minimum.
    """
    terms = len(moment)
    best_c = jnp.zeros((terms, *moment[0].shape))
    best = jnp.zeros_like(moment[0])
    for size in range(1, terms + 1):
        for subset in combinations(range(terms), size):
            # A ridge at the level of rounding keeps nearly parallel terms solvable.
            matrix = [
                [normal[p, q] * (1.0 + 1e-12 * (p == q)) for q in subset if q <= p] for p in subset
            ]
            rhs = [moment[p] for p in subset]
            c, definite = small_spd.solve(matrix, rhs)
            value = -0.5 * sum(a * b for a, b in zip(c, rhs, strict=True))
            feasible = definite & (value < best)
            for a in c:
                feasible &= a >= 0
            best = jnp.where(feasible, value, best)
            full = [jnp.zeros_like(best)] * terms
            for p, a in zip(subset, c, strict=True):
                full[p] = a
            best_c = jnp.where(feasible, jnp.stack(full), best_c)
    return best_c, best


@partial(jax.jit, static_argnames=("structure",))
def reweight(
    structure: Structure,
    nodes: Float[Array, "nodes exponents"],
    u: Float[Array, "columns rows"],
    v: Float[Array, "rows"],
    w: Float[Array, "rows"],
    shape: Shape,
) -> tuple[Float[Array, "nodes rows"], Float[Array, "nodes rows"], Float[Array, ""]]:
    """Robust weights of every row at every node, fitted to the full data.

    Returns:
      a_gi; the constant rho(r_gi) - a_gi r_gi^2 / 2; and the residual scale, the least over nodes
      of the weighted mean |r|.
    """
    basis = _basis(structure, nodes, u, v)

    def fit(a: Float[Array, "nodes rows"]) -> Float[Array, "nodes rows"]:
        aw = a * w
        normal = {
            (p, q): jnp.sum(aw * basis[p] * basis[q], axis=1)
            for p in range(len(basis))
            for q in range(p + 1)
        }
        moment = [jnp.sum(aw * b, axis=1) for b in basis]
        c, _ = _nonnegative(normal, moment)
        total = sum(c[k][:, None] * basis[k] for k in range(len(basis)))
        return -jnp.log(jnp.maximum(total, 1e-300))

    def iterate(_step: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        r, width, _ = carry
        r = fit(pieces(r, Shape(width, shape.tau)).curvature)
        scale = jnp.min(jnp.sum(w * jnp.abs(r), axis=1)) / jnp.sum(w)
        # No sharper than the noise: these are only starts. Above zero for data without noise.
        return r, jnp.maximum(jnp.maximum(shape.delta, 0.3 * scale), 1e-14), scale

    start = (jnp.zeros_like(basis[0]), jnp.asarray(jnp.inf), jnp.zeros(()))
    r, width, scale = lax.fori_loop(0, REWEIGHTINGS, iterate, start)
    loss = pieces(r, Shape(width, shape.tau))
    return loss.curvature, loss.rho - 0.5 * loss.curvature * r**2, scale


@partial(jax.jit, static_argnames=("structure", "shape", "scattered", "starts"))
def screen(
    structure: Structure,
    shape: tuple[int, ...],
    scattered: bool,
    nodes: Float[Array, "nodes exponents"],
    u: Float[Array, "columns rows"],
    v: Float[Array, "rows"],
    m: Float[Array, "replicates rows"],
    a: Float[Array, "nodes rows"],
    constant: Float[Array, "nodes rows"],
    *,
    starts: int,
) -> Float[Array, "replicates starts params"]:
    """The starts of every replicate, best first."""
    basis = _basis(structure, nodes, u, v)
    terms = len(basis)
    pairs = [(p, q) for p in range(terms) for q in range(p + 1)]
    fields = [a * basis[p] * basis[q] for p, q in pairs]
    fields += [a * b for b in basis] + [constant + 0.5 * a]
    moments = jnp.einsum("rn,fgn->frg", m, jnp.stack(fields))
    normal = {pair: moments[i] for i, pair in enumerate(pairs)}
    moment = [moments[len(pairs) + k] for k in range(terms)]
    c, drop = _nonnegative(normal, moment)
    value = moments[-1] + drop

    tall = value.reshape(-1, *shape)
    reach = 1 if scattered else 3
    lowest = lax.reduce_window(
        tall, jnp.inf, lax.min, (1, *(reach for _ in shape)), (1,) * tall.ndim, "SAME"
    )
    local = (tall <= lowest).reshape(value.shape)
    spread = jnp.max(value, axis=1, keepdims=True) - jnp.min(value, axis=1, keepdims=True)
    chosen: Int[Array, "replicates starts"] = lax.top_k(
        -jnp.where(local, value, value + spread), starts
    )[1]
    picked = jnp.take_along_axis(c, chosen[None], axis=2)  # (terms, replicates, starts)
    return jnp.concatenate([jnp.moveaxis(picked, 0, -1), nodes[chosen]], axis=-1)
