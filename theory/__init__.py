"""Limits and laws: infinite-width kernels, and the scaling laws of finite models."""

from theory import approximation, dkm, predict, scaling, spectra, stax, taps
from theory.batching import batch, stream_kernel
from theory.describe import Description, describe
from theory.empirical import (
    NtkImplementation,
    empirical_kernel_fn,
    empirical_nngp_fn,
    empirical_ntk_fn,
    empirical_ntk_vp_fn,
    linearize,
    taylor_expand,
)
from theory.kernel import Kernel
from theory.monte_carlo import monte_carlo_kernel_fn

__all__ = [
    "Description",
    "Kernel",
    "NtkImplementation",
    "approximation",
    "batch",
    "describe",
    "dkm",
    "empirical_kernel_fn",
    "empirical_nngp_fn",
    "empirical_ntk_fn",
    "empirical_ntk_vp_fn",
    "linearize",
    "monte_carlo_kernel_fn",
    "predict",
    "scaling",
    "spectra",
    "stax",
    "stream_kernel",
    "taps",
    "taylor_expand",
]
