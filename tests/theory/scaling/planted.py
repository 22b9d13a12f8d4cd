"""Planted laws, and an independent search for the minimum by scipy."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import optimize

LARGE = {"E": 1.82, "A": 482.0, "B": 2085.0, "alpha": 0.348, "beta": 0.366}  # Besiroglu et al.
SMALL = {"E": 0.9, "A": 30.0, "B": 60.0, "alpha": 0.35, "beta": 0.38}


def chinchilla(points: int, seed: int, noise: float, *, small: bool = False) -> dict:
    """Runs with log-uniform N and D, and Student t (5 degrees) noise of log loss."""
    rng = np.random.default_rng(seed)
    law = SMALL if small else LARGE
    spans = ((4e3, 4e5), (1e5, 4e6)) if small else ((4e7, 1e10), (1e9, 4e11))
    N, D = (np.exp(rng.uniform(*np.log(span), points)) for span in spans)
    loss = law["E"] + law["A"] * N ** -law["alpha"] + law["B"] * D ** -law["beta"]
    return {"N": N, "D": D, "loss": loss * np.exp(noise * rng.standard_t(5, points))}


def objective(params, data, kind: str = "huber", delta: float = 1e-3) -> float:
    """The objective written out from its definition, with no code of the package."""
    predicted = (
        params["E"]
        + params["A"] * np.asarray(data["N"], float) ** -params["alpha"]
        + params["B"] * np.asarray(data["D"], float) ** -params["beta"]
    )
    r = np.log(data["loss"]) - np.log(predicted)
    weight = np.asarray(data.get("weight", np.ones_like(r)))
    size = np.abs(r)
    rho = {
        "huber": np.where(size <= delta, r**2 / 2, delta * (size - delta / 2)),
        "squared": r**2 / 2,
        "l1": size,
    }[kind]
    return float(np.sum(weight * rho))


def scipy_minimum(
    data, kind: str = "huber", delta: float = 1e-3, density: int = 3, steps: int = 300
) -> float:
    """Least objective over a grid of starts, L-BFGS-B in (log E, log A, log B, alpha, beta).

    The protocol of Hoffmann et al. (2022) and Besiroglu et al. (2024) with an analytic gradient,
    the sum rather than the mean of the loss scaled up so that its tolerances bite, and a restart
    from the two best ends. `density` is the number of nodes a parameter, `steps` the
    most iterations from a start.
    """
    log_n, log_d, log_y = (np.log(np.asarray(data[c], float)) for c in ("N", "D", "loss"))
    weight = np.asarray(data.get("weight", np.ones_like(log_y)))
    n0, d0, y0 = log_n.mean(), log_d.mean(), log_y.mean()
    u, t, v = log_n - n0, log_d - d0, log_y - y0

    def scaled(theta):
        z = np.stack([np.full_like(v, theta[0]), theta[1] - theta[3] * u, theta[2] - theta[4] * t])
        top = z.max(axis=0)
        share = np.exp(z - top)
        total = share.sum(axis=0)
        r = v - top - np.log(total)
        share = share / total
        if kind == "squared":
            rho, psi = r**2 / 2, r
        elif kind == "l1":
            rho, psi = np.abs(r), np.sign(r)
        else:
            size = np.minimum(np.abs(r), delta)
            rho, psi = size * (np.abs(r) - size / 2), np.clip(r, -delta, delta)
        g = np.array([share[0], share[1], share[2], -share[1] * u, -share[2] * t]) @ (-weight * psi)
        return 1e6 * np.sum(weight * rho), 1e6 * g

    bounds = [(-60, 5), (-60, 5), (-60, 5), (0, 3), (0, 3)]
    coefficients = np.linspace(-3.0, 0.0, density)
    exponents = np.linspace(0.1, 1.0, density)
    grid = itertools.product(coefficients, coefficients, coefficients, exponents, exponents)
    options = {"ftol": 1e-16, "gtol": 1e-12, "maxiter": steps, "maxfun": 20000, "maxcor": 30}
    ends = []
    for start in grid:
        end = optimize.minimize(
            scaled, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        ends.append((end.fun, end.x))
    for value, x in sorted(ends, key=lambda e: e[0])[:2]:
        end = optimize.minimize(
            lambda theta: scaled(theta)[0],
            x,
            method="Nelder-Mead",
            bounds=bounds,
            options={"xatol": 1e-12, "fatol": 1e-12, "maxiter": 5 * steps, "maxfev": 5 * steps},
        )
        ends.append((min(end.fun, value), end.x))
    return min(value for value, _ in ends) / 1e6
