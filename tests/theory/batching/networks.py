"""Networks and inputs shared by the tests of batching."""

from __future__ import annotations

import jax

from theory import stax


def dense():
    """A fully connected network's kernel function."""
    return stax.serial(stax.Dense(8), stax.Relu(), stax.Dense(1)).kernel_fn


def conv(*end):
    """A small convolutional network's kernel function, outputs at places unless `end` pools."""
    return stax.serial(stax.Conv(8, (3,), padding="SAME"), *end).kernel_fn


def vectors(n: int, seed: int = 0):
    """(n, 5)."""
    return jax.random.normal(jax.random.key(seed), (n, 5))


def sequences(n: int, seed: int = 0):
    """(n, 4, 2)."""
    return jax.random.normal(jax.random.key(seed), (n, 4, 2))


def matrix(x1, x2=None):
    """A kernel function of another make, without `get`."""
    return x1 @ (x1 if x2 is None else x2).T
