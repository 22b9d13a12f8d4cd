"""Long filters: Linen modules that return taps (channels, length), and their settings."""

from farwide.models.filters.hyena import Hyena, HyenaFilter
from farwide.models.filters.make import FilterConfig, make_filter
from farwide.models.filters.s4d import S4D, Recurrence, S4DFilter, discretise, initial_poles
from farwide.models.filters.sgconv import SGConv, SGConvFilter, sgconv_scales, sgconv_taps
from farwide.models.filters.squashed import Squash, SquashedFilter, smooth, squash

__all__ = [
    "S4D",
    "FilterConfig",
    "Hyena",
    "HyenaFilter",
    "Recurrence",
    "S4DFilter",
    "SGConv",
    "SGConvFilter",
    "Squash",
    "SquashedFilter",
    "discretise",
    "initial_poles",
    "make_filter",
    "sgconv_scales",
    "sgconv_taps",
    "smooth",
    "squash",
]
