"""Small networks whose parameters enter in every way that structured derivatives know or avoid."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def _normals(*shapes: tuple[int, ...]) -> list[Array]:
    draw = np.random.default_rng(7)
    return [jnp.asarray(draw.normal(size=shape)) for shape in shapes]


def inputs(shape: tuple[int, ...], n1: int = 3, n2: int = 2) -> tuple[Array, Array]:
    """Two sets of examples of a shape."""
    draw = np.random.default_rng(8)
    return jnp.asarray(draw.normal(size=(n1, *shape))), jnp.asarray(draw.normal(size=(n2, *shape)))


def _conv(x, w, **options):
    given = {"window_strides": (1, 1), "padding": "SAME"} | options
    return lax.conv_general_dilated(x, w, dimension_numbers=("NHWC", "HWIO", "NHWC"), **given)


def mlp():
    def f(p, x):
        h = jax.nn.relu(0.4 * (x @ p["w"]) + 0.1 * p["b"])
        h = jnp.tanh(h @ p["v"] / 2 - p["c"])
        return h @ p["out"]

    names = ("w", "b", "v", "c", "out")
    return f, dict(zip(names, _normals((4, 6), (6,), (6, 5), (5,), (5, 3)), strict=True)), (4,)


def tied():
    """One matrix three times: twice as it is, once transposed."""

    def f(p, x):
        h = jnp.sin(x @ p)
        h = jnp.sin(h @ p.T)
        return h @ p

    return f, _normals((4, 3))[0], (4,)


def recurrent():
    """The same matrices at every step, unrolled."""

    def f(p, x):
        u, w = p
        h = jnp.zeros((x.shape[0], 3))
        for t in range(x.shape[1]):
            h = jnp.tanh(x[:, t] @ u + h @ w)
        return h

    return f, tuple(_normals((2, 3), (3, 3))), (4, 2)


def scanned():
    """Parameters of a loop: sliced by it, and constants of it."""

    def f(p, x):
        def step(h, w):
            return jnp.tanh(h @ w + p["b"]), None

        return lax.scan(step, x, p["w"])[0]

    return f, dict(zip("wb", _normals((3, 4, 4), (4,)), strict=True)), (4,)


def weight_norm():
    def f(p, x):
        v = p["v"] / jnp.linalg.norm(p["v"], axis=0)
        return jnp.cos(x @ (v * p["g"])) @ p["out"]

    return f, dict(zip(("v", "g", "out"), _normals((4, 5), (5,), (5, 2)), strict=True)), (4,)


def layer_norm():
    def f(p, x):
        h = x @ p["w"]
        h = (h - h.mean(-1, keepdims=True)) * lax.rsqrt(h.var(-1, keepdims=True) + 1e-3)
        return jnp.sin(h * p["scale"] + p["shift"]) * p["gain"]

    shapes = ((4, 5), (5,), (5,), ())
    return f, dict(zip(("w", "scale", "shift", "gain"), _normals(*shapes), strict=True)), (4,)


def conv():
    """Strides, dilation, a channelwise and a grouped filter, a bias, a residual, flattened."""

    def f(p, x):
        h = jax.nn.relu(_conv(x, p["first"], window_strides=(2, 1)) + p["b"])
        h = h + _conv(h, p["dilated"], rhs_dilation=(1, 2), padding=((1, 1), (2, 2)))
        h = jnp.sin(_conv(h, p["grouped"], feature_group_count=2))
        h = _conv(h, p["valid"], padding=((0, 0), (0, 0)), lhs_dilation=(2, 1))
        return h.reshape(h.shape[0], -1) @ p["out"]

    shapes = {"first": (3, 3, 2, 4), "b": (4,), "dilated": (3, 3, 4, 4), "grouped": (1, 2, 2, 4)}
    shapes |= {"valid": (2, 2, 4, 2), "out": (12, 2)}
    return f, dict(zip(shapes, _normals(*shapes.values()), strict=True)), (4, 4, 2)


def pooled_conv():
    """Spatial outputs beside pooled ones: a pytree of outputs."""

    def f(p, x):
        h = jnp.sin(_conv(x, p["w"]))
        return {"map": h[..., :2], "mean": h.mean((1, 2)) @ p["out"]}

    return f, dict(zip(("w", "out"), _normals((3, 3, 2, 4), (4, 2)), strict=True)), (3, 3, 2)


def attention():
    def f(p, x):
        q, k, v = jnp.einsum("btc,schd->sbthd", x, p["qkv"])
        weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k) / 2.0)
        y = jnp.einsum("bhts,bshd,hdc->btc", weights, v, p["out"])
        return (x + y + p["bias"][None, None]).mean(1)

    shapes = ((3, 4, 2, 3), (2, 3, 4), (4,))
    return f, dict(zip(("qkv", "out", "bias"), _normals(*shapes), strict=True)), (5, 4)


def experts():
    """A batched product: the heads' axis of the parameter is in all factors."""

    def f(p, x):
        h = jnp.einsum("bhc,hcd->bhd", x, p["w"])
        return jnp.tanh(h).sum(1) @ p["out"]

    return f, dict(zip(("w", "out"), _normals((3, 2, 4), (4, 2)), strict=True)), (3, 2)


def reshaped():
    """A flat parameter vector, cut up; a parameter that is not used; an integer one."""

    def f(p, x):
        w = p["flat"].reshape(4, 5)
        return jnp.sin(x @ w) @ p["half"].astype(w.dtype).T[:, :2] * p["n"]

    flat, half = _normals((20,), (3, 5))
    return f, {"flat": flat, "half": half, "idle": jnp.ones(2), "n": jnp.int32(2)}, (4,)


def called():
    """Inner programs: jit twice with one trace, checkpoint, a custom_vjp."""

    @jax.jit
    def dense(w, b, h):
        return h @ w + b

    @jax.custom_vjp
    def clip(h):
        return jnp.clip(h, -1.0, 1.0)

    clip.defvjp(
        lambda h: (clip(h), jnp.abs(h) < 1), lambda inside, g: (jnp.where(inside, g, 0.1 * g),)
    )

    def f(p, x):
        h = clip(dense(p["w"], p["b"], x))
        h = dense(p["w"], p["b"], h)
        h = jax.checkpoint(lambda w, h: jnp.sin(h @ w))(p["v"], h)
        return dense(p["w"], -1.0, h)

    return f, dict(zip("wbv", _normals((4, 4), (4,), (4, 4)), strict=True)), (4,)


def embedding():
    """Rows of a table, and the table again as the output layer."""

    def f(p, x):
        tokens = jnp.argsort(x, axis=1)
        h = jnp.tanh(p["table"][tokens] @ p["w"])
        return h.mean(1) @ p["table"].T

    return f, dict(zip(("table", "w"), _normals((5, 3), (3, 3)), strict=True)), (5,)


def bare():
    """Parameters that are outputs, squared, and subtracted from."""

    def f(p, x):
        return (1.0 - p["a"]) * x * p["a"] + (p["a"] * p["a"] - p["c"][None])

    return f, dict(zip("ac", _normals((4,), (4,)), strict=True)), (4,)


NETWORKS = {
    made.__name__: made
    for made in (
        mlp, tied, recurrent, scanned, weight_norm, layer_norm, conv, pooled_conv, attention,
        experts, reshaped, called, embedding, bare,
    )
}  # fmt: skip
