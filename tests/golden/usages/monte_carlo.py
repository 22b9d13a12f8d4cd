"""A kernel estimated from random finite networks, beside the one of their limit."""

import jax
import numpy as np

import theory as nt

rng = np.random.RandomState(11)
x1, x2 = rng.standard_normal((3, 4)), rng.standard_normal((2, 4))

init_fn, apply_fn, kernel_fn = nt.stax.serial(
    nt.stax.Dense(128, 1.3, 0.2), nt.stax.Relu(), nt.stax.Dense(16, 1.3, 0.2)
)
key = jax.random.PRNGKey(0)
once_fn = nt.monte_carlo_kernel_fn(init_fn, apply_fn, key, n_samples=40)
growing_fn = nt.monte_carlo_kernel_fn(init_fn, apply_fn, key, n_samples=[10, 40])


def error(estimate, limit):
    return float(np.linalg.norm(estimate - limit) / np.linalg.norm(limit))


limit = kernel_fn(x1, x2, ("nngp", "ntk"))
once = once_fn(x1, x2, ("nngp", "ntk"))
growing = list(growing_fn(x1, x2, "ntk"))

result = {
    "limit": np.stack([*limit]),
    "near_the_limit": np.array(
        [error(once.nngp, limit.nngp) < 0.2, error(once.ntk, limit.ntk) < 0.2]
    ),
    "estimates": np.array([len(growing), *growing[-1].shape]),
    "last_is_all": np.array(error(growing[-1], once.ntk) < 1e-10),
}
