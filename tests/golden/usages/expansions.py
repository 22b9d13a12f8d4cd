"""A network's Taylor series in its parameters, and products of its NTK with a vector."""

import jax
import jax.numpy as jnp
import numpy as np

import theory as nt

rng = np.random.RandomState(5)
x, other = rng.standard_normal((4, 3)), rng.standard_normal((2, 3))


def apply_fn(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def draw(scale):
    shapes = {"w": (3, 6), "b": (6,), "v": (6, 2)}
    return {name: scale * rng.standard_normal(shape) for name, shape in shapes.items()}


start, step = draw(1.0), draw(0.1)
moved = jax.tree_util.tree_map(lambda a, b: a + b, start, step)

linear = nt.linearize(apply_fn, start)
cubic = nt.taylor_expand(apply_fn, start, 3)
product = nt.empirical_ntk_vp_fn(apply_fn, x, other, start)

result = {
    "linear": linear(moved, x),
    "at_start": linear(start, x) - apply_fn(start, x),
    "cubic": cubic(moved, x),
    "ntk_of_linear": nt.empirical_ntk_fn(linear, trace_axes=())(x, other, moved),
    "product": product(rng.standard_normal((2, 2))),
}
