"""Figures: one a file, each a pure function from data to a `Figure`."""

from farwide.plotting.adaptive_shape import ShapeCurve, adaptive_shape
from farwide.plotting.corner import corner
from farwide.plotting.data import Curve, HeldOut, Points, has_bootstrap, has_frontier
from farwide.plotting.extrapolation import extrapolation
from farwide.plotting.finite_width import Decay, Draws, Spread, finite_width
from farwide.plotting.fitted_law import fitted_law
from farwide.plotting.gram_convergence import gram_convergence
from farwide.plotting.learning_curves import LearningCurve, learning_curves
from farwide.plotting.learning_rate_transfer import RateCurve, learning_rate_transfer
from farwide.plotting.loss_curves import loss_curves
from farwide.plotting.loss_vs_compute import loss_vs_compute
from farwide.plotting.nu_sweep import Panel, Series, nu_sweep
from farwide.plotting.predicted_scaling import (
    Banded,
    Estimate,
    PairSummary,
    WidthCurve,
    predicted_scaling,
    scaling_summary,
)
from farwide.plotting.reliability import reliability_diagrams
from farwide.plotting.residuals import residuals, trends
from farwide.plotting.style import NARROW, WIDE, save_png, title_of, to_png, to_svg
from farwide.plotting.task_accuracy import Accuracy, task_accuracy
from farwide.plotting.theory_curves import Measured, Predicted, TheoryPanel, theory_curves
from farwide.plotting.tokens_per_parameter import tokens_per_parameter

__all__ = [
    "NARROW",
    "WIDE",
    "Accuracy",
    "Banded",
    "Curve",
    "Decay",
    "Draws",
    "Estimate",
    "HeldOut",
    "LearningCurve",
    "Measured",
    "PairSummary",
    "Panel",
    "Points",
    "Predicted",
    "RateCurve",
    "Series",
    "ShapeCurve",
    "Spread",
    "TheoryPanel",
    "WidthCurve",
    "adaptive_shape",
    "corner",
    "extrapolation",
    "finite_width",
    "fitted_law",
    "gram_convergence",
    "has_bootstrap",
    "has_frontier",
    "learning_curves",
    "learning_rate_transfer",
    "loss_curves",
    "loss_vs_compute",
    "nu_sweep",
    "predicted_scaling",
    "reliability_diagrams",
    "residuals",
    "save_png",
    "scaling_summary",
    "task_accuracy",
    "theory_curves",
    "title_of",
    "to_png",
    "to_svg",
    "tokens_per_parameter",
    "trends",
]
