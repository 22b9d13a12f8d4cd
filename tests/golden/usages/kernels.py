"""The kernels of an infinitely wide network, asked for in each way."""

import numpy as np

import theory as nt

rng = np.random.RandomState(0)
x1, x2 = rng.standard_normal((6, 10)), rng.standard_normal((4, 10))

init_fn, apply_fn, kernel_fn = nt.stax.serial(
    nt.stax.Dense(512, W_std=1.5, b_std=0.05),
    nt.stax.Relu(),
    nt.stax.Dense(512, W_std=1.5, b_std=0.05),
    nt.stax.Erf(),
    nt.stax.Dense(1),
)

both = kernel_fn(x1, x2, ("nngp", "ntk"))
nngp, ntk = both
whole = kernel_fn(x1, x2)
covariances = kernel_fn(x1, x2, ("cov1", "cov2"))

result = {
    "ntk": kernel_fn(x1, x2, "ntk"),
    "nngp": both.nngp,
    "unpacked": nngp + ntk,
    "whole": whole.ntk,
    "cov1": covariances.cov1,
    "cov2": covariances.cov2,
    "same": kernel_fn(x1, None, "nngp"),
    "facts": np.array([whole.is_gaussian, whole.is_input, whole.diagonal_batch]),
    "shapes": np.array([whole.shape1, whole.shape2]),
}
