"""Nonlinearities, one family a file."""

from theory.stax.elementwise.error_function import Erf, Gelu, Sigmoid_like
from theory.stax.elementwise.exponential import Exp, ExpNormalized, Gabor, Gaussian
from theory.stax.elementwise.numerical import Elementwise, ElementwiseNumerical
from theory.stax.elementwise.periodic import Cos, Rbf, Sin
from theory.stax.elementwise.polynomial import Hermite, Monomial, Polynomial
from theory.stax.elementwise.rectified import ABRelu, Abs, LeakyRelu, Relu
from theory.stax.elementwise.rectified_power import RectifiedMonomial, Sign
from theory.stax.elementwise.smooth import Silu, Softplus, Swish, Tanh

__all__ = [
    "ABRelu",
    "Abs",
    "Cos",
    "Elementwise",
    "ElementwiseNumerical",
    "Erf",
    "Exp",
    "ExpNormalized",
    "Gabor",
    "Gaussian",
    "Gelu",
    "Hermite",
    "LeakyRelu",
    "Monomial",
    "Polynomial",
    "Rbf",
    "RectifiedMonomial",
    "Relu",
    "Sigmoid_like",
    "Sign",
    "Silu",
    "Sin",
    "Softplus",
    "Swish",
    "Tanh",
]
