"""A multilayer perceptron, the smallest model whose width is worth a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from farwide.models.model import Model
from theory import stax
from theory.stax.layer import KernelFn

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "tanh": jnp.tanh}


@dataclass(frozen=True)
class MLPConfig:
    """Shape of the model: `depth` hidden layers of `width` units, then `outputs` numbers.

    `input_size` is the number of values of one example, whatever its axes. Initial weights have
    variance gain/fan_in, gain 2 before relu and gelu and 1 elsewhere; biases are zero.
    """

    width: int
    depth: int
    input_size: int
    outputs: int
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    bias: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "depth", "input_size", "outputs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is at least 1")
        if self.activation not in ACTIVATIONS:
            accepted = ", ".join(repr(name) for name in ACTIVATIONS)
            raise ValueError(f"activation is {self.activation!r}; accepted are {accepted}")

    def limit(self) -> KernelFn:
        """kernel_fn(x1, x2, get, ...) of the model as its width grows; x as the model takes them.

        NNGP: the covariance of outputs at the start. NTK: of the weights, in the NTK
        parametrisation; offsets start at 0 and are not in it.
        """
        gain = 1.0 if self.activation == "tanh" else 2**0.5
        acts = {"relu": stax.Relu, "gelu": stax.Gelu, "tanh": stax.Tanh}
        hidden = [stax.Dense(1, gain), acts[self.activation]()] * self.depth
        return stax.serial(stax.Flatten(), *hidden, stax.Dense(1)).kernel_fn


class MLP(nn.Module):
    """Dense layers and pointwise nonlinearities; every layer before the readout is `hidden_i`."""

    config: MLPConfig

    @nn.compact
    def __call__(self, x: Float[Array, "batch input_size"]) -> Float[Array, "batch outputs"]:
        config = self.config
        gain = 1.0 if config.activation == "tanh" else 2.0
        before = nn.initializers.variance_scaling(gain, "fan_in", "normal")
        last = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        for i in range(config.depth):
            x = nn.Dense(
                config.width, use_bias=config.bias, kernel_init=before, name=f"hidden_{i}"
            )(x)
            x = ACTIVATIONS[config.activation](x)
        return nn.Dense(config.outputs, use_bias=config.bias, kernel_init=last, name="readout")(x)


def mlp(config: MLPConfig) -> Model:
    """The model as pure functions: inputs (batch, ...) are flattened -> outputs (batch, outputs).

    Raises (at the call):
      ValueError: an example has not `input_size` values.
    """
    module = MLP(config)

    def init(key: jax.Array):
        return module.init(key, jnp.zeros((1, config.input_size)))["params"]

    def apply(
        params, inputs: Float[Array, "batch ..."], key: jax.Array | None = None
    ) -> Float[Array, "batch outputs"]:
        del key  # nothing here is random
        flat = inputs.reshape(inputs.shape[0], -1)
        if flat.shape[1] != config.input_size:
            raise ValueError(
                f"inputs have shape {inputs.shape}, {flat.shape[1]} values an example; this model "
                f"takes {config.input_size}"
            )
        return module.apply({"params": params}, flat)  # pyright: ignore[reportReturnType]

    return Model(init, apply)
