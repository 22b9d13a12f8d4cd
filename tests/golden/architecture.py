"""What an architecture of the golden values is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Architecture(NamedTuple):
    """A network, written once for either library, and what it is run on.

    Widths are small, for the finite network is run as well; they mean nothing to the limit, but in
    the standard parametrisation and where channels are concatenated.

    Attributes:
      build: a `stax` module -> (init_fn, apply_fn, kernel_fn).
      inputs: a name of `draw`, in draws.py.
      finite: whether `apply_fn` is compared, on parameters of the oracle's shapes.
      numerical: whether the expectations are integrals by quadrature.
    """

    build: Callable[[Any], tuple]
    inputs: str = "flat"
    finite: bool = True
    numerical: bool = False


def residual(branch: Callable[[Any], tuple]) -> Callable[[Any], tuple]:
    """x + branch(x)."""
    return lambda s: s.serial(s.FanOut(2), s.parallel(s.Identity(), branch(s)), s.FanInSum())
