"""Functions of a fit's parameters that an interval is wanted for, to be differentiated and pulled.

Each is a function of the solver's theta and an array of constants (units of the data, new points),
so that one compiled program serves every data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.scaling.basis import log_sum
from theory.scaling.form import Form
from theory.scaling.problem import Problem, published

Quantities = Callable[[Float[Array, "params"], Float[Array, "constants"]], Array]


@lru_cache(maxsize=64)
def parameters(form: Form) -> Quantities:
    """The published parameters; positive ones as logarithms."""
    columns = len(form.columns)

    def quantities(theta: Array, constants: Array) -> Array:
        values = published(form, theta, constants[:columns], constants[columns])
        return jnp.stack(
            [
                jnp.log(value) if form.positive(name) else value
                for name, value in zip(form.params, values, strict=True)
            ]
        )

    return quantities


def units(problem: Problem) -> Float[np.ndarray, "constants"]:
    """The constants of `parameters`."""
    return np.append(problem.u_mean, problem.v_mean)


@lru_cache(maxsize=64)
def law(form: Form) -> Quantities:
    """log y at new points."""
    basis, columns = form.basis, len(form.columns)

    def quantities(theta: Array, constants: Array) -> Array:
        return log_sum(basis, theta, constants[1:].reshape(columns, -1)) + constants[0]

    return quantities


def points(form: Form, problem: Problem, data: Mapping[str, Any]) -> Float[np.ndarray, "constants"]:
    """The constants of `law` for columns of one length, in the units of the data."""
    logs = np.stack([np.log(np.ravel(data[name])) for name in form.columns])
    return np.append(problem.v_mean, (logs - problem.u_mean[:, None]).ravel())


@lru_cache(maxsize=64)
def frontier(form: Form) -> Quantities:
    """log N*, log D* and log L* of the Chinchilla form at budgets C, one after another."""
    columns = len(form.columns)

    def quantities(theta: Array, constants: Array) -> Array:
        values = published(form, theta, constants[:columns], constants[columns])
        p = dict(zip(form.params, values, strict=True))
        log_pairs = jnp.log(constants[columns + 1 :] / 6.0)  # log N D
        total = p["alpha"] + p["beta"]
        log_G = jnp.log(p["alpha"] * p["A"] / (p["beta"] * p["B"])) / total
        log_N = log_G + p["beta"] / total * log_pairs
        log_D = p["alpha"] / total * log_pairs - log_G
        rest = p["A"] * jnp.exp(-p["alpha"] * log_N) + p["B"] * jnp.exp(-p["beta"] * log_D)
        return jnp.concatenate([log_N, log_D, jnp.log(p["E"] + rest)])

    return quantities
