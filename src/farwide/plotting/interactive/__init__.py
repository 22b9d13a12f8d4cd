"""Interactive figures of a fit (plotly), one kind a file; `pip install "farwide[report]"`.

Each is a function from a fit and its rows to a plotly `Figure`, or to a sentence that says why
there is nothing to draw.
"""

from farwide.plotting.interactive.compute import loss_against_compute
from farwide.plotting.interactive.corner import corner
from farwide.plotting.interactive.curve import curve
from farwide.plotting.interactive.extrapolation import extrapolation
from farwide.plotting.interactive.isoflop import best_size, isoflop, parabolas
from farwide.plotting.interactive.residuals import residuals
from farwide.plotting.interactive.rows import Rows
from farwide.plotting.interactive.style import DARK
from farwide.plotting.interactive.tokens import tokens_per_parameter

__all__ = [
    "DARK",
    "Rows",
    "best_size",
    "corner",
    "curve",
    "extrapolation",
    "isoflop",
    "loss_against_compute",
    "parabolas",
    "residuals",
    "tokens_per_parameter",
]
