"""AdamW for any model; the rule that carries a rate across widths is another transformation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay on the arrays of two axes or more.

        m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
        update = m^ / (sqrt(v^) + epsilon) + weight_decay w

    The learning rate and the sign are left out: the step subtracts `rate * update`.

    Reference: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
    """

    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-8
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 0 <= value < 1")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon is {self.epsilon}; accepted is more than 0")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; accepted is 0 or more")

    def transformation(
        self, decayed: Callable[[Any], Any] | None = None
    ) -> optax.GradientTransformation:
        """The optax transformation.

        Args:
          decayed: params to a tree of bools, which arrays decay; None: those of two axes or more.
        """

        def matrices(params: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)

        adam = optax.scale_by_adam(self.beta1, self.beta2, eps=self.epsilon)
        if not self.weight_decay:
            return adam
        decay = optax.add_decayed_weights(self.weight_decay, mask=decayed or matrices)
        return optax.chain(adam, decay)
