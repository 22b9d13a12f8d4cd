"""Small kernels with exact answers, in NumPy float64."""

from __future__ import annotations

from collections import namedtuple

import jax.numpy as jnp
import numpy as np

Kernels = namedtuple("Kernels", ("nngp", "ntk"))


def paired(matrix, rows, columns):
    """A matrix as a kernel with axes (a, a', b, b', ..)."""
    rank = len(rows)
    value = np.asarray(matrix).reshape(*rows, *columns)
    return value.transpose([axis for i in range(rank) for axis in (i, rank + i)])


def joint(n, test, seed=0):
    """(nngp, ntk) of n training and `test` test rows; positive definite, ntk - nngp too."""
    rng = np.random.default_rng(seed)
    size = n + test
    a, b = rng.normal(size=(2, size, size + 3)) / 3
    nngp = a @ a.T
    return nngp, nngp + b @ b.T


def kernel_fn(x1, x2, get, **kwargs):
    """A kernel in the manner of stax, with no network: exp of a linear kernel."""
    assert not kwargs
    x2 = x1 if x2 is None else x2
    linear = jnp.matmul(x1, x2.T, precision="highest") / x1.shape[1]
    values = {"nngp": jnp.exp(linear), "ntk": (1 + linear) * jnp.exp(linear)}
    names = (get,) if isinstance(get, str) else get
    found = namedtuple("K", names)(*(values[name] for name in names))
    return found[0] if isinstance(get, str) else found


def inputs(n, test, dim=5, outputs=2, seed=0):
    """(x_train, y_train, x_test)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)), rng.normal(size=(n, outputs)), rng.normal(size=(test, dim))
