"""muP: learning rates and initial values under which the best settings do not move with width."""

from farwide.mup.coordinates import CoordinateCheck, Slope, coordinate_check, slope_table, slopes
from farwide.mup.describe import describe
from farwide.mup.factors import initial_factor, learning_rate_factor, mup_init, scale_by_mup
from farwide.mup.roles import Role, Rule, infer_roles

__all__ = [
    "CoordinateCheck",
    "Role",
    "Rule",
    "Slope",
    "coordinate_check",
    "describe",
    "infer_roles",
    "initial_factor",
    "learning_rate_factor",
    "mup_init",
    "scale_by_mup",
    "slope_table",
    "slopes",
]
