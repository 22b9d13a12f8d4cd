"""Smoothly broken power laws.

    y = a + b x^-c0 prod_i (1 + (x / d_i)^(1/f_i))^(-c_i f_i)

In log x the slope goes from -c0 to -c0 - c1 around d1, over a width f1, and so on.

Reference: Caballero et al. (2023), Broken Neural Scaling Laws, equation 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from theory.scaling.form import Form, Positive, Report, Scale, Term, Values

PLACES = 14  # of a break, over the range of log x
WIDTHS = (0.15, 0.5, 1.5)  # f
FLOORS = (0.0, 0.5, 0.9, 0.99)  # a, as a share of the lowest y
KEPT = 400  # nodes whose residual in log y is computed


def _broken(breaks: int) -> Any:
    def log_basis(p: Values, x: Values) -> Array:
        out = -p["c0"] * x["x"]
        for i in range(1, breaks + 1):
            f = p[f"f{i}"]
            out = out - p[f"c{i}"] * f * jax.nn.softplus((x["x"] - p[f"d{i}"]) / f)
        return out

    return log_basis


def _starts(breaks: int) -> Any:
    """The best nodes over (d, f, a), where log(y - a) is linear in log b, c0, c1, ..."""

    def starts(
        x: Mapping[str, np.ndarray], v: np.ndarray, w: np.ndarray, count: int
    ) -> dict[str, np.ndarray]:
        u = x["x"]
        places = np.linspace(np.min(u), np.max(u), PLACES + 2)[1:-1]
        d, f = (grid.ravel() for grid in np.meshgrid(places, WIDTHS, indexing="ij"))
        columns = np.stack([np.ones_like(u), -u, *(-f * np.logaddexp(0, (u[:, None] - d) / f)).T])
        nodes = np.array(
            [
                [2 + len(WIDTHS) * p + k for p, k in zip(at, wide, strict=True)]
                for at in combinations(range(PLACES), breaks)
                for wide in product(range(len(WIDTHS)), repeat=breaks)
            ]
        )
        used = np.concatenate(
            [np.zeros((len(nodes), 1), int), np.ones_like(nodes[:, :1]), nodes], 1
        )
        gram = (columns * w) @ columns.T
        matrix = gram[used[:, :, None], used[:, None]]
        size = np.sqrt(np.einsum("npp->np", matrix))
        matrix = matrix / size[:, :, None] / size[:, None] + 1e-9 * np.eye(used.shape[1])
        found = []
        for share in FLOORS:
            floor = share * float(np.exp(np.min(v[w > 0])))
            # To first order d log y = (y - a)/y d log(y - a): rows near the floor count less.
            target = np.log(np.maximum(np.exp(v) - floor, 1e-12))
            moment = ((columns * w) @ target)[used] / size
            solved = np.linalg.solve(matrix, moment[..., None])[..., 0]
            left = float(w @ target**2) - np.sum(moment * solved, axis=1)
            best = np.argsort(left)[:KEPT]
            linear = solved[best] / size[best]
            fitted = np.einsum("np,npr->nr", linear, columns[used[best]])
            miss = (v - np.log(floor + np.exp(np.clip(fitted, -300, 300)))) ** 2 @ w
            found += [(m, floor, c, n) for m, c, n in zip(miss, linear, nodes[best], strict=True)]
        found.sort(key=lambda item: item[0])
        rows = [
            [floor, np.exp(c[0]), c[1], *(
                part for i, k in enumerate(n) for part in (c[2 + i], d[k - 2], np.log(f[k - 2]))
            )]
            for _, floor, c, n in found[:count]
        ]  # fmt: skip
        return dict(zip(_names(breaks), np.array(rows).T, strict=True))

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
    product = " ".join(f"(1 + (x/d{i})^(1/f{i}))^(-c{i} f{i})" for i in range(1, breaks + 1))
    return Form(
        name="bnsl" if breaks == 1 else f"bnsl{breaks}",
        target="y",
        terms=(Term("a"), Term("b", log_basis=_broken(breaks))),
        domain=domain,
        inputs=("x",),
        text=f"a + b x^-c0 {product}",
        report=_report(breaks),
        starts=_starts(breaks),
    )


BNSL, BNSL2, BNSL3 = broken(1), broken(2), broken(3)
