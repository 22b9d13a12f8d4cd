"""Gradient descent on any loss, with and without momentum, as an ordinary differential equation."""

import jax
import jax.numpy as jnp
import numpy as np

import theory as nt

rng = np.random.RandomState(3)
x_train, x_test = rng.standard_normal((7, 5)), rng.standard_normal((3, 5))
y_train = np.eye(3)[rng.randint(0, 3, 7)]
fx_train_0, fx_test_0 = np.zeros((7, 3)), np.zeros((3, 3))

_, _, kernel_fn = nt.stax.serial(nt.stax.Dense(64, 1.4, 0.2), nt.stax.Relu(), nt.stax.Dense(3))
k_train_train = kernel_fn(x_train, None, "ntk")
k_test_train = kernel_fn(x_test, x_train, "ntk")


def cross_entropy(fx, y):
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(fx) * y, -1))


plain_fn = nt.predict.gradient_descent(cross_entropy, k_train_train, y_train, learning_rate=0.7)
plain = plain_fn(25.0, fx_train_0, fx_test_0, k_test_train)

heavy_fn = nt.predict.gradient_descent(cross_entropy, k_train_train, y_train, 0.7, momentum=0.9)
state = heavy_fn(
    np.array([2.0, 6.0]), nt.predict.ODEState(fx_train_0, fx_test_0), None, k_test_train
)

result = {
    "plain_train": plain[0],
    "plain_test": plain[1],
    "heavy_train": state.fx_train,
    "heavy_test": state.fx_test,
}
