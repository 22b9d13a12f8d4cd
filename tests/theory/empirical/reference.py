"""The neural tangent kernel by its definition, in NumPy float64 from whole Jacobians."""

from __future__ import annotations

import jax
import numpy as np


def jacobians(f, params, x) -> list[np.ndarray]:
    """(*output, parameters) of every output of f."""
    leaves, tree = jax.tree.flatten(params)
    moving = [i for i, leaf in enumerate(leaves) if np.issubdtype(leaf.dtype, np.floating)]

    def of(values):
        full = list(leaves)
        for i, value in zip(moving, values, strict=True):
            full[i] = value
        return jax.tree.leaves(f(tree.unflatten(full), x))

    shapes = [out.shape for out in jax.eval_shape(of, [leaves[i] for i in moving])]
    parts = jax.jit(jax.jacrev(of))([leaves[i] for i in moving])
    return [
        np.concatenate([np.asarray(j, np.float64).reshape(*shape, -1) for j in part], axis=-1)
        for shape, part in zip(shapes, parts, strict=True)
    ]


def ntk(f, params, x1, x2) -> list[np.ndarray]:
    """(N1, N2, K, K, ..) of every output: axes in pairs, none traced."""
    found = []
    for j1, j2 in zip(jacobians(f, params, x1), jacobians(f, params, x2), strict=True):
        whole = np.tensordot(j1, j2, axes=[-1, -1])
        n = j1.ndim - 1
        found.append(whole.transpose([a for i in range(n) for a in (i, n + i)]))
    return found


def reduced(full: np.ndarray, trace: tuple[int, ...], diagonal: tuple[int, ...]) -> np.ndarray:
    """A full kernel with pairs of axes averaged, or their diagonal taken."""
    ndim = full.ndim // 2
    labels, out = [], []
    size = 1
    for a in range(ndim):
        shared = a in trace or a in diagonal
        labels += [a, a if shared else ndim + a]
        size *= full.shape[2 * a] if a in trace else 1
        if a not in trace:
            out += [a] if shared else [a, ndim + a]
    return np.einsum(full, labels, out) / size
