"""F and its derivatives for any law, by automatic differentiation; and with a pull on a quantity.

    F(theta) = sum_i w_i rho(v_i - log f_i(theta)) + stiffness (q(theta) - aim)^2 / 2

The second part is absent in a fit. With it a minimum of F is the best fit among those with its own
value of q, whatever the aim was: minima for different aims trace the profile of F along q (see
`profile`). The Hessian is

    H = sum_i w (psi' J_i J_i' - psi d2 log f_i) + stiffness (dq dq' + (q - aim) d2 q),

whose second-order part is the Hessian of one scalar with psi held fixed: two passes, whatever the
number of rows. The majorizer's has psi / r for psi' and no second-order part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.scaling.basis import Basis, log_sum
from theory.scaling.local import Host, Local
from theory.scaling.losses import Shape, pieces


class Pull(NamedTuple):
    """What draws each problem of a batch towards a value of a quantity."""

    select: Float[Host, "batch quantities"]  # which quantity, one-hot
    aim: Float[Host, "batch"]
    stiffness: Float[Host, "batch"]
    constants: Float[Host, "constants"]  # that the quantities need, such as the units

    def rows(self, index: Int[np.ndarray, "rows"]) -> Pull:
        """Those of some problems."""
        return Pull(self.select[index], self.aim[index], self.stiffness[index], self.constants)


@dataclass(frozen=True)
class Pulled:
    """A law with quantities that a `Pull` can name; a key for compiled code."""

    basis: Basis
    quantities: Callable[[Float[Array, "params"], Float[Array, "constants"]], Array]


def evaluate(
    structure: Basis | Pulled,
    theta: Float[Host, "params batch"],
    u: Float[Array, "columns rows"],
    v: Float[Array, "rows"],
    w: Float[Array, "batch rows"],
    shape: Shape,
    pull: Pull | None = None,
) -> Local:
    """F, g, H and G at theta."""
    params = theta.shape[0]
    rows, cols = np.tril_indices(params)

    basis = structure.basis if isinstance(structure, Pulled) else structure

    def one(t: Array, weight: Array, towards: Pull | None) -> tuple[Array, Array, Array, Array]:
        def law(s: Array) -> Array:
            return log_sum(basis, s, u)

        log_f = law(t)
        J = jax.jacfwd(law)(t)
        loss = pieces(v - log_f, shape)
        held = weight * loss.psi
        bend = jax.jacfwd(jax.grad(lambda s: jnp.sum(held * law(s))))(t)
        value = jnp.sum(weight * loss.rho)
        gradient = -J.T @ held
        hessian = (J.T * (weight * loss.psi_prime)) @ J - bend
        majorizer = (J.T * (weight * loss.curvature)) @ J
        if towards is not None:
            assert isinstance(structure, Pulled)
            ask = structure.quantities

            def miss(s: Array) -> Array:
                found = ask(s, jnp.asarray(towards.constants))
                # Not a product with the one-hot: a quantity that is not finite is not asked for.
                return jnp.sum(jnp.where(towards.select > 0, found, 0.0)) - towards.aim

            off, slope = jax.value_and_grad(miss)(t)
            value += 0.5 * towards.stiffness * off**2
            gradient += towards.stiffness * off * slope
            outer = towards.stiffness * slope[:, None] * slope
            hessian += outer + towards.stiffness * off * jax.jacfwd(jax.grad(miss))(t)
            majorizer += outer
        return value, gradient, hessian[rows, cols], majorizer[rows, cols]

    axes = None if pull is None else Pull(0, 0, 0, None)  # pyright: ignore[reportArgumentType]
    parts = jax.vmap(one, in_axes=(1, 0, axes))(jnp.asarray(theta), w, pull)
    value, gradient, hessian, majorizer = parts
    return Local(value, gradient.T, hessian.T, majorizer.T)
