"""Sequences of different lengths, padded by a value that masks them."""

import jax
import jax.numpy as jnp
import numpy as np

import theory as nt

rng = np.random.RandomState(8)
PAD = 100.0


def padded(lengths):
    x = np.full((len(lengths), 7, 4), PAD)
    for i, n in enumerate(lengths):
        x[i, :n] = rng.standard_normal((n, 4))
    return x


x1, x2 = padded([7, 3, 5]), padded([2, 6])
init_fn, apply_fn, kernel_fn = nt.stax.serial(
    nt.stax.Conv(6, (3,), padding="SAME", W_std=1.3, b_std=0.1),
    nt.stax.Relu(),
    nt.stax.GlobalSelfAttention(6, n_chan_key=4, n_chan_val=4, n_heads=2, b_std=0.1),
    nt.stax.Relu(),
    nt.stax.GlobalAvgPool(),
    nt.stax.Dense(1),
)
_, params = init_fn(jax.random.PRNGKey(0), (-1, 7, 4))
params = jax.tree_util.tree_map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), params)
apply_fn = nt.stax.unmask_fn(apply_fn)

result = {
    "kernels": np.stack([*kernel_fn(x1, x2, ("nngp", "ntk"), mask_constant=PAD)]),
    "outputs": apply_fn(params, x1, mask_constant=PAD),
}
