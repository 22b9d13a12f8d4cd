"""Laws of two or three columns that are no sum of power laws."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from theory.scaling.form import Centre, Form, Positive, Report, Scale, Term, Values

# Kaplan et al. (2020), equation 1.5. As one coefficient K times a function in which N_c stands
# relative to a fixed D: N_c = s K^(1/alpha_N), D_c = t K^(1/alpha_D), t anywhere.


def _kaplan(p: Values, x: Values) -> Array:
    ratio = p["alpha_N"] / p["alpha_D"]
    return p["alpha_D"] * jnp.logaddexp(ratio * (p["s"] - x["N"]), p["t"] - x["D"])


def _kaplan_of(p: Values) -> dict[str, Any]:
    aN, aD = p["alpha_N"], p["alpha_D"]
    scales = {"N_c": p["s"] * p["K"] ** (1 / aN), "D_c": p["t"] * p["K"] ** (1 / aD)}
    return {**scales, "alpha_N": aN, "alpha_D": aD}


def _kaplan_back(q: Values) -> dict[str, Any]:
    return {"K": 1.0, "s": q["N_c"], "t": q["D_c"], "alpha_N": q["alpha_N"],
            "alpha_D": q["alpha_D"]}  # fmt: skip


KAPLAN = Form(
    name="kaplan",
    target="loss",
    terms=(Term("K", log_basis=_kaplan),),
    domain={
        "s": Scale("N", margin=2.0),
        "alpha_N": Positive(0.005, 2.0),
        "alpha_D": Positive(0.005, 2.0),
        "t": Centre("D"),
    },
    inputs=("N", "D"),
    text="[(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D",
    report=Report(
        params={"N_c": True, "D_c": True, "alpha_N": True, "alpha_D": True},
        of=_kaplan_of,
        back=_kaplan_back,
        words={"K": "D_c", "s": "N_c"},
    ),
)

KAPLAN_STEPS = Form(
    name="kaplan_steps",  # Kaplan et al. (2020), equation 1.6; S steps at a large batch
    target="loss",
    terms=(Term("A", {"N": "-alpha_N"}), Term("B", {"S": "-alpha_S"})),
    domain={"alpha_N": (0.0, 3.0), "alpha_S": (0.0, 3.0)},
    text="(N_c/N)^alpha_N + (S_c/S)^alpha_S",
    report=Report(
        params={"N_c": True, "S_c": True, "alpha_N": False, "alpha_S": False},
        of=lambda p: {
            "N_c": p["A"] ** (1 / p["alpha_N"]),
            "S_c": p["B"] ** (1 / p["alpha_S"]),
            "alpha_N": p["alpha_N"],
            "alpha_S": p["alpha_S"],
        },
        back=lambda q: {
            "A": q["N_c"] ** q["alpha_N"],
            "B": q["S_c"] ** q["alpha_S"],
            "alpha_N": q["alpha_N"],
            "alpha_S": q["alpha_S"],
        },
        words={"A": "N_c", "B": "S_c"},
    ),
)


def effective_tokens(D: Array, U: Array, R: Array) -> Array:
    """log D' = log[U + U R (1 - exp(-(D/U - 1)/R))] from log D and log U; log D below D = U."""
    repeats = jnp.maximum(jnp.exp(D - U) - 1.0, 0.0)
    return jnp.where(U >= D, D, U + jnp.log1p(-R * jnp.expm1(-repeats / R)))


def _repeated(p: Values, x: Values) -> Array:
    return -p["beta"] * effective_tokens(x["D"], x["U"], p["R_star"])


MUENNIGHOFF = Form(
    name="muennighoff",  # Muennighoff et al. (2023), equation 5; U unique tokens, D tokens seen
    target="loss",
    terms=(
        Term("E"),
        Term("A", {"N": "-alpha"}),
        Term("B", log_basis=_repeated, reads=("beta", "R_star")),
    ),
    domain={"alpha": (0.0, 3.0), "beta": (0.0, 3.0), "R_star": Positive(0.1, 1000.0)},
    inputs=("N", "D", "U"),
    text="E + A N^-alpha + B D'^-beta, D' = U + U R_star (1 - exp(-(D/U - 1)/R_star))",
    same_unit=(("D", "U"),),
)
