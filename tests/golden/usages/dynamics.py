"""Training of one network, predicted from its kernel and its outputs at the start."""

import numpy as np

import theory as nt

rng = np.random.RandomState(2)
x_train, x_test = rng.standard_normal((8, 5)), rng.standard_normal((3, 5))
y_train = rng.standard_normal((8, 2))
fx_train_0, fx_test_0 = rng.standard_normal((8, 2)), rng.standard_normal((3, 2))

_, _, kernel_fn = nt.stax.serial(
    nt.stax.Dense(64, 1.4, 0.2),
    nt.stax.Relu(),
    nt.stax.Dense(64, 1.4, 0.2),
    nt.stax.Gelu(),
    nt.stax.Dense(2),
)
k_train_train = kernel_fn(x_train, None, "ntk")
k_test_train = kernel_fn(x_test, x_train, "ntk")

predict_fn = nt.predict.gradient_descent_mse(k_train_train, y_train, learning_rate=0.5)
train_10, test_10 = predict_fn(10.0, fx_train_0, fx_test_0, k_test_train)
train_end, test_end = predict_fn(None, fx_train_0, fx_test_0, k_test_train)
curve = predict_fn(np.array([1.0, 3.0]), fx_train_0)

result = {
    "train_10": train_10,
    "test_10": test_10,
    "train_end": train_end,
    "test_end": test_end,
    "curve": curve,
    "max_learning_rate": nt.predict.max_learning_rate(k_train_train, y_train_size=2),
    "max_learning_rate_momentum": nt.predict.max_learning_rate(k_train_train, 2, momentum=0.9),
}
