"""Scaling laws: fit them to runs, say how sure the fit is, and predict from it.

    from theory import scaling
    fit = scaling.fit("chinchilla", {"N": N, "D": D, "loss": loss}, bootstrap=1000)
    fit.params, fit.status, fit.interval(), fit.profile(), fit.identifiability
    scaling.frontier(fit, C=1e21)
    scaling.compare(["m2", "m4", "bnsl"], {"x": x, "y": y})

`forms` maps the names that `fit` accepts to their declarations; a `Form` of your own is
accepted in place of a name.
"""

from theory.scaling.api import fit
from theory.scaling.approaches import (
    Envelope,
    IsoFLOP,
    PowerLaw,
    envelope,
    isoflop,
    isoflop_bias,
)
from theory.scaling.compare import Comparison, compare, split
from theory.scaling.compute_optimal import Frontier, frontier, frontier_interval
from theory.scaling.design import Plan, next_runs
from theory.scaling.form import Centre, Form, Positive, Report, Scale, Term
from theory.scaling.identifiability import Identifiability
from theory.scaling.intervals import Covariance
from theory.scaling.laws import forms
from theory.scaling.noise_scale import NoiseScale, gradient_noise_scale
from theory.scaling.optimum import BestShape, Optimum, best_shape, optimum, optimum_interval
from theory.scaling.restore import restore
from theory.scaling.result import Fit, Interval, Status

__all__ = [
    "BestShape",
    "Centre",
    "Comparison",
    "Covariance",
    "Envelope",
    "Fit",
    "Form",
    "Frontier",
    "Identifiability",
    "Interval",
    "IsoFLOP",
    "NoiseScale",
    "Optimum",
    "Plan",
    "Positive",
    "PowerLaw",
    "Report",
    "Scale",
    "Status",
    "Term",
    "best_shape",
    "compare",
    "envelope",
    "fit",
    "forms",
    "frontier",
    "frontier_interval",
    "gradient_noise_scale",
    "isoflop",
    "isoflop_bias",
    "next_runs",
    "optimum",
    "optimum_interval",
    "restore",
    "split",
]
