"""Scaling laws: fit them to runs, say how sure the fit is, and predict from it.

    from theory import scaling
    fit = scaling.fit("chinchilla", {"N": N, "D": D, "loss": loss}, bootstrap=1000)
    fit.params, fit.status, fit.interval()
    scaling.frontier(fit, C=1e21)

`forms` maps the names that `fit` accepts to their declarations; a `Form` of your own is
accepted in place of a name.
"""

from theory.scaling.api import fit
from theory.scaling.compute_optimal import Frontier, frontier, frontier_interval
from theory.scaling.design import Plan, next_runs
from theory.scaling.form import Centre, Form, Positive, Report, Scale, Term
from theory.scaling.laws import forms
from theory.scaling.restore import restore
from theory.scaling.result import Fit, Interval, Status

__all__ = [
    "Fit",
    "Form",
    "Frontier",
    "Interval",
    "Plan",
    "Status",
    "Term",
    "fit",
    "forms",
    "frontier",
    "frontier_interval",
    "next_runs",
    "restore",
]
