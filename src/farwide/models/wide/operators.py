"""What mixes positions in a wide model: settings, and the layers of one block in theory.stax.

Every block ends in weights that mix channels, and the next ReLU comes after them, so that the
limits are exact. The finite layers run the operators of kernels_pallas; limits need none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from farwide.models.filters import S4D, FilterConfig, Hyena, SGConv
from farwide.models.wide.filters import tap_layer
from farwide.validate import at_least, one_of
from kernels_pallas import long_conv, neighborhood_attention
from theory import stax


class Widths(NamedTuple):
    """What a block needs to know of its model.

    Attributes:
      width: channels.
      length: positions.
      W_std, b_std: of every Dense and Conv.
      causal: whether no position sees a later one.
      finite: whether the layers are to be run, and not the limit alone.
    """

    width: int
    length: int
    W_std: float
    b_std: float
    causal: bool
    finite: bool

    def dense(self) -> stax.Layer:
        """The layer that mixes channels."""
        return stax.Dense(self.width, self.W_std, self.b_std)


@dataclass(frozen=True)
class WideMlp:
    """No operator: positions become channels, and every block is a Dense."""

    def block(self, w: Widths) -> list[stax.Layer]:
        """The layers of one block."""
        return [w.dense()]


@dataclass(frozen=True)
class WideCnn:
    """A convolution of `taps` positions that mixes channels, zeros beyond the ends."""

    taps: int = 3

    def __post_init__(self) -> None:
        at_least(1, taps=self.taps)

    def block(self, w: Widths) -> list[stax.Layer]:
        """The layers of one block."""
        if not w.causal:
            conv = stax.Conv(w.width, (self.taps,), None, "SAME", w.W_std, w.b_std)
            return [conv]
        raise ValueError(f"causal is True; accepted with {self} is False")


@dataclass(frozen=True)
class WideLongConv:
    """A depthwise long convolution of independent taps, variance ~ exp(-|lag| / decay), power 1.

    Attributes:
      decay: lags over which the variance falls by e, as a fraction of the length.
    """

    decay: float = 0.25

    def __post_init__(self) -> None:
        if not self.decay > 0:
            raise ValueError(f"decay is {self.decay}; accepted is above 0")

    def block(self, w: Widths) -> list[stax.Layer]:
        """The layers of one block."""
        lags = np.arange(0 if w.causal else 1 - w.length, w.length)
        profile = np.exp(-np.abs(lags) / (self.decay * w.length))
        operator = long_conv if w.finite else None
        conv = stax.LongConv(profile / profile.sum(), causal=w.causal, operator=operator)
        return [conv, w.dense()]


@dataclass(frozen=True)
class WideFilter:
    """A causal depthwise long convolution with a model's filter: S4D, SGConv, Hyena, Squash.

    Trained are the filter's Gaussian parameters, in units of their initial deviation; the others
    (poles, steps, norms) keep their values. Taps are scaled to power 1.
    """

    filter: FilterConfig = field(default_factory=S4D)

    def block(self, w: Widths) -> list[stax.Layer]:
        """The layers of one block."""
        if not w.causal:
            raise ValueError(f"causal is False; accepted with {self} is True")
        return [tap_layer(self.filter, w.width, w.length, w.finite), w.dense()]


@dataclass(frozen=True)
class WideAttention:
    """Softmax attention with linear scaling, tied queries and keys, and a projection.

    Attributes:
      window: positions that a query sees; None for all.
      dilation: distance between neighbors.
      logit_std: product of the deviations of query and key weights.
      heads: of the finite model.
    """

    window: int | None = None
    dilation: int = 1
    logit_std: float = 1.0
    heads: int = 4

    def __post_init__(self) -> None:
        at_least(1, dilation=self.dilation, heads=self.heads)
        if self.window is not None:
            at_least(1, window=self.window)

    def block(self, w: Widths) -> list[stax.Layer]:
        """The layers of one block."""
        window, dilation = (w.length, 1) if self.window is None else (self.window, self.dilation)
        attention = stax.NeighborhoodAttention(
            window,
            dilation,
            w.causal,
            W_out_std=w.W_std,
            W_key_std=self.logit_std,
            b_std=w.b_std,
            n_heads=self.heads,
            operator=neighborhood_attention if w.finite and window > 1 else None,
        )
        return [attention]


WideOperator = WideMlp | WideCnn | WideLongConv | WideFilter | WideAttention

OPERATORS: Mapping[str, Callable[[], WideOperator]] = MappingProxyType(
    {
        "mlp": WideMlp,
        "cnn": WideCnn,
        "long_conv": WideLongConv,
        "s4d": lambda: WideFilter(S4D()),
        "sgconv": lambda: WideFilter(SGConv(scale_dim=4)),
        "hyena": lambda: WideFilter(Hyena()),
        "neighborhood": lambda: WideAttention(window=5),
        "attention": WideAttention,
    }
)
"""Operators by name."""


def wide_operator(name: str) -> WideOperator:
    """The settings of an operator.

    Raises:
      ValueError: there is none of that name.
    """
    one_of(tuple(OPERATORS), name=name)
    return OPERATORS[name]()
