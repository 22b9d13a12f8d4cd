"""Predictions of infinitely wide networks: gradient flow, Gaussian processes, and large solves."""

from theory.predict.conjugate_gradient import CGSolution, conjugate_gradient
from theory.predict.early_stopping import EarlyStopping, early_stopping
from theory.predict.gp_inference import Gaussian, gp_inference
from theory.predict.gradient_descent import ODEState, gradient_descent
from theory.predict.gradient_descent_mse import gradient_descent_mse
from theory.predict.gradient_descent_mse_ensemble import gradient_descent_mse_ensemble
from theory.predict.kernel_products import kernel_matvec
from theory.predict.kernel_ridge_regression import KernelRidgeRegression, kernel_ridge_regression
from theory.predict.max_learning_rate import max_learning_rate
from theory.predict.pivoted_cholesky import PivotedCholesky, pivoted_cholesky
from theory.predict.preconditioner import pivoted_cholesky_preconditioner
from theory.predict.student_t import StudentT, student_t

__all__ = [
    "CGSolution",
    "EarlyStopping",
    "Gaussian",
    "KernelRidgeRegression",
    "ODEState",
    "PivotedCholesky",
    "StudentT",
    "conjugate_gradient",
    "early_stopping",
    "gp_inference",
    "gradient_descent",
    "gradient_descent_mse",
    "gradient_descent_mse_ensemble",
    "kernel_matvec",
    "kernel_ridge_regression",
    "max_learning_rate",
    "pivoted_cholesky",
    "pivoted_cholesky_preconditioner",
    "student_t",
]
