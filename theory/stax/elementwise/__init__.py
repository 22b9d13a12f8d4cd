"""Nonlinearities, one family a file."""

from theory.stax.elementwise.rectified import Relu

__all__ = ["Relu"]
