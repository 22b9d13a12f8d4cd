"""A kernel computed in batches, analytic and empirical."""

import jax
import jax.numpy as jnp
import numpy as np

import theory as nt

rng = np.random.RandomState(6)
x1, x2 = rng.standard_normal((6, 5, 5, 3)), rng.standard_normal((4, 5, 5, 3))

init_fn, apply_fn, kernel_fn = nt.stax.serial(
    nt.stax.Conv(4, (3, 3), padding="SAME", W_std=1.4, b_std=0.1),
    nt.stax.Relu(),
    nt.stax.GlobalAvgPool(),
    nt.stax.Dense(2),
)
_, params = init_fn(jax.random.PRNGKey(0), (-1, 5, 5, 3))
params = jax.tree_util.tree_map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), params)

batched = nt.batch(kernel_fn, batch_size=2, device_count=0)
on_host = nt.batch(kernel_fn, batch_size=2, device_count=0, store_on_device=False)
empirical = nt.batch(nt.empirical_ntk_fn(apply_fn), batch_size=2, device_count=0)

result = {
    "both": np.stack([*batched(x1, x2, ("nngp", "ntk"))]),
    "symmetric": batched(x1, None, "ntk"),
    "on_host": on_host(x1, x2, "ntk"),
    "empirical": empirical(x1, x2, params),
}
