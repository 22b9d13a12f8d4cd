"""What a user's kernel function may ask of the Kernels that it is given."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from theory.stax.affine import check_axes


class Bool(enum.IntEnum):
    """Three truth values; & gives the smaller one."""

    NO = 0
    MAYBE = 1
    YES = 2

    def __and__(self, other: int) -> Bool:
        return Bool(min(self, other))

    __rand__ = __and__


@dataclass(frozen=True)
class Diagonal:
    """Whether covariances at equal places alone will do.

    Attributes:
      input: YES: outputs at equal places need inputs at equal places alone. NO: they need all
        pairs. MAYBE: they would do if all else were zero; that is not known, so all are given.
      output: YES: pairs of different places of the outputs are never wanted, as where none are
        left. MAYBE, NO: what follows decides.
    """

    input: Bool = Bool.YES
    output: Bool = Bool.NO

    def __and__(self, other: Diagonal) -> Diagonal:
        """What two layers side by side allow."""
        return Diagonal(self.input & other.input, self.output & other.output)

    def __rshift__(self, other: Diagonal) -> Diagonal:
        """What this layer followed by the other allows."""
        if self.output is Bool.YES:
            return self
        if self.output is Bool.MAYBE and other.input is not Bool.NO:
            return Diagonal(self.input, other.output)
        if self.output is Bool.NO and other.input is not Bool.YES:
            return Diagonal(Bool.NO, other.output)
        return Diagonal(self.input & other.input, other.output)

    def __lshift__(self, other: Diagonal) -> Diagonal:
        """What the other layer followed by this one allows."""
        return other >> self

    def __bool__(self) -> bool:
        """Whether inputs at equal places alone will do."""
        return self.input is Bool.YES and self.output is not Bool.NO

    def full(self, wanted: bool) -> bool:
        """Whether inputs are needed for all pairs of places, from whether outputs are wanted so."""
        if self.input is not Bool.YES:
            return True
        return wanted and self.output is not Bool.YES


def checked(requirements: Mapping[str, Any]) -> dict[str, Any]:
    """The requirements of `requires`, as a dict.

    Accepted: batch_axis 0, channel_axis -1, diagonal_batch True or Diagonal() (examples are never
    paired within one side), diagonal_spatial a Diagonal or a bool, use_dropout a bool; None asks
    for nothing.

    Raises:
      ValueError: another name or value.
    """
    known = ("batch_axis", "channel_axis", "diagonal_batch", "diagonal_spatial", "use_dropout")
    for name, value in requirements.items():
        if name not in known:
            raise ValueError(f"a requirement must be one of {', '.join(known)}, got {name!r}")
        if name == "diagonal_batch" and value is not None and not _allows(value):
            raise ValueError(
                f"diagonal_batch={value!r} is not supported: no layer here mixes examples"
            )
        if name == "diagonal_spatial" and not isinstance(value, Diagonal | bool | None):
            raise ValueError(f"diagonal_spatial must be a Diagonal or a bool, got {value!r}")
    axes = [(requirements.get(f"{name}_axis"), at) for name, at in (("batch", 0), ("channel", -1))]
    check_axes(*(at if value is None else value for value, at in axes))
    return dict(requirements)


def _allows(value: Any) -> bool:
    return value.input is not Bool.NO if isinstance(value, Diagonal) else bool(value)


def diagonal_of(requirements: Mapping[str, Any]) -> Diagonal:
    """What is required of the spatial layout; False asks for all pairs of places."""
    value = requirements.get("diagonal_spatial")
    if isinstance(value, Diagonal):
        return value
    return Diagonal(input=Bool.NO) if value is False else Diagonal()
