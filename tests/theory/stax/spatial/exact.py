"""Exact covariances of layers that are linear in their random weights.

The finite layer y = J(x) w has, for every width, E[y y'] = Theta = J J' in the ntk parametrisation:
no sampling is needed to compare a kernel with the finite layer, whose code is another one.
"""

from __future__ import annotations

import jax
import numpy as np

from theory import stax


def inputs(space, batch=3, channels=2, seed=0):
    """(batch, *space, channels) in float64."""
    return np.random.default_rng(seed).normal(size=(batch, *space, channels))


def masked_inputs(space, batch=3, channels=2, seed=0, constant=9.0):
    """Inputs a third of whose places hold `constant`; one place of each example never does."""
    x = inputs(space, batch, channels, seed)
    hidden = np.random.default_rng(seed + 1).random((batch, *space)) < 0.35
    hidden.reshape(batch, -1)[:, seed % hidden[0].size] = False
    x[hidden] = constant
    return x


def zero_params(net, shape):
    """(output shape, parameters that are zero): a linear network's Jacobian is the same at all."""
    shapes = []

    def init(key):
        out, params = net.init_fn(key, shape)
        shapes.append(out)
        return params

    params = jax.eval_shape(init, jax.random.key(0))
    return shapes[0], jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)


def tangent_kernel(net, x1, x2, **options):
    """J J' of the first channel: (N1, N2, p_1, q_1, ..); masked outputs give zero."""
    x = np.concatenate([x1, x2])
    shape, params = zero_params(net, x.shape)
    apply = stax.unmask_fn(net.apply_fn)
    rows = jax.jit(jax.jacobian(lambda p: apply(p, x, **options)[..., 0]))(params)
    ndim = len(shape) - 1  # batch and space
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(rows)]
    rows = np.concatenate([leaf.reshape(*leaf.shape[:ndim], -1) for leaf in leaves], -1)
    out = np.tensordot(rows[: len(x1)], rows[len(x1) :], (-1, -1))  # (N1, *p, N2, *q)
    return out.transpose([axis + half * ndim for axis in range(ndim) for half in (0, 1)])


def finite_mask(net, x, constant=9.0):
    """The mask of the finite network's outputs."""
    _, params = zero_params(net, x.shape)
    return jax.jit(lambda: net.apply_fn(params, x, mask_constant=constant).mask)()


def spatial_diagonal(value):
    """(N1, N2, p_1, q_1, ..) at p = q."""
    for axis in range(2, 2 + (value.ndim - 2) // 2):
        value = np.moveaxis(np.diagonal(value, axis1=axis, axis2=axis + 1), -1, axis)
    return value
