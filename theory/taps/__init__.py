"""Second moments of the taps of long-convolution filters at initialisation.

A depthwise convolution with random taps k_c(s), followed by a layer that mixes channels, maps the
covariances of its inputs over positions by

    K'(t, t') = sum_{s, s'} R(s, s') K(t - s, t' - s')
    Theta'(t, t') = sum T(s, s') K(t - s, t' - s') + sum R(s, s') Theta(t - s, t' - s')

    R(s, s') = mean over channels of E[k_c(s) k_c(s')]
    T(s, s') = mean over channels of E[grad k_c(s) . grad k_c(s')]

in the NTK parametrisation: a trained parameter is its initial deviation times w, w ~ N(0, 1) at the
start, and gradients are with respect to w.
"""

from theory.taps.hyena import hyena
from theory.taps.moments import Moments
from theory.taps.profiles import exponential, flat, gaussian, power_law
from theory.taps.s4d import s4d
from theory.taps.sgconv import sgconv
from theory.taps.squash import squash

__all__ = [
    "Moments",
    "exponential",
    "flat",
    "gaussian",
    "hyena",
    "power_law",
    "s4d",
    "sgconv",
    "squash",
]
