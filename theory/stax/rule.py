"""What a layer declares: its finite form, and what it does to covariances and to static facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jax import Array

from theory.stax.block import Block

Shape = tuple[int, ...]  # (batch, *space, channels); batch may be -1


@dataclass(frozen=True)
class Facts:
    """What is known of activations before anything is computed.

    Attributes:
      space: sizes of the spatial axes.
      channels: channels of the finite network (a width, which the limit takes to infinity).
      gaussian: whether channels are independent Gaussians in the limit (after a Dense or Conv).
      is_input: whether these are the network's inputs, or inputs seen through fixed linear maps.
    """

    space: tuple[int, ...]
    channels: int
    gaussian: bool = False
    is_input: bool = True

    def replace(self, **changes) -> Facts:
        """A copy with other values."""
        return replace(self, **changes)


class Context(NamedTuple):
    """What a finite layer may use beside its parameters and inputs.

    Attributes:
      rng: a PRNG key for random layers, or None.
      mask: (batch, *space) bool of the layer's inputs, True = masked, where inputs are zero; or
        None.
      pattern: (batch, ..) graph of each example, for Aggregate; or None.
    """

    rng: Array | None = None
    mask: Array | None = None
    pattern: Array | None = None


def _same(facts: Facts) -> Facts:
    return facts


def _same_need(full: bool) -> bool:
    return full


def _same_mask(mask: Array, _: Facts) -> Array:
    return mask


@dataclass(frozen=True, eq=False)
class Rule:
    """A layer. Compared and hashed by identity.

    Attributes:
      name: as a user would write it, such as "Dense(512, W_std=1.5)".
      init: (rng, shape) -> (shape, params), shapes (batch, *space, channels).
      apply: (params, inputs, context) -> outputs, the finite layer on (batch, *space, channels).
      infer: Facts of the inputs -> Facts of the outputs. Raises ValueError where the layer cannot
        be applied to such inputs, NotImplementedError where its limit has no covariance formula.
      block: (block, side, side', Facts of the inputs) -> block, where the sides are what
        `statistics` gave for x and for x', their batch axes broadcasting with the block's. In a
        self block both are the same object.
      statistics: (self block before the layer, mask, pattern) -> a pytree of arrays whose last axis
        is the batch (N,): what a cross block must know of one side, such as a variance. `mask` is
        (*space, N) or None. The default gives None.
      full: whether outputs for every pair of places are wanted -> whether inputs are.
      mask: ((batch, *space) mask of the inputs, Facts of the inputs) -> mask of the outputs.
      ops: rough arithmetic operations for each entry of the output block, for `describe`.
      held: numbers that it holds at once for each entry of its blocks, for the size of tiles.
      kind: "leaf", "serial", "parallel", "repeat" or "opaque" (a user's own map of Kernels).
      children: of a combinator.
      repeats: of "repeat".
      flattens: whether it only makes channels of places, which inputs may do before any covariance.
      kernel: of "opaque": Kernel -> Kernel.
    """

    name: str
    init: Callable[..., tuple[Any, Any]]
    apply: Callable[..., Any]
    infer: Callable[[Any], Any] = _same
    block: Callable[..., Any] | None = None
    statistics: Callable[[Block, Array | None, Array | None], Any] | None = None
    full: Callable[[bool], bool] = _same_need
    mask: Callable[[Any, Any], Any] = _same_mask
    ops: float = 1.0
    held: float = 1.0
    kind: str = "leaf"
    children: tuple[Rule, ...] = ()
    repeats: int = 1
    flattens: bool = False
    kernel: Callable[..., Any] | None = None

    @property
    def flattens_first(self) -> bool:
        """Whether its inputs meet a layer that flattens before any other."""
        if self.kind == "serial" and self.children:
            return self.children[0].flattens_first
        return self.flattens

    @property
    def opaque(self) -> bool:
        """Whether some part of it maps whole Kernels, so that blocks cannot be run through it."""
        return self.kind == "opaque" or any(child.opaque for child in self.children)


def no_params(rng: Array, shape: Any) -> tuple[Any, tuple]:
    """The `init` of a layer without parameters that keeps the shape."""
    del rng
    return shape, ()
