"""Fit a law to our runs or to anyone's table, say how noisy a run is, and predict the next one."""

from farwide.fitting.fits import RunsFit, fit_runs, fit_table
from farwide.fitting.noise import NoiseEstimate, estimate_noise
from farwide.fitting.prediction import (
    Prediction,
    load_prediction,
    predict_run,
    save_prediction,
)
from farwide.fitting.summary import (
    Estimate,
    compute_optimal_exponents,
    objective_name,
    parameter_estimates,
    save_fit,
)

__all__ = [
    "Estimate",
    "NoiseEstimate",
    "Prediction",
    "RunsFit",
    "compute_optimal_exponents",
    "estimate_noise",
    "fit_runs",
    "fit_table",
    "load_prediction",
    "objective_name",
    "parameter_estimates",
    "predict_run",
    "save_fit",
    "save_prediction",
]
