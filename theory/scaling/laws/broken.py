"""Smoothly broken power laws.

    y = a + b x^-c0 prod_i (1 + (x / d_i)^(1/f_i))^(-c_i f_i)

In log x the slope goes from -c0 to -c0 - c1 around d1, over a width f1, and so on.

Reference: Caballero et al. (2023), Broken Neural Scaling Laws, equation 1.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from theory.scaling.form import Form, Positive, Report, Scale, Term, Values

PLACES = np.linspace(0.08, 0.92, 8)  # of a further break, as fractions of the range of log x
WIDTHS = (0.1, 0.4)  # its width f, as a fraction of that range
TURNS = (-0.5, 0.5)  # its change of slope


def _broken(breaks: int) -> Any:
    def log_basis(p: Values, x: Values) -> Array:
        out = -p["c0"] * x["x"]
        for i in range(1, breaks + 1):
            f = p[f"f{i}"]
            out = out - p[f"c{i}"] * f * jax.nn.softplus((x["x"] - p[f"d{i}"]) / f)
        return out

    return log_basis


def _one_more(breaks: int) -> Any:
    """Starts with a break more: `breaks - 1` of them as they are, one anywhere."""

    def starts(p: Values, x: Values) -> dict[str, np.ndarray]:
        low, high = float(np.min(x["x"])), float(np.max(x["x"]))
        grid = [
            (low + place * (high - low), max(width * (high - low), 0.05), turn)
            for place in PLACES
            for width in WIDTHS
            for turn in TURNS
        ]
        out = {name: np.full(len(grid), float(value)) for name, value in p.items()}
        d, f, c = np.array(grid).T
        # The slope turns at d; half of the turn is taken from the rest, so that y hardly moves.
        return {
            **out,
            "c0": out["c0"] - 0.5 * c,
            f"c{breaks}": c,
            f"d{breaks}": d,
            f"f{breaks}": np.log(np.clip(f, 0.02, 10.0)),
            "b": out["b"] * np.exp(0.5 * c * np.maximum(-d, 0.0)),
        }

    return starts


def _report(breaks: int) -> Report:
    """Breaks in the order of their places: which is called first means nothing to the solver."""
    if breaks == 1:
        names = ("a", "b", "c0", "c1", "d1", "f1")
        return Report(_positive(names), lambda p: {n: p[n] for n in names}, dict)

    def of(p: Values) -> dict[str, Any]:
        place = [p[f"d{i}"] for i in range(1, breaks + 1)]
        order = jnp.argsort(jnp.stack(place), axis=0)
        out = {n: p[n] for n in ("a", "b", "c0")}
        for kind in "cdf":
            stacked = jnp.stack([p[f"{kind}{i}"] for i in range(1, breaks + 1)])
            moved = jnp.take_along_axis(stacked, order, axis=0)
            out |= {f"{kind}{i}": moved[i - 1] for i in range(1, breaks + 1)}
        return {name: out[name] for name in _names(breaks)}

    return Report(_positive(_names(breaks)), of, dict)


def _names(breaks: int) -> tuple[str, ...]:
    each = (f"{kind}{i}" for i in range(1, breaks + 1) for kind in "cdf")
    return ("a", "b", "c0", *each)


def _positive(names: tuple[str, ...]) -> dict[str, bool]:
    return {name: name[0] in "abdf" for name in names}


def broken(breaks: int) -> Form:
    """The law with one, two or more breaks."""
    domain: dict[str, Any] = {"c0": (-3.0, 5.0)}
    for i in range(1, breaks + 1):
        domain |= {f"c{i}": (-5.0, 5.0), f"d{i}": Scale("x", 0.3), f"f{i}": Positive(0.02, 10.0)}
    product = " ".join(
        f"(1 + (x/d{i})^(1/f{i}))^(-c{i} f{i})" for i in range(1, breaks + 1)
    )
    return Form(
        name="bnsl" if breaks == 1 else f"bnsl{breaks}",
        target="y",
        terms=(Term("a"), Term("b", log_basis=_broken(breaks))),
        domain=domain,
        inputs=("x",),
        text=f"a + b x^-c0 {product}",
        report=_report(breaks),
        simpler=None if breaks == 1 else (broken(breaks - 1), _one_more(breaks)),
    )


BNSL, BNSL2, BNSL3 = broken(1), broken(2), broken(3)
