"""Gaussian process inference from kernel matrices: NNGP, NTK and NTK-GP."""

import numpy as np

import theory as nt

rng = np.random.RandomState(9)
x_train, x_test = rng.standard_normal((10, 4)), rng.standard_normal((4, 4))
y_train = rng.standard_normal((10, 2))

_, _, kernel_fn = nt.stax.serial(
    nt.stax.Dense(64, 1.5, 0.3),
    nt.stax.Relu(),
    nt.stax.Dense(64, 1.5, 0.3),
    nt.stax.Relu(),
    nt.stax.Dense(1, 1.0, 0.1),
)
get = ("nngp", "ntk")
k_train_train = kernel_fn(x_train, None, get)
k_test_train = kernel_fn(x_test, x_train, get)
k_test_test = kernel_fn(x_test, None, get)

infer = nt.predict.gp_inference(k_train_train, y_train, diag_reg=1e-2)
bayesian = infer("nngp", k_test_train=k_test_train, k_test_test=k_test_test.nngp)
ensemble = infer("ntk", k_test_train=k_test_train, k_test_test=k_test_test)
ntkgp = infer("ntkgp", k_test_train=k_test_train, k_test_test=k_test_test.ntk)
means = infer(("nngp", "ntk"), k_test_train=k_test_train)
absolute = nt.predict.gp_inference(
    k_train_train.nngp, y_train, diag_reg=0.1, diag_reg_absolute_scale=True
)

result = {
    "bayesian_mean": bayesian.mean,
    "bayesian_covariance": bayesian.covariance,
    "ensemble_mean": ensemble.mean,
    "ensemble_covariance": ensemble.covariance,
    "ntkgp_covariance": ntkgp.covariance,
    "means": np.stack([means.nngp, means.ntk]),
    "absolute": absolute(None, k_test_train=k_test_train.nngp),
}
