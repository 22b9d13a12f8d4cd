"""Gates: elementwise products of branches, as of Hyena and H3."""

from __future__ import annotations

from theory.stax.branching import FanInProd, FanOut
from theory.stax.combinators import parallel, serial
from theory.stax.layer import Layer


def Gate(*branches: Layer) -> Layer:
    """The elementwise product of branches that see the same inputs.

        y = prod_i branch_i(x),   K' = prod_i K_i,   Theta' = sum_i Theta_i prod_(j != i) K_j

    Branches must be independent given the inputs and all but one of mean zero: each ends in weights
    of its own, or in a LongConv or an elementwise map of such. The product is not Gaussian; a
    LongConv may follow at once, a nonlinearity after a Dense.

    Args:
      branches: two or more layers whose outputs have one shape. None at all: what comes in is a
        tuple of branches already, as behind `parallel`.

    Raises:
      ValueError: one branch; when used, outputs whose shapes differ.
      TypeError: a branch is no layer of this package.

    References:
      Poli et al. 2023, Hyena Hierarchy, section 3.1 (the gates). The moments of a product of
      independent variables are the products of theirs.
    """
    if not branches:
        return FanInProd()
    if len(branches) == 1:
        raise ValueError("Gate needs two or more branches, or none behind a parallel; got 1")
    return serial(FanOut(len(branches)), parallel(*branches), FanInProd())
