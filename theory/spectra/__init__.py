"""Scaling laws predicted before any training: from a spectrum, a teacher, or a batch's Hessian.

from theory import spectra
s = spectra.empirical_spectrum(K, y)  # of a kernel on M points
spectra.learning_curve(s, n=[100, 1000], ridge=0.1, population=len(y)).test
spectra.best_ridge_features(s, n=1000, features=[100, 1000]).test
spectra.exponents(s, 10, 200).a  # l_i ~ i^-(1+a)
spectra.predicted_curve(K, y, [32, 64, 128]).exponent  # with an interval

spectra.pruned_perceptron(alpha=2.0, fraction=0.5, keep="hard").error
product = spectra.hessian_product(loss, params)
top = spectra.lanczos_spectrum(product, key=jax.random.key(0)).largest
spectra.sgd_learning_rate(spectra.batch_hessian_eigenvalue(top, sigma, parameters, batch))
"""

from theory.spectra.batch_size import (
    adam_learning_rate,
    batch_gauss_newton_eigenvalue,
    batch_hessian_eigenvalue,
    scaled_learning_rate,
    sgd_learning_rate,
)
from theory.spectra.eigenlearning import best_ridge, learnability, learning_curve
from theory.spectra.framework import Curve
from theory.spectra.lanczos import LanczosSpectrum, Product, hessian_product, lanczos_spectrum
from theory.spectra.prediction import (
    Interval,
    PredictedCurve,
    log_log_exponent,
    predicted_curve,
    slope_weights,
)
from theory.spectra.pruning import BestFraction, Pruned, best_fraction, pruned_perceptron
from theory.spectra.random_features import best_ridge_features, random_feature_curve
from theory.spectra.regimes import (
    Regime,
    ScalingExponents,
    manifold_exponent,
    regime,
    scaling_exponents,
)
from theory.spectra.spectrum import Spectrum, empirical_spectrum, power_law, spectrum
from theory.spectra.tail import Exponent, Exponents, Extended, exponents, extend_tail

__all__ = [
    "BestFraction",
    "Curve",
    "Exponent",
    "Exponents",
    "Extended",
    "Interval",
    "LanczosSpectrum",
    "PredictedCurve",
    "Product",
    "Pruned",
    "Regime",
    "ScalingExponents",
    "Spectrum",
    "adam_learning_rate",
    "batch_gauss_newton_eigenvalue",
    "batch_hessian_eigenvalue",
    "best_fraction",
    "best_ridge",
    "best_ridge_features",
    "empirical_spectrum",
    "exponents",
    "extend_tail",
    "hessian_product",
    "lanczos_spectrum",
    "learnability",
    "learning_curve",
    "log_log_exponent",
    "manifold_exponent",
    "power_law",
    "predicted_curve",
    "pruned_perceptron",
    "random_feature_curve",
    "regime",
    "scaled_learning_rate",
    "scaling_exponents",
    "sgd_learning_rate",
    "slope_weights",
    "spectrum",
]
