"""An infinite ensemble trained by gradient descent on a squared loss, and its uncertainty."""

import numpy as np

import theory as nt

rng = np.random.RandomState(1)
x_train, x_test = rng.uniform(-1, 1, (12, 3)), rng.uniform(-1, 1, (5, 3))
y_train = np.stack([np.sin(3 * x_train.sum(-1)), x_train[:, 0] ** 2], -1)

_, _, kernel_fn = nt.stax.serial(
    nt.stax.Dense(512, 2.0, 0.3),
    nt.stax.Erf(),
    nt.stax.Dense(512, 2.0, 0.3),
    nt.stax.Erf(),
    nt.stax.Dense(1),
)
predict_fn = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x_train, y_train, diag_reg=1e-3)

both = predict_fn(x_test=x_test, get=("nngp", "ntk"), compute_cov=True)
early = predict_fn(t=20.0, x_test=x_test, get="ntk", compute_cov=True)
curve = predict_fn(t=np.array([0.0, 5.0, 50.0]), x_test=x_test, get="ntk")
train = predict_fn(t=7.0, x_test=None, get="nngp")

result = {
    "nngp_mean": both.nngp.mean,
    "nngp_covariance": both.nngp.covariance,
    "ntk_mean": both.ntk.mean,
    "ntk_covariance": both.ntk.covariance,
    "early_mean": early.mean,
    "early_covariance": early.covariance,
    "curve": curve,
    "train": train,
}
