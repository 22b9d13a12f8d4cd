"""What a parametrisation does to each parameter, as factors relative to the base width.

With r_in and r_out the growth of a parameter's fan-in and fan-out over the base width (1 where no
axis grows), the standard deviation at the start and the learning rate are those of the standard
parametrisation times

                   initial                    Adam           SGD
    mup            min(1, sqrt(r_out/r_in))   1/r_in         r_out/r_in
    standard       1                          1              1
    ntk            1                          r_in^(-1/2)    1/r_in

For muP that is table 3 of Yang et al. 2021: input weights and biases start at 1/fan_in and learn at
fan_out under SGD and at 1 under Adam; hidden weights at 1/fan_in, 1, 1/fan_in; output weights at
1/fan_in² (r_out = 1: a factor of 1/r_in in variance), 1/fan_in, 1/fan_in. Nothing stands in the
forward pass (a = 0 in the abc parametrisation), so any model can be trained so. Table 8 of the same
paper, which leaves the readout's variance alone and divides logits by the width, is the equivalent
form that a tied embedding needs: there the model itself divides, and the table then is one of
input weights (Adam: 1, SGD: fan_out, in both of its uses). The role of a tied embedding is "input"
by its shape, so nothing more has to be said about it.

The NTK parametrisation W = w/sqrt(fan_in) with w ~ N(0, 1), written in W.

References:
  Yang and Hu 2021, Tensor Programs IV, section 3 (abc parametrisations); Yang et al. 2021, Tensor
  Programs V, tables 3 and 8. Yang, Simon and Bernstein 2023, A Spectral Condition for Feature
  Learning, eq. 4 (fans that grow at different rates).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
import optax

from farwide.models import Model
from farwide.mup.roles import Role

Optimizer = Literal["adam", "sgd"]
Parametrisation = Literal["mup", "standard", "ntk"]
Initial = Literal["fan_in", "fixed"]


def initial_factor(
    role: Role, parametrisation: Parametrisation = "mup", initial: Initial = "fan_in"
) -> float:
    """By what the initial values of a parameter are multiplied.

    Args:
      role: of the parameter.
      parametrisation: mup, standard or ntk.
      initial: what the model's own init does with the width. "fan_in": variance 1/fan_in where
        there is a fan-in (LeCun, He, Glorot); "fixed": one variance at all widths (N(0, 0.02²)),
        which is divided by the growth of the fan-in first.

    Raises:
      ValueError: an unknown word.
    """
    _check(parametrisation, Parametrisation, "parametrisation")
    _check(initial, Initial, "initial")
    standard = 1.0 if initial == "fan_in" else role.fan_in**-0.5
    if parametrisation != "mup":
        return standard
    return standard * min(1.0, (role.fan_out / role.fan_in) ** 0.5)


def learning_rate_factor(
    role: Role, optimizer: Optimizer, parametrisation: Parametrisation = "mup"
) -> float:
    """By what the learning rate of a parameter is multiplied; see the module's table.

    Raises:
      ValueError: an unknown word.
    """
    _check(parametrisation, Parametrisation, "parametrisation")
    _check(optimizer, Optimizer, "optimizer")
    if parametrisation == "standard":
        return 1.0
    if parametrisation == "ntk":
        return role.fan_in**-0.5 if optimizer == "adam" else 1 / role.fan_in
    return 1 / role.fan_in if optimizer == "adam" else role.fan_out / role.fan_in


def scale_by_mup(
    roles: Any, optimizer: Optimizer = "adam", *, parametrisation: Parametrisation = "mup"
) -> optax.GradientTransformation:
    """Multiply updates by the learning-rate factors of their parameters' roles.

    Put it after the optimiser's own scaling and before the learning rate:

        optax.chain(optax.scale_by_adam(), scale_by_mup(roles, "adam"),
                    optax.add_decayed_weights(decay), optax.scale_by_learning_rate(rate))

    Weight decay added after it, as here, shrinks every weight by rate x decay a step at all widths,
    which is what transfers. Added before it, as inside `optax.adamw`, the decay of hidden weights
    goes as 1/width under Adam, and that of input weights grows with the width under SGD.

    Args:
      roles: tree of `Role`, from `infer_roles`.
      optimizer: "adam" for all whose update does not depend on the gradient's scale (Adam, Lion,
        RMSProp), "sgd" for those linear in it, momentum included.
      parametrisation: "mup", or another for comparison.

    Raises:
      ValueError: an unknown word; at the update, updates of another structure.
    """
    _check(optimizer, Optimizer, "optimizer")
    factors = jax.tree.map(
        lambda role: learning_rate_factor(role, optimizer, parametrisation), roles
    )
    return optax.stateless(
        lambda updates, params: jax.tree.map(lambda f, update: f * update, factors, updates)
    )


def mup_init(
    model: Model,
    roles: Any,
    *,
    parametrisation: Parametrisation = "mup",
    initial: Initial = "fan_in",
    zero_readout: bool = False,
) -> Model:
    """The model with its initial parameters multiplied by `initial_factor`.

    At the base width that is the model as it was.

    Args:
      model: whose init is a standard one.
      roles: tree of `Role` of its parameters.
      parametrisation, initial: as of `initial_factor`.
      zero_readout: whether output weights start at zero, so that the first outputs are the same at
        all widths (Yang et al. 2021, section D.2); no learning rate depends on it.

    Raises:
      ValueError: an unknown word.
    """
    factors = jax.tree.map(
        lambda role: (
            0.0
            if zero_readout and role.kind == "output"
            else initial_factor(role, parametrisation, initial)
        ),
        roles,
    )

    def init(key: jax.Array) -> Any:
        return jax.tree.map(lambda f, leaf: f * leaf, factors, model.init(key))

    return model._replace(init=init)


def _check(value: str, words: Any, name: str) -> None:
    if value not in get_args(words):
        accepted = ", ".join(repr(word) for word in get_args(words))
        raise ValueError(f"{name} is {value!r}; accepted are {accepted}")
