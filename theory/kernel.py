"""The result of a kernel function: a small pytree whose facts are static."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
from jax import Array


def _static(default: Any):
    return field(default=default, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Kernel:
    """Covariances of the activations of an infinitely wide network.

    Spatial axes of a full kernel come in pairs, (h, h', w, w'); a diagonal one has (h, w), at equal
    places. Everything but the arrays is static: it is known while a program is traced.

    Attributes:
      nngp: (N1, N2, *spatial) covariance of activations between x1 and x2.
      ntk: (N1, N2, *spatial) neural tangent kernel, or None where it was not asked for.
      cov1: (N1, *spatial) covariance of x1 with itself, example by example.
      cov2: (N2, *spatial) of x2; None where x1 is x2.
      mask1, mask2: (N, *space, 1) bool, True where masked; None where nothing is.
      x1_is_x2: whether both arguments were the same inputs.
      is_gaussian: whether channels are independent Gaussians in the limit.
      is_input: whether these are covariances of inputs.
      diagonal_spatial: whether only equal places are held.
      shape1, shape2: (batch, *space, channels) of the finite network's activations.
      diagonal_batch: always True (cov1 and cov2 hold no pairs of different examples).
      is_reversed: always False (spatial axes keep their order).
      batch_axis, channel_axis: of the activations, 0 and the last.
    """

    nngp: Array
    ntk: Array | None
    cov1: Array
    cov2: Array | None = None
    mask1: Array | None = None
    mask2: Array | None = None
    x1_is_x2: bool = _static(False)
    is_gaussian: bool = _static(False)
    is_input: bool = _static(False)
    diagonal_spatial: bool = _static(False)
    shape1: tuple[int, ...] | None = _static(None)
    shape2: tuple[int, ...] | None = _static(None)
    diagonal_batch: bool = _static(True)
    is_reversed: bool = _static(False)
    batch_axis: int = _static(0)
    channel_axis: int = _static(-1)

    def replace(self, **changes) -> Kernel:
        """A copy with other values."""
        return replace(self, **changes)

    def asdict(self) -> dict[str, Any]:
        """The attributes by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


GETTABLE = tuple(f.name for f in fields(Kernel))
