"""Fit a law to our runs or to anyone's table, say how noisy a run is, and predict the next one."""

from farwide.fitting.comparison import with_comparison
from farwide.fitting.fits import Certainty, RunsFit, certainty, fit_runs, fit_table
from farwide.fitting.hold_out import HoldOut, Score, log_errors, parse_hold_out, score
from farwide.fitting.noise import NoiseEstimate, estimate_noise
from farwide.fitting.prediction import (
    Prediction,
    load_prediction,
    predict_run,
    save_prediction,
)
from farwide.fitting.saved import SavedFit, load_fit, save_fit
from farwide.fitting.summary import (
    Estimate,
    compute_optimal_exponents,
    objective_name,
    parameter_estimates,
)

__all__ = [
    "Certainty",
    "Estimate",
    "HoldOut",
    "NoiseEstimate",
    "Prediction",
    "RunsFit",
    "SavedFit",
    "Score",
    "certainty",
    "compute_optimal_exponents",
    "estimate_noise",
    "fit_runs",
    "fit_table",
    "load_fit",
    "load_prediction",
    "log_errors",
    "objective_name",
    "parameter_estimates",
    "parse_hold_out",
    "predict_run",
    "save_fit",
    "save_prediction",
    "score",
    "with_comparison",
]
