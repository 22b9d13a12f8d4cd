"""Damped Newton on many fits at once, each to its own local minimum.

Minimizes F(theta) = sum_i w_i rho(v_i - log S_i), S_i = sum_k c_k phi_ik,
phi_ik = exp(sum_j e_j T_ikj), over theta = (c, e) in a box (c >= 0). With J_p = d log S / d theta_p
and M_pq = (d^2 S / d theta_p d theta_q) / S,

    g_p  = -sum_i w psi J_p
    H_pq =  sum_i w (psi' + psi) J_p J_q - w psi M_pq          the exact Hessian
    G_pq =  sum_i w (psi / r) J_p J_q                          that of the quadratic majorizer

A step solves (H + lam G) s = -g on the parameters that the box leaves free. Damping by G, which is
positive semidefinite and transforms as H does, makes every decision below independent of the units
and of the scale of the parameters (but for a ridge of lam diag(G) / 1000). For large lam the step
is a short step of iteratively reweighted least squares, which descends even where H does not see
the kinks of a nearly-L1 loss.

Layout: parameters lead and the batch is last, except for the rows of the data, which are last
everywhere: H and G are then one batched matrix product of J with its weighted copies.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from theory.scaling import general, small_spd
from theory.scaling.basis import Factor, Structure
from theory.scaling.general import Pull, Pulled
from theory.scaling.local import Host, Local
from theory.scaling.losses import Shape, pieces

TOLERANCE = 1e-15  # of F: the decrease that a full step still promises at convergence
STALL = 1e-10  # a step that fails though it promises less than this share of F is rounding
ROUNDING = 1e-30  # per unit of weight: half the square of a residual of a few ulp
RIDGE = 1e-3  # of diag G, on top of G in the damping: a singular G still damps
LAMBDA_START, LAMBDA_MIN, LAMBDA_MAX = 1e-3, 1e-9, 1e12


class State(NamedTuple):
    """Where every problem stands."""

    theta: Float[Host, "params batch"]
    local: Local
    lam: Float[Host, "batch"]
    done: Bool[Host, "batch"]
    fresh: Bool[Host, "batch"]  # local has not been evaluated yet
    steps: Int[Host, "batch"]


def _design(
    structure: tuple[tuple[Factor, ...], ...], u: Float[Array, "columns rows"]
) -> list[dict[int, Array]]:
    """For each term, exponent index -> T, (rows,): the derivative of log phi."""
    design: list[dict[int, Array]] = []
    for factors in structure:
        entry: dict[int, Array] = {}
        for column, exponent, sign in factors:
            entry[exponent] = entry.get(exponent, 0.0) + sign * u[column]
        design.append(entry)
    return design


def evaluate(
    structure: Structure | Pulled,
    theta: Float[Host, "params batch"],
    u: Float[Array, "columns rows"],
    v: Float[Array, "rows"],
    w: Float[Array, "batch rows"],
    shape: Shape,
    pull: Pull | None = None,
) -> Local:
    """F, g, H and G at theta."""
    if not isinstance(structure, tuple):
        return general.evaluate(structure, theta, u, v, w, shape, pull)
    terms = len(structure)
    params = theta.shape[0]
    design = _design(structure, u)
    ones = jnp.ones(w.shape)
    phi = [
        jnp.exp(sum(theta[terms + j][:, None] * t for j, t in entry.items())) if entry else ones
        for entry in design
    ]
    total = sum(theta[k][:, None] * phi[k] for k in range(terms))
    loss = pieces(v - jnp.log(total), shape)
    inverse = 1.0 / total
    ratio = [p * inverse for p in phi]
    share = [theta[k][:, None] * ratio[k] for k in range(terms)]

    slope = ratio + [
        sum(share[k] * entry[j] for k, entry in enumerate(design) if j in entry)
        for j in range(params - terms)
    ]
    # M_pq where it is not zero; (exponent, coefficient) and (exponent, exponent) with p >= q.
    second: dict[tuple[int, int], Array] = {}
    for k, entry in enumerate(design):
        for j, t in entry.items():
            second[terms + j, k] = ratio[k] * t
            for i, other in entry.items():
                if i <= j:
                    at = (terms + j, terms + i)
                    second[at] = second.get(at, 0.0) + share[k] * t * other

    J = jnp.stack(slope, axis=1)  # (batch, params, rows)
    w_psi = w * loss.psi
    w_exact = w * (loss.psi_prime + loss.psi)
    weighted = jnp.concatenate([J * w_exact[:, None], J * (w * loss.curvature)[:, None]], axis=1)
    squares = jnp.einsum("bpn,bqn->pqb", weighted, J)  # the batch dimension of one matrix product
    sums = jnp.einsum("bn,bqn->qb", w_psi, jnp.stack([*slope, *second.values()], axis=1))
    rows, cols = zip(*[(p, q) for p in range(params) for q in range(p + 1)], strict=True)
    hessian = list(squares[jnp.array(rows), jnp.array(cols)])
    for (p, q), value in zip(second, sums[params:], strict=True):
        hessian[p * (p + 1) // 2 + q] -= value
    return Local(
        value=jnp.sum(w * loss.rho, axis=1),
        gradient=-sums[:params],
        hessian=jnp.stack(hessian),
        majorizer=squares[jnp.array(rows) + params, jnp.array(cols)],
    )


def _step(
    theta: Float[Host, "params batch"],
    local: Local,
    lam: Float[Host, "batch"],
    low: Float[Array, "params"],
    high: Float[Array, "params"],
) -> tuple[Array, Float[Array, "batch"], Float[Array, "batch"], Bool[Array, "batch"]]:
    """The damped step inside the box, the decrease it promises and would promise without the box,
    and whether it exists."""
    params = theta.shape[0]

    def at(flat: Host, p: int, q: int) -> Array:
        p, q = max(p, q), min(p, q)
        return flat[p * (p + 1) // 2 + q]

    free = []
    for p in range(params):
        held = (theta[p] <= low[p]) & (local.gradient[p] > 0)
        held |= (theta[p] >= high[p]) & (local.gradient[p] < 0)
        free.append(~held & (at(local.majorizer, p, p) > 0))
    damped = [
        [
            jnp.where(
                free[p] & free[q],
                at(local.hessian, p, q)
                + lam * at(local.majorizer, p, q) * (1.0 + RIDGE * (p == q)),
                1.0 if p == q else 0.0,
            )
            for q in range(p + 1)
        ]
        for p in range(params)
    ]
    rhs = [jnp.where(free[p], -local.gradient[p], 0.0) for p in range(params)]
    step, definite = small_spd.solve(damped, rhs)
    whole = jnp.stack(step)
    moved = jnp.clip(theta + whole, low[:, None], high[:, None]) - theta

    def promise(s: Array) -> Array:
        curved = [sum(at(local.hessian, p, q) * s[q] for q in range(params)) for p in range(params)]
        return -jnp.sum(s * (local.gradient + 0.5 * jnp.stack(curved)), axis=0)

    return moved, promise(moved), promise(whole), definite & jnp.all(jnp.isfinite(moved), axis=0)


@partial(jax.jit, static_argnames=("structure", "steps"))
def advance(
    structure: Structure | Pulled,
    state: State,
    u: Float[Array, "columns rows"],
    v: Float[Array, "rows"],
    w: Float[Array, "batch rows"],
    low: Float[Array, "params"],
    high: Float[Array, "params"],
    shape: Shape,
    pull: Pull | None = None,
    *,
    steps: int,
) -> State:
    """Up to `steps` iterations of every problem; fewer when all are done."""
    floor = ROUNDING * jnp.sum(w, axis=1)

    def iterate(carry: tuple[Int[Array, ""], State]) -> tuple[Int[Array, ""], State]:
        count, s = carry
        moved, promised, unboxed, exists = _step(s.theta, s.local, s.lam, low, high)
        moved = jnp.where(s.fresh | s.done | ~exists, 0.0, moved)
        trial = evaluate(structure, s.theta + moved, u, v, w, shape, pull)
        gain = s.local.value - trial.value
        accept = ~s.done & (s.fresh | (exists & (gain > 0) & jnp.isfinite(trial.value)))
        theta = jnp.where(accept, s.theta + moved, s.theta)
        local = jax.tree.map(lambda new, old: jnp.where(accept, new, old), trial, s.local)

        quality = gain / jnp.where(promised > 0, promised, 1.0)
        eased = jnp.where(quality > 0.75, s.lam / 10.0, jnp.where(quality < 0.25, s.lam * 3, s.lam))
        lam = jnp.where(accept, eased, 4.0 * jnp.maximum(s.lam, 1e-4))
        lam = jnp.where(s.fresh, s.lam, jnp.clip(lam, LAMBDA_MIN, LAMBDA_MAX))

        # H + lam G is at most about (1 + lam) G, so this bounds what an undamped step promises.
        # (Without the box: a step that the box has bent may promise an increase.)
        full = unboxed * (1.0 + s.lam)
        settled = exists & (full <= TOLERANCE * s.local.value + floor)
        settled |= exists & ~accept & (full <= STALL * s.local.value + floor)
        return count + 1, State(
            theta=theta,
            local=local,
            lam=lam,
            done=s.done | (settled & ~s.fresh),
            fresh=jnp.zeros_like(s.fresh),
            steps=s.steps + jnp.where(s.done, 0, 1),
        )

    def unfinished(carry: tuple[Int[Array, ""], State]) -> Bool[Array, ""]:
        return (carry[0] < steps) & ~jnp.all(carry[1].done)

    return lax.while_loop(unfinished, iterate, (jnp.zeros((), jnp.int32), state))[1]
