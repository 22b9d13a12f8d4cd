"""The ways to compute an empirical neural tangent kernel."""

from __future__ import annotations

import enum


class NtkImplementation(enum.IntEnum):
    """How Theta = J(x1) J(x2)' is computed; all give the same values up to rounding.

    For N1 x N2 examples of O outputs each, P parameters and a forward pass of F operations:

    Attributes:
      AUTO: the one that is estimated to be the fastest, from the operations and memory traffic of
        the programs themselves (`theory.empirical.cost`); the default.
      JACOBIAN_CONTRACTION: both Jacobians by reverse mode, contracted parameter by parameter:
        N O (F + P) + N1 N2 O² P operations. The simplest.
      NTK_VECTOR_PRODUCTS: rows of the kernel as a vector-Jacobian and a Jacobian-vector product:
        N1 N2 O F operations, no contraction. For cheap forward passes and many outputs. Needs
        forward mode, which a `jax.custom_vjp` function has not.
      STRUCTURED_DERIVATIVES: cotangents of the products that parameters enter, contracted with the
        activations that they meet there; Jacobians are not formed where that is cheaper:
        N O F + N1 N2 O² P^(1/2) operations for a dense layer.

    Reference: Novak, Sohl-Dickstein, Schoenholz 2022, Fast Finite Width Neural Tangent Kernel.
    """

    AUTO = 0
    JACOBIAN_CONTRACTION = 1
    NTK_VECTOR_PRODUCTS = 2
    STRUCTURED_DERIVATIVES = 3
