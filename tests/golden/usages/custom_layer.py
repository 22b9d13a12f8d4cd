"""Layers of one's own, between those of the library."""

import jax.numpy as jnp
import numpy as np

import theory as nt

rng = np.random.RandomState(10)
x1, x2 = rng.standard_normal((4, 6, 3)), rng.standard_normal((3, 6, 3))


@nt.stax.layer
@nt.stax.supports_masking(remask_kernel=False)
def Scale(factor):
    """factor * x."""

    def init_fn(rng, input_shape):
        return input_shape, ()

    def apply_fn(params, inputs, **kwargs):
        return factor * inputs

    @nt.stax.requires(diagonal_spatial=nt.stax.Diagonal())
    def kernel_fn(k, **kwargs):
        def scaled(covariance):
            return None if covariance is None else factor**2 * covariance

        return k.replace(
            nngp=scaled(k.nngp), ntk=scaled(k.ntk), cov1=scaled(k.cov1), cov2=scaled(k.cov2)
        )

    return init_fn, apply_fn, kernel_fn


def square_nngp(cov12, var1, var2):
    return var1 * var2 + 2 * cov12**2


init_fn, apply_fn, kernel_fn = nt.stax.serial(
    nt.stax.Conv(8, (3,), padding="SAME", W_std=1.2),
    Scale(0.5),
    nt.stax.Elementwise(lambda x: x**2, square_nngp),
    nt.stax.Conv(8, (2,)),
    nt.stax.Relu(),
    Scale(3.0),
    nt.stax.GlobalAvgPool(),
    nt.stax.Dense(1),
)
_, scale_apply, scale_kernel = Scale(2.0)

result = {
    "kernels": np.stack([*kernel_fn(x1, x2, ("nngp", "ntk"))]),
    "alone": scale_kernel(x1, x2, "nngp"),
    "scaled": scale_apply((), jnp.asarray(x1)),
}
