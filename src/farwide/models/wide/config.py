"""A network with an exact infinite-width limit, and that limit, from one description.

    h = embed(x);   h = [h +] dense(operator(relu(h))), block by block;   y = head(readout(relu(h)))

in NTK parametrisation: every trained number is N(0, 1) at the start, and one learning rate is right
for all at every width. As the width grows, `wide_model(config)` becomes the Gaussian process and
the linear model of `config.limit()`.

Jacot et al. 2018, Neural Tangent Kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import jax

from farwide.models.model import Model, Params
from farwide.models.wide.operators import (
    WideFilter,
    WideLongConv,
    WideMlp,
    WideOperator,
    Widths,
    wide_operator,
)
from farwide.validate import at_least, one_of
from theory import stax
from theory.stax.layer import KernelFn

READOUTS = {
    "mean": stax.GlobalAvgPool,
    "last": stax.LastPosition,
    "flatten": stax.Flatten,
}


@dataclass(frozen=True)
class WideConfig:
    """Shape of a wide model.

    Attributes:
      operator: what mixes positions, settings or a name of `OPERATORS`.
      positions, features: of an input, (positions, features).
      outputs: numbers of an output.
      width: channels of every hidden layer.
      depth: blocks.
      readout: "mean" over positions, the "last" one, or "flatten" for weights of their own.
      W_std, b_std: standard deviations of the weights, before 1/sqrt(fan in), and of the biases.
      residual: whether a block is added to its input.
      causal: whether no position sees a later one; None: where the operator needs it, as
        the filters of models do.
    """

    operator: WideOperator | str = field(default_factory=WideLongConv)
    positions: int = 64
    features: int = 1
    outputs: int = 10
    width: int = 64
    depth: int = 2
    readout: Literal["mean", "last", "flatten"] = "mean"
    W_std: float = 2**0.5
    b_std: float = 0.1
    residual: bool = False
    causal: bool | None = None

    def __post_init__(self) -> None:
        at_least(1, positions=self.positions, features=self.features, outputs=self.outputs)
        at_least(1, width=self.width, depth=self.depth)
        one_of(tuple(READOUTS), readout=self.readout)
        self.network()

    @property
    def settings(self) -> WideOperator:
        """The operator's settings."""
        return wide_operator(self.operator) if isinstance(self.operator, str) else self.operator

    def network(self, *, finite: bool = False) -> stax.Layer:
        """The network (init_fn, apply_fn, kernel_fn).

        Args:
          finite: whether `apply_fn` runs the operators of kernels_pallas and the filters of models;
            without, its layers are of plain jnp, and filters Gaussian with the same moments.
        """
        operator = self.settings
        causal = isinstance(operator, WideFilter) if self.causal is None else self.causal
        widths = Widths(self.width, self.positions, self.W_std, self.b_std, causal, finite)
        flat = isinstance(operator, WideMlp)
        start = [stax.Flatten()] if flat else []
        blocks = [self._block(operator.block(widths)) for _ in range(self.depth)]
        readout = [] if flat else [READOUTS[self.readout]()]
        head = stax.Dense(self.outputs, 1.0, self.b_std)
        return stax.serial(*start, widths.dense(), *blocks, stax.Relu(), *readout, head)

    def _block(self, layers: list[stax.Layer]) -> stax.Layer:
        block = stax.serial(stax.Relu(), *layers)
        if not self.residual:
            return block
        both = stax.parallel(stax.Identity(), block)
        return stax.serial(stax.FanOut(2), both, stax.FanInSum())

    def limit(self) -> KernelFn:
        """kernel_fn(x1, x2, get, ...) of the network as its width grows.

        Inputs are (N, positions, features). NNGP and NTK are exact, those of `wide_model(self)`.
        """
        return self.network().kernel_fn


def wide_model(config: WideConfig) -> Model:
    """The finite network: (batch, positions, features) -> (batch, outputs).

    Raises (at a call):
      ValueError: the inputs have another shape.
    """
    network = config.network(finite=True)
    shape = (config.positions, config.features)

    def init(key: jax.Array) -> Params:
        return network.init_fn(key, (1, *shape))[1]

    def apply(params: Params, inputs: jax.Array, key: jax.Array | None = None) -> jax.Array:
        del key  # nothing here is random
        if inputs.shape[1:] != shape:
            raise ValueError(f"inputs has shape {inputs.shape}; this model takes (batch, *{shape})")
        return network.apply_fn(params, inputs)

    return Model(init, apply)
