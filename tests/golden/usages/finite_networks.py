"""Kernels of a finite network, by every implementation and for every choice of axes."""

import jax
import jax.numpy as jnp
import numpy as np

import theory as nt

rng = np.random.RandomState(4)
x1, x2 = rng.standard_normal((4, 5, 2)), rng.standard_normal((3, 5, 2))

init_fn, apply_fn, _ = nt.stax.serial(
    nt.stax.Conv(6, (3,), padding="SAME", b_std=0.1),
    nt.stax.Relu(),
    nt.stax.Flatten(),
    nt.stax.Dense(3, b_std=0.2),
)
_, params = init_fn(jax.random.PRNGKey(0), (-1, 5, 2))
params = jax.tree_util.tree_map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), params)

result = {"outputs": apply_fn(params, x1)}
for implementation in nt.NtkImplementation:
    ntk_fn = nt.empirical_ntk_fn(
        apply_fn, trace_axes=(), vmap_axes=0, implementation=implementation
    )
    result["full_" + implementation.name] = ntk_fn(x1, x2, params)
result["traced"] = nt.empirical_ntk_fn(apply_fn)(x1, None, params)
result["diagonal"] = nt.empirical_ntk_fn(apply_fn, trace_axes=(), diagonal_axes=(-1,))(
    x1, x2, params
)
result["nngp"] = nt.empirical_nngp_fn(apply_fn)(x1, x2, params)
both = nt.empirical_kernel_fn(apply_fn)(x1, x2, ("nngp", "ntk"), params)
result["both_nngp"], result["both_ntk"] = both.nngp, both.ntk
