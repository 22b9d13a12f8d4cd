"""M3 and M4: power laws that level off at small x.

Reference: Alabdulmohsin, Neyshabur and Zhai (2022), Revisiting Neural Scaling Laws, section 3.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from theory.scaling.form import Form, Report, Scale, Term, Values

SOLVE = (
    6  # Newton steps: from four on nothing changes beyond rounding, for every a, r and z in the box
)
POLISH = 2  # Newton steps that are differentiated: they make first and second derivatives exact


def _m3(p: Values, x: Values) -> Array:
    return p["c"] * jnp.logaddexp(-x["x"], -p["s"])


M3 = Form(
    name="m3",  # y = b (1/x + g)^c
    target="y",
    terms=(Term("b", log_basis=_m3),),
    domain={"s": Scale("x", margin=1.5), "c": (0.0, 5.0)},
    inputs=("x",),
    text="b (1/x + g)^c",
    report=Report(
        params={"b": True, "g": True, "c": False},
        of=lambda p: {"b": p["b"], "g": 1 / p["s"], "c": p["c"]},
        back=lambda q: {"b": q["b"], "s": 1 / q["g"], "c": q["c"]},
        words={"s": "1/g"},
    ),
)


def level(z: Array, a: Array, r: Array) -> Array:
    """log phi of (phi - r) / (1 - phi)^a = exp(z), phi between r and 1.

    With phi = r + (1 - r) sigmoid(t) the equation is softplus(-t) - a softplus(t) = (1 - a)
    log(1 - r) - z, monotone in t with slope between 1 and a.
    """
    goal = z - (1.0 - a) * jnp.log1p(-r)

    def step(t: Array, goal: Array, a: Array) -> Array:
        miss = goal + jax.nn.softplus(-t) - a * jax.nn.softplus(t)
        return t + miss / (jax.nn.sigmoid(-t) + a * jax.nn.sigmoid(t))

    def iterate(_: int, t: Array) -> Array:
        return jnp.clip(step(t, *fixed), -800.0, 800.0 / jnp.minimum(fixed[1], 1.0))

    # Softplus terms are convex: from the asymptote on the right side Newton cannot overshoot far.
    fixed = (lax.stop_gradient(goal), lax.stop_gradient(a))
    t = jnp.where(fixed[0] > 0, fixed[0] / fixed[1], fixed[0])
    t = lax.stop_gradient(lax.fori_loop(0, SOLVE, iterate, t))
    for _ in range(POLISH):
        t = step(t, goal, a)
    return jnp.log(r + (1.0 - r) * jax.nn.sigmoid(t))


def _m4(p: Values, x: Values) -> Array:
    return level(p["c"] * (x["x"] - p["s"]), p["a"], p["r"])


def _m4_of(p: Values) -> dict[str, Any]:
    b = p["e0"] ** (1 - p["a"]) * p["s"] ** -p["c"]
    return {"b": b, "c": p["c"], "e_inf": p["r"] * p["e0"], "e0": p["e0"], "a": p["a"]}


def _m4_back(q: Values) -> dict[str, Any]:
    s = (q["e0"] ** (1 - q["a"]) / q["b"]) ** (1 / q["c"])
    return {"e0": q["e0"], "s": s, "c": q["c"], "a": q["a"], "r": q["e_inf"] / q["e0"]}


M4 = Form(
    name="m4",  # (y - e_inf) / (e0 - y)^a = b x^c, from e0 at small x down to e_inf
    target="y",
    terms=(Term("e0", log_basis=_m4),),
    domain={"s": Scale("x", margin=1.5), "c": (-5.0, 0.0), "a": (0.05, 4.0), "r": (0.0, 0.999)},
    inputs=("x",),
    text="e with (e - e_inf) / (e0 - e)^a = b x^c",
    report=Report(
        params={"b": True, "c": False, "e_inf": True, "e0": True, "a": False},
        of=_m4_of,
        back=_m4_back,
        words={"s": "b", "r": "e_inf/e0"},
    ),
)
