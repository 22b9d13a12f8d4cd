"""Dropout."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from theory.stax.affine import written
from theory.stax.layer import IDENTITY, Layer, layer_of
from theory.stax.rule import Rule, no_params

MODES = ("train", "test")


def Dropout(rate: float, mode: str = "train") -> Layer:
    """Zeroes each activation with probability 1 - rate, and divides the rest by rate.

    Masks are drawn for every place and channel of every example, and so

        K'(x, x)_pp = K(x, x)_pp / rate,     Theta'(x, x)_pp = Theta(x, x)_pp / rate

    while all else is kept: two places, or two examples, even equal ones, have masks of their own.

    Args:
      rate: the probability of *keeping* an activation, in (0, 1].
      mode: "train", or "test", which is the identity.

    Raises:
      ValueError: an argument outside of what is described. When used in mode "train": `apply_fn`
        without a PRNG key; on inputs, whose channels are finitely many, so that there is no limit.

    References:
      Schoenholz et al. 2017, Deep Information Propagation, section 5.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"rate, the probability of keeping, must be in (0, 1], got {rate!r}")
    name = written("Dropout", rate, mode=(mode, "train"))

    if mode == "test":
        return layer_of(Rule(name, IDENTITY.init, IDENTITY.apply, block=IDENTITY.block, ops=0.0))

    def apply(params, x, context):
        if context.rng is None:
            raise ValueError(f'{name} in mode "train" needs a PRNG key: apply_fn(.., rng=key)')
        kept = jax.random.bernoulli(context.rng, rate, x.shape)
        return jnp.where(kept, x / rate, 0.0)

    def infer(facts):
        if facts.is_input:
            raise ValueError(
                f"{name} cannot be applied to inputs: put a layer with weights before it"
            )
        return facts.replace(gaussian=False)

    def block(k, left, right, facts):
        if not k.itself:
            return k
        factor = jnp.where(k.on_diagonal(), 1 / rate, 1.0).astype(k.nngp.dtype)
        return k.linear(lambda value: value * factor)

    return layer_of(Rule(name, no_params, apply, infer, block))
