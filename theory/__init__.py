"""Limits and laws: infinite-width kernels, and the scaling laws of finite models."""

from theory import scaling

__all__ = ["scaling"]
