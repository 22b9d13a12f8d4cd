"""Kernels of finite networks: covariances of outputs, neural tangent kernels, Taylor expansions."""

from theory.empirical.expand import linearize, taylor_expand
from theory.empirical.implementation import NtkImplementation
from theory.empirical.kernel import empirical_kernel_fn, empirical_ntk_vp_fn
from theory.empirical.nngp import empirical_nngp_fn
from theory.empirical.ntk import empirical_ntk_fn

__all__ = [
    "NtkImplementation",
    "empirical_kernel_fn",
    "empirical_nngp_fn",
    "empirical_ntk_fn",
    "empirical_ntk_vp_fn",
    "linearize",
    "taylor_expand",
]
