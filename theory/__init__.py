"""Limits and laws: infinite-width kernels, and the scaling laws of finite models."""

from theory import scaling, stax
from theory.kernel import Kernel

__all__ = ["Kernel", "scaling", "stax"]
