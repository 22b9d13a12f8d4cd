"""Scaling laws predicted before any training."""

from theory.spectra.eigenlearning import best_ridge, learnability, learning_curve
from theory.spectra.framework import Curve
from theory.spectra.random_features import best_ridge_features, random_feature_curve
from theory.spectra.spectrum import Spectrum, empirical_spectrum, power_law, spectrum
