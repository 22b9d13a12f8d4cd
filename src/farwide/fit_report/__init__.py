"""The HTML report of a fit: one self-contained page with interactive figures."""

from farwide.fit_report.page import MissingPlotly, build

__all__ = ["MissingPlotly", "build"]
