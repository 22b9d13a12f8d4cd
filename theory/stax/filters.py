"""The arguments that every convolution takes, checked, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from theory.stax.affine import Affine, check_size, written
from theory.stax.padding import Padding, Window, as_padding, as_sizes, windows_of

DimensionNumbers = tuple[str, str, str]


class Filters(NamedTuple):
    """Filters, how they move, and their parameters.

    Attributes:
      out_chan: channels as asked for.
      taps: along each spatial axis.
      strides: along each spatial axis.
      padding: at the edges.
      affine: standard deviations and the parametrisation.
    """

    out_chan: int
    taps: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding
    affine: Affine

    @classmethod
    def of(
        cls,
        out_chan: int,
        filter_shape: Sequence[int],
        strides: Sequence[int] | None,
        padding: str | Padding,
        W_std: float,
        b_std: float | None,
        dimension_numbers: DimensionNumbers | None,
        parameterization: str,
        s: tuple[int, int],
    ) -> Filters:
        """From the arguments of `Conv`.

        Raises:
          ValueError: one is outside of what `Conv` describes.
        """
        affine = Affine(W_std, b_std, parameterization, s)
        taps = as_sizes(filter_shape, "filter_shape")
        check_dimension_numbers(dimension_numbers, len(taps))
        out_chan = check_size(out_chan, "out_chan")
        strides = as_sizes(strides, "strides", len(taps))
        return cls(out_chan, taps, strides, as_padding(padding), affine)

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.taps)

    @property
    def size(self) -> int:
        """Taps in all."""
        return math.prod(self.taps)

    @property
    def width(self) -> int:
        """Channels of the finite layer's outputs."""
        return self.out_chan * (self.affine.s[1] if self.affine.standard else 1)

    @property
    def ops(self) -> float:
        """Rough arithmetic operations for one entry."""
        return 4.0 + 2.0 * sum(self.taps)

    def windows(
        self, window: Callable[..., Window], name: str, space: tuple[int, ...]
    ) -> tuple[Window, ...]:
        """The windows of inputs of a spatial shape, of the kind `window` makes."""
        return windows_of(window, name, space, self.taps, self.strides, self.padding)

    def written(self, name: str) -> str:
        """The layer `name` as a user would write it."""
        ones = (1,) * self.rank
        return written(
            name,
            self.out_chan,
            self.taps,
            strides=(self.strides, ones),
            padding=(self.padding.name, "VALID"),
            W_std=(self.affine.W_std, 1.0),
            b_std=(self.affine.b_std, None),
            parameterization=(self.affine.parameterization, "ntk"),
        )


def check_dimension_numbers(dimension_numbers: DimensionNumbers | None, rank: int) -> None:
    """The one layout: batch first, channels last, filters (*taps, in, out).

    Raises:
      ValueError: another was asked for.
    """
    if dimension_numbers is None:
        return
    specs = tuple(dimension_numbers)
    if len(specs) == 3 and all(isinstance(spec, str) and len(spec) == rank + 2 for spec in specs):
        inputs, filters, outputs = specs
        space = inputs[1:-1]
        if inputs == outputs == f"N{space}C" and filters == f"{space}IO":
            return
    space = "HWDABEFG"[:rank]
    raise ValueError(
        f"dimension_numbers must be None or like {(f'N{space}C', f'{space}IO', f'N{space}C')} "
        f"(transpose the inputs instead), got {dimension_numbers!r}"
    )
