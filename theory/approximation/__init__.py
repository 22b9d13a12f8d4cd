"""Kernels of low rank: random features and landmarks, with estimates of their errors."""

from theory.approximation.arc_cosine import arc_cosine_features
from theory.approximation.estimate import KernelEstimate, kernel_estimate
from theory.approximation.network_features import nngp_features, ntk_features
from theory.approximation.nystrom import Nystrom, nystrom
from theory.approximation.ridge import feature_regression
from theory.predict.pivoted_cholesky import PivotedCholesky, pivoted_cholesky

__all__ = [
    "KernelEstimate",
    "Nystrom",
    "PivotedCholesky",
    "arc_cosine_features",
    "feature_regression",
    "kernel_estimate",
    "nngp_features",
    "ntk_features",
    "nystrom",
    "pivoted_cholesky",
]
