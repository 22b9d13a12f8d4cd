"""The published laws, written out in NumPy with no code of the package, and a design for each."""

from __future__ import annotations

import numpy as np
from scipy import optimize


def _m4(p, x):
    def one(value):
        def miss(t):  # e = e_inf + (e0 - e_inf) / (1 + exp(-t)), to keep the ends apart
            above = (p["e0"] - p["e_inf"]) / (1 + np.exp(-t))
            below = (p["e0"] - p["e_inf"]) / (1 + np.exp(t))
            return np.log(above) - p["a"] * np.log(below) - np.log(p["b"]) - p["c"] * np.log(value)

        t = optimize.brentq(miss, -60, 60, xtol=1e-13)
        return p["e_inf"] + (p["e0"] - p["e_inf"]) / (1 + np.exp(-t))

    return np.array([one(value) for value in np.ravel(x["x"])])


def _bnsl(p, x):
    y = p["b"] * x["x"] ** -p["c0"]
    for i in range(1, 1 + sum(name[0] == "d" for name in p)):
        y = y * (1 + (x["x"] / p[f"d{i}"]) ** (1 / p[f"f{i}"])) ** (-p[f"c{i}"] * p[f"f{i}"])
    return p["a"] + y


def _muennighoff(p, x):
    repeats = np.maximum(x["D"] / x["U"] - 1, 0)
    seen = np.minimum(x["D"], x["U"])
    effective = seen + x["U"] * p["R_star"] * (1 - np.exp(-repeats / p["R_star"]))
    return p["E"] + p["A"] / x["N"] ** p["alpha"] + p["B"] / effective ** p["beta"]


FORMULAS = {
    "chinchilla": lambda p, x: (
        p["E"] + p["A"] / x["N"] ** p["alpha"] + p["B"] / x["D"] ** p["beta"]
    ),
    "m1": lambda p, x: p["b"] * x["x"] ** p["c"],
    "m2": lambda p, x: p["b"] * x["x"] ** p["c"] + p["e_inf"],
    "m3": lambda p, x: p["b"] * (1 / x["x"] + p["g"]) ** p["c"],
    "m4": _m4,
    "henighan": lambda p, x: p["L_inf"] + (p["x0"] / x["x"]) ** p["a"],
    "kaplan": lambda p, x: (
        ((p["N_c"] / x["N"]) ** (p["alpha_N"] / p["alpha_D"]) + p["D_c"] / x["D"]) ** p["alpha_D"]
    ),
    "kaplan_steps": lambda p, x: (
        (p["N_c"] / x["N"]) ** p["alpha_N"] + (p["S_c"] / x["S"]) ** p["alpha_S"]
    ),
    "gadre": lambda p, x: (
        p["E"] + (p["a"] * x["M"] ** p["eta"] + p["b"] * x["M"] ** -p["eta"]) * x["C"] ** -p["eta"]
    ),
    "muennighoff": _muennighoff,
    "shape": lambda p, x: (
        p["a"] * x["x"] ** -p["p"]
        + (p["b"] * x["x"] ** p["q"] + p["xi"]) * x["t"] ** -p["c"]
        + p["e"]
    ),
    "critical_batch": lambda p, x: p["S_min"] * (1 + p["E_min"] / p["S_min"] / x["B"]),
    "bnsl": _bnsl,
    "bnsl2": _bnsl,
    "bnsl3": _bnsl,
}
