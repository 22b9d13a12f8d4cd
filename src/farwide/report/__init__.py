"""The HTML report of a sweep: one self-contained page and a PNG of every figure."""

from farwide.report.page import build

__all__ = ["build"]
