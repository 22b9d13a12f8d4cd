"""Deep kernel machines: Gaussian-process limits that learn representations.

The full machine (objective, fit_grams, posterior) is over Gram matrices of all training inputs; the
sparse one is made of layers over inducing points, and takes vectors or images.
"""

from theory.dkm.conditions import Condition, conditions
from theory.dkm.deep_gp import Sampled, sample_deep_gp
from theory.dkm.divergence import kl, taylor_kl
from theory.dkm.failure import Diverged, condition_number
from theory.dkm.gram import Gram
from theory.dkm.gram_layer import Skr, gram
from theory.dkm.heaviside import PolarHeaviside
from theory.dkm.inputs import inputs
from theory.dkm.jitter import Jitter
from theory.dkm.kernel_layer import kernel
from theory.dkm.kernels import gram_kernel, matrix_kernel
from theory.dkm.layer import Layer, identity, residual, serial
from theory.dkm.likelihood import Likelihood, categorical, gaussian
from theory.dkm.mixup import mixup
from theory.dkm.model import Model, Terms, init, log_density, predict, terms
from theory.dkm.norm import norm
from theory.dkm.objective import Objective, objective
from theory.dkm.optimise import Fitted, fit_grams
from theory.dkm.output import Output, gaussian_optimum, output
from theory.dkm.patches import patches, random_patches
from theory.dkm.pooling import global_pool
from theory.dkm.posterior import Posterior, posterior
from theory.dkm.readout import fit_readout
from theory.dkm.resnet import resnet
from theory.dkm.training import State, make_step, start, thawed, train

__all__ = [
    "Condition",
    "Diverged",
    "Fitted",
    "Gram",
    "Jitter",
    "Layer",
    "Likelihood",
    "Model",
    "Objective",
    "Output",
    "PolarHeaviside",
    "Posterior",
    "Sampled",
    "Skr",
    "State",
    "Terms",
    "categorical",
    "condition_number",
    "conditions",
    "fit_grams",
    "fit_readout",
    "gaussian",
    "gaussian_optimum",
    "global_pool",
    "gram",
    "gram_kernel",
    "identity",
    "init",
    "inputs",
    "kernel",
    "kl",
    "log_density",
    "make_step",
    "matrix_kernel",
    "mixup",
    "norm",
    "objective",
    "output",
    "patches",
    "posterior",
    "predict",
    "random_patches",
    "residual",
    "resnet",
    "sample_deep_gp",
    "serial",
    "start",
    "taylor_kl",
    "terms",
    "thawed",
    "train",
]
